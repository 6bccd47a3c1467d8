"""Everything one mirrored call left behind, in one place, for whoever makes legs of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from shadowmesh.mirror.frames import Begin
from shadowmesh.mirror.observation import Observation
from shadowmesh.mirror.translation import Translation
from shadowmesh.model import TraceContext
from shadowmesh.policy.experiment import ExperimentSettings
from shadowmesh.protocols.protocol_map import MethodMap
from shadowmesh.rpc import Arity


@dataclass(slots=True)
class CallRecord:
    """
    One call: its beginning, its identity, its request messages, and what was seen of each leg.

    ``requests_complete`` is false when request messages were let go; ``shadows`` is by target name, in the order of
    the admissions, shed ones included. ``rewrites`` make what a shadow was sent of what came, but for its id, where
    that is another; ``translations`` are those of targets that are asked in another protocol, and ``further`` what was
    seen there of the exchanges beside the first, each asked in a call of its own; ``warming`` names the targets that
    were warming up.
    """

    begin: Begin
    pair_id: int
    trace: TraceContext
    experiment: ExperimentSettings
    method_map: MethodMap | None
    live: Observation
    requests: list[bytes] = field(default_factory=list)
    requests_complete: bool = True
    shadows: dict[str, Observation] = field(default_factory=dict)
    rewrites: dict[str, Callable[[bytes], bytes]] = field(default_factory=dict)
    translations: dict[str, Translation] = field(default_factory=dict)
    further: dict[str, Sequence[Observation]] = field(default_factory=dict)
    warming: set[str] = field(default_factory=set)

    @property
    def asks_in_exchanges(self) -> bool:
        """Whether every request message is an exchange of its own."""
        return self.method_map is not None and self.method_map.exchanges is not None

    def seen_alone(self, target: str, index: int) -> Observation | None:
        """Return what was seen of an exchange beside the first, if that was asked in a call of its own."""
        further = self.further.get(target, ())
        return further[index - 1] if 0 < index <= len(further) else None

    def seen_of(self, target: str) -> Iterator[Observation]:
        """Yield all that was seen of a target: of the call, or of each of its exchanges."""
        yield self.shadows[target]
        yield from self.further.get(target, ())

    def map_of(self, target: str) -> MethodMap | None:
        """Return how what a target is sent, and what it answers, is read."""
        translation = self.translations.get(target)
        return self.method_map if translation is None else translation.method_map

    def tokenizer_of(self, target: str) -> str:
        """Return what the tokenizer of a leg is called, by its target's name; that of the live leg has none."""
        for one in self.experiment.targets:
            if one.name == target and one.translate is not None:
                return one.translate.tokenizer or ""
        return self.experiment.tokenizer or ""

    def call_of(self, target: str) -> tuple[str, Arity]:
        """Return the method that a target is called by, and its shape."""
        translation = self.translations.get(target)
        if translation is None:
            return self.begin.method, self.begin.arity
        return translation.method, translation.arity


class RecordCalls(Protocol):
    """Takes finished calls."""

    def record(self, record: CallRecord) -> int:
        """Take one call; return how many exchanges it carried."""
        ...

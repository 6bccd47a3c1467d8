"""Everything one mirrored call left behind, in one place, for whoever makes legs of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from shadowmesh.mirror.frames import Begin
from shadowmesh.mirror.observation import Observation
from shadowmesh.model import TraceContext
from shadowmesh.policy.experiment import ExperimentSettings
from shadowmesh.protocols.protocol_map import MethodMap
from shadowmesh.protocols.rewrite import Rewrite


@dataclass(slots=True)
class CallRecord:
    """
    One call: its beginning, its identity, its request messages, and what was seen of each leg.

    ``requests_complete`` is false when request messages were let go; ``shadows`` is by target name, in the order of
    the admissions, shed ones included. ``rewrites`` are the changes on the way to a shadow, where there are any.
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
    rewrites: dict[str, Rewrite] = field(default_factory=dict)


class RecordCalls(Protocol):
    """Takes finished calls."""

    def record(self, record: CallRecord) -> int:
        """Take one call; return how many exchanges it carried."""
        ...

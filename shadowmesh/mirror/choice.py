"""
Which experiment a request is for, and by which key it is sampled: what of the live gate's decision stands in a request.

A request that says another model than an experiment wants, or none, is not that experiment's (``other_model``). One
that cannot be read may be: nobody knows. The experiment does not get it, because it wants certain models only, and a
guess would compare what was never asked of them; but it counts it as shed, with ``unknown_model``, and not as another
one's. Whoever comes next and asks nothing of the request gets it. (Not ``unreadable``: that is said on the leg of a
shadow, and here nobody knows that there should be one.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from google.protobuf.message import Message

from shadowmesh.errors import ProtocolMapError
from shadowmesh.model import Metadata
from shadowmesh.names import DropReason
from shadowmesh.policy.experiment import ExperimentSettings
from shadowmesh.policy.plan import Plan, Undecided
from shadowmesh.policy.routes import matches
from shadowmesh.policy.sampling import SamplingKey
from shadowmesh.protocols.call_metadata import find_in_call
from shadowmesh.protocols.paths import Path
from shadowmesh.protocols.protocol_map import MethodMap
from shadowmesh.protocols.sources import Source

Maps = Callable[[str, str | None], MethodMap | None]
"""Returns how a method is read under a protocol, ``None`` where it is not."""
Key = str | bytes | float | None
"""The value of a sampling key; ``None`` where a request has none."""

MOST_READ = 256 * 1024
"""
Bytes of a request that is read for a choice. It is read where live calls may wait for it, and what a sender fills with
small fields takes 20 ns a byte.
"""


class Choice(NamedTuple):
    """
    What a request says. ``plan`` is whose call it is, ``None`` where nobody wants it; ``key`` is the first value of the
    field that this plan samples by; ``passed_over`` are the plans before it, each with why the call is not theirs.
    """

    plan: Plan | None
    key: Key
    passed_over: tuple[tuple[Plan, DropReason], ...]


class _Asked(NamedTuple):
    """Where the requests of one method have what one experiment asks for."""

    method_map: MethodMap
    model: Source | None
    key: Path | None


class Chooser:
    """Reads requests; used by one thread at a time."""

    def __init__(self, maps: Maps) -> None:
        self._maps = maps
        self._asked: dict[tuple[str, str | None, str | None], _Asked] = {}

    def choose(self, undecided: Undecided, request: bytes | None) -> Choice:
        """Return what ``request`` says, ``None`` where the call ended without one."""
        parsed: dict[MethodMap, Message | None] = {}
        passed_over: list[tuple[Plan, DropReason]] = []
        for plan in undecided.plans:
            asked, message = self._read(undecided.method, plan, request, parsed) if plan.asks else (None, None)
            reason = _refusal(plan, asked, message, undecided.metadata)
            if reason is None:
                key = _first(asked.key, message) if asked is not None and message is not None else None
                return Choice(plan, key, tuple(passed_over))
            passed_over.append((plan, reason))
        return Choice(None, None, tuple(passed_over))

    def _read(
        self, method: str, plan: Plan, request: bytes | None, parsed: dict[MethodMap, Message | None]
    ) -> tuple[_Asked | None, Message | None]:
        """Return what a plan asks of this method's requests, and the request; one message class is parsed once."""
        about = (method, plan.settings.protocol, plan.sampler.field)
        asked = self._asked.get(about)
        if asked is None:
            method_map = self._maps(method, plan.settings.protocol)
            if method_map is None:
                # Not remembered: names of methods without a map come from clients, and without end.
                return None, None
            asked = self._asked[about] = _compiled(method_map, plan.sampler.field)
        method_map = asked.method_map
        if method_map not in parsed:
            unread = request is None or len(request) > MOST_READ
            parsed[method_map] = None if unread or request is None else method_map.parse_request(request)
        return asked, parsed[method_map]


def misfit(experiment: ExperimentSettings, mapped: Mapping[str, MethodMap]) -> tuple[str, str] | None:
    """
    Return the key of a choice that no request of the experiment's methods could make, and why; ``None`` if all can.

    Args:
        mapped: the methods with a protocol map, under the experiment's protocol.
    """
    covered = [
        found for method, found in mapped.items() if any(matches(pattern, method) for pattern in experiment.methods)
    ]
    if experiment.when.models and not any("model" in found.request for found in covered):
        return "when.models", "no method here says where its requests have the model"
    by = experiment.sampling.by
    field = by.field if isinstance(by, SamplingKey) else None
    if field is not None and not any(leading(found, field) for found in covered):
        return "sampling.by.field", f"no request of the methods here has a value at {field!r}"
    return None


def _refusal(plan: Plan, asked: _Asked | None, message: Message | None, metadata: Metadata) -> DropReason | None:
    """Return why a call is not this plan's."""
    if not plan.when.reads_model:
        return None
    if asked is None or asked.model is None or message is None:
        return DropReason.UNKNOWN_MODEL
    model = next(iter(find_in_call(asked.model, message, metadata)), None)
    return None if plan.when.hold_model(None if model is None else str(model)) else DropReason.OTHER_MODEL


def _first(source: Path | None, message: Message) -> Any:
    return None if source is None else source.first(message)


def _compiled(method_map: MethodMap, field: str | None) -> _Asked:
    return _Asked(method_map, method_map.request.get("model"), None if field is None else leading(method_map, field))


def leading(method_map: MethodMap, field: str) -> Path | None:
    """Return the path of a field in a method's requests, ``None`` where it leads to no value."""
    try:
        path = Path(field, method_map.request_descriptor)
    except ProtocolMapError:
        return None
    return None if path.kind == "message" else path

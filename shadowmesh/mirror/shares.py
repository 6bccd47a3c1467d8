"""Which part of what each backend saw of a call belongs to one exchange (pure)."""

from __future__ import annotations

from dataclasses import replace

from shadowmesh.mirror.call_record import CallRecord
from shadowmesh.mirror.observation import Observation, unsent
from shadowmesh.names import CallEnd, DropReason
from shadowmesh.protocols.exchanges import Slice, split

FURTHER = "it is not the first exchange of its stream"
"""Why a request of a stream is not asked in another protocol."""
Shares = dict[str, dict[str | None, Slice]]
"""What each shadow saw of a call, by target and exchange; nothing of those that are asked in another protocol."""


def split_call(record: CallRecord, observation: Observation) -> list[Slice]:
    """Return the exchanges of a call as one backend saw it."""
    if not record.requests_complete:
        # Without every request nobody can tell which answers belong together.
        return [Slice(None, list(range(len(record.requests))), list(range(len(observation.responses))))]
    return split(record.method_map, record.requests, observation.responses)


def shares_of(record: CallRecord) -> Shares:
    """Return what each shadow saw of a call."""
    return {
        name: {part.key: part for part in split_call(record, seen)}
        for name, seen in record.shadows.items()
        if name not in record.translations
    }


def share_of(record: CallRecord, target: str, part: Slice, shares: Shares, *, first: bool) -> tuple[Observation, Slice]:
    """
    Return what was seen of a shadow in one exchange, and which messages of that belong to it.

    Args:
        part: the live leg's part.
        first: whether it is the first exchange, which is all that a shadow is asked in another protocol.
    """
    seen = record.shadows[target]
    if target not in record.translations:
        return seen, shares[target].get(part.key) or Slice(part.key)
    if not first:
        nothing = unsent(seen.span_id, seen.started_ns, end=CallEnd.SHED.value)
        return _refused(nothing, FURTHER), Slice(None)
    whole = Slice(None, [0], list(range(len(seen.responses))))
    if len(part.requests) > 1:
        return _refused(replace(seen, end=CallEnd.CUT.value), "it asks in several messages"), whole
    return seen, whole


def _refused(seen: Observation, detail: str) -> Observation:
    if seen.drop_reason:
        return seen
    return replace(seen, drop_reason=DropReason.UNTRANSLATABLE.value, drop_detail=detail)

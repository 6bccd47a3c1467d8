"""Which part of what each backend saw of a call belongs to one exchange (pure)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import replace
from hashlib import blake2b

from shadowmesh.mirror.call_record import CallRecord
from shadowmesh.mirror.observation import Observation, unsent
from shadowmesh.names import CallEnd, DropReason
from shadowmesh.protocols.exchanges import Slice, divide

SEVERAL = "it asks in several messages"
"""Why a call is not asked in another protocol."""
Shares = dict[str, dict[str | None, Slice]]
"""What each shadow saw of a call, by target and exchange; nothing of those that are asked in another protocol."""
Stray = Callable[[str, int], None]
"""Hears how many errors of a stream belong to no exchange, and of which target's; that of the live leg has no name."""


def exchange_pair_id(pair_id: int, index: int) -> int:
    """Return the id of the pairs of one exchange of a call: that of the call for the first."""
    if index == 0:
        return pair_id
    data = pair_id.to_bytes(16, "big") + index.to_bytes(8, "big")
    return int.from_bytes(blake2b(data, digest_size=16).digest(), "big")


def split_call(record: CallRecord, observation: Observation, stray: Stray, *, target: str = "") -> list[Slice]:
    """Return the exchanges of a call as one backend saw it."""
    if not record.requests_complete:
        # Without every request nobody can tell which answers belong together.
        return [Slice(None, list(range(len(record.requests))), list(range(len(observation.responses))))]

    def asked_by(response: int) -> int:
        times = observation.response_times
        asked = observation.request_times
        return bisect_right(asked, times[response]) if response < len(times) else len(record.requests)

    found = divide(record.method_map, record.requests, observation.responses, asked_by)
    if found.nobodys:
        stray(target, found.nobodys)
    return found.exchanges


def shares_of(record: CallRecord, stray: Stray) -> Shares:
    """Return what each shadow saw of a call."""
    return {
        name: {part.key: part for part in split_call(record, seen, stray, target=name)}
        for name, seen in record.shadows.items()
        if name not in record.translations
    }


def share_of(record: CallRecord, target: str, part: Slice, shares: Shares, *, index: int) -> tuple[Observation, Slice]:
    """
    Return what was seen of a shadow in one exchange, and which messages of that belong to it.

    Args:
        part: the live leg's part.
        index: the place of the exchange in its call.
    """
    if target not in record.translations:
        return record.shadows[target], shares[target].get(part.key) or Slice(part.key)
    first = record.shadows[target]
    seen = record.seen_alone(target, index) if index else first
    if seen is None:
        # Nothing was asked any more: it was shed, or cut, before.
        end, reason = (CallEnd.SHED, first.drop_reason) if first.drop_reason else (CallEnd.CUT, "")
        seen = unsent(first.span_id, first.ended_ns, end=end, drop_reason=reason, drop_detail=first.drop_detail)
    whole = Slice(None, part.requests[:1], list(range(len(seen.responses))))
    if len(part.requests) > 1:
        return _refused(replace(seen, end=CallEnd.CUT.value), SEVERAL), whole
    return seen, whole


def _refused(seen: Observation, detail: str) -> Observation:
    if seen.drop_reason:
        return seen
    return replace(seen, drop_reason=DropReason.UNTRANSLATABLE.value, drop_detail=detail)

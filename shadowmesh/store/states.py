"""What the traits of a leg say to a verdict: what became of it, and what it is evidence about."""

from __future__ import annotations

from typing import NamedTuple

from shadowmesh.names import CallEnd, DropReason
from shadowmesh.store.traits import LegFacts
from shadowmesh.verdict.facts import State

_SKIPPED = frozenset(
    {
        DropReason.RATE_LIMIT,
        DropReason.BUDGET,
        DropReason.TIME_BOX,
        DropReason.SHUTDOWN,
        DropReason.OFF_SLOT,
        DropReason.HARM,
        DropReason.REMOVED,
        DropReason.UNSAFE,
        DropReason.UNREADABLE,
        DropReason.UNTRANSLATABLE,
        DropReason.MARKED,
        DropReason.RETRY,
        DropReason.OTHER_MODEL,
        DropReason.UNKNOWN_MODEL,
        *(DropReason.UNSUPPORTED_HANDLER, DropReason.NOT_STARTED, DropReason.NOT_RECORDED),
    }
)
"""
Decided without a look at the answer or at how the candidate fares. Every other reason may have to do with it, and so
may one of a later version.
"""
_ENDS = {
    CallEnd.DEADLINE: State.TIMED_OUT,
    CallEnd.CANCELLED: State.STOPPED,
    CallEnd.CUT: State.SHED,
    CallEnd.SHED: State.SHED,
}


class Said(NamedTuple):
    """
    What a leg's traits say.

    ``several`` is whether the exchange went to more than one target, ``probability`` that of its being sampled.
    """

    state: State
    method: str = ""
    target_digest: str = ""
    config_digest: str = ""
    kind: str = ""
    currency: str | None = None
    streaming: bool = False
    several: bool = False
    probability: float = 1.0


NOTHING = Said(State.MISSING)
"""Of a leg that never came."""


def said(facts: LegFacts) -> Said:
    """Return what the traits say; what they leave out is empty."""
    leg = facts.leg
    state = _state(leg.get("end"), leg.get("status"), leg.get("drop_reason"), complete=leg.get("complete", True))
    return Said(
        State.WARM_UP if leg.get("warm_up") else state,
        leg.get("method") or "",
        leg.get("target_digest") or "",
        leg.get("config_digest") or "",
        leg.get("target_kind") or "",
        None if facts.cost is None else facts.cost.get("currency"),
        leg.get("streaming", False),
        len(leg.get("expected_targets", ())) > 1,
        leg.get("probability", 1.0),
    )


def _state(end: str | None, status: str | None, drop_reason: str | None, *, complete: bool) -> State:
    if drop_reason:
        return State.SKIPPED if drop_reason in _SKIPPED else State.SHED
    if end != CallEnd.COMPLETED:
        return _ENDS.get(end, State.MISSING)  # type: ignore[call-overload,no-any-return]
    if not status:
        return State.MISSING
    if status != "OK":
        return State.FAILED
    # A stream that we half-closed earlier than the client: it had more to ask.
    return State.OK if complete else State.SHED

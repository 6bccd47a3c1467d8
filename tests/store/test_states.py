"""What a leg's traits are to a verdict."""

from __future__ import annotations

from typing import Any

import pytest
from support.legs import live, shadow

from shadowmesh.model import Leg
from shadowmesh.names import CallEnd, DropReason
from shadowmesh.store.states import said
from shadowmesh.store.traits import from_facts, to_facts, traits_of
from shadowmesh.verdict.facts import State


def state_of(leg: Leg) -> State:
    return said(from_facts(to_facts(traits_of(leg)))).state


@pytest.mark.parametrize(
    ("said_of_leg", "state"),
    [
        ({}, State.OK),
        ({"status": "INTERNAL", "complete": False}, State.FAILED),
        ({"status": "DEADLINE_EXCEEDED", "complete": False}, State.FAILED),
        ({"status": "DEADLINE_EXCEEDED", "end": CallEnd.DEADLINE, "complete": False}, State.TIMED_OUT),
        ({"status": "CANCELLED", "end": CallEnd.CANCELLED, "complete": False}, State.STOPPED),
        ({"status": None, "complete": False}, State.MISSING),
        ({"status": "OK", "complete": False}, State.SHED),
        ({"status": None, "end": CallEnd.CUT, "complete": False}, State.SHED),
        ({"status": None, "end": CallEnd.SHED, "complete": False}, State.SHED),
        ({"status": "OK", "end": "of a later version"}, State.MISSING),
        ({"status": "OK", "drop_reason": "of a later version"}, State.SHED),
        ({"warm_up": True}, State.WARM_UP),
        ({"status": None, "end": CallEnd.SHED, "drop_reason": DropReason.CIRCUIT_OPEN, "warm_up": True}, State.WARM_UP),
    ],
)
def test_how_a_leg_ended_is_a_state(said_of_leg: dict[str, Any], state: State) -> None:
    assert state_of(shadow(**said_of_leg)) == state
    if "drop_reason" not in said_of_leg:
        assert state_of(live(**said_of_leg)) == state


MAY_HAVE_TO_DO_WITH_IT = {
    DropReason.QUEUE_FULL,
    DropReason.CAPTURE_FULL,
    DropReason.CONCURRENCY_LIMIT,
    DropReason.OVERSIZE,
    DropReason.OVERSIZE_CALL,
    DropReason.CIRCUIT_OPEN,
}


@pytest.mark.parametrize("reason", DropReason)
def test_only_what_may_have_to_do_with_the_exchange_or_the_candidate_is_evidence(reason: DropReason) -> None:
    leg = shadow(status=None, end=CallEnd.SHED.value, complete=False, drop_reason=reason.value)
    assert state_of(leg) == (State.SHED if reason in MAY_HAVE_TO_DO_WITH_IT else State.SKIPPED)

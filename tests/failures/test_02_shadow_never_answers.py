"""2. The shadow never answers, is a black hole, refuses, or resets before headers, mid-stream or after trailers."""

from __future__ import annotations

from contextlib import ExitStack
from typing import NamedTuple

import pytest
from support import peers
from support.calls import ARITIES, SCENARIOS, see
from support.meshes import target
from support.servers import live_server
from support.worlds import LIVE, WORLDS, world

from shadowmesh.names import CallEnd


class Fault(NamedTuple):
    """A shadow that is broken, how many messages it sends, and what its leg is to say."""

    script: peers.Script | None
    statuses: tuple[str, ...]
    end: CallEnd = CallEnd.COMPLETED
    sent: int = 0


TOO_LATE = ("DEADLINE_EXCEEDED",)
RESET = ("INTERNAL",)
GONE = ("UNAVAILABLE",)

FAULTS = {
    "black-hole": Fault(None, TOO_LATE, CallEnd.DEADLINE),
    "refused": Fault(None, GONE),
    "mute": Fault(peers.mute, TOO_LATE, CallEnd.DEADLINE),
    "hanging": Fault(peers.at_each_call(peers.hang), TOO_LATE, CallEnd.DEADLINE),
    # Whether its greeting is read before the deadline, as what it is, is grpc's affair.
    "garbage": Fault(peers.garbage, GONE),
    "reset-before-headers": Fault(peers.at_each_call(peers.reset_before_headers), RESET),
    "slam-before-headers": Fault(peers.at_each_call(peers.slam_before_headers), GONE),
    "reset-mid-stream": Fault(peers.at_each_call(peers.reset_in_the_middle), RESET, sent=1),
    "slam-mid-stream": Fault(peers.at_each_call(peers.slam_in_the_middle), GONE, sent=1),
    "reset-after-trailers": Fault(peers.at_each_call(peers.reset_after_trailers), ("OK",), sent=1),
    # The kernel throws away what the client had not read yet, so either word is the backend's.
    "slam-after-trailers": Fault(peers.at_each_call(peers.slam_after_trailers), ("OK", *GONE), sent=1),
}


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_a_shadow_that_is_broken_in_any_way_leaves_the_live_call_whole_and_a_leg_that_says_so(
    kind: str, carrier: str
) -> None:
    with live_server(kind) as bare:
        expected = [see(bare, arity, SCENARIOS["echoes the request stream"]) for arity in ARITIES]
    with ExitStack() as stack:
        targets = []
        for name, fault in FAULTS.items():
            special = {"black-hole": peers.black_hole, "refused": peers.refused}.get(name)
            broken = special() if special else peers.peer(fault.script or peers.mute)
            targets.append(target(stack.enter_context(broken), name, deadline="1s"))
        it = stack.enter_context(world(kind, carrier, *targets))
        # One after the other: a connection that is reset takes every call on it along.
        seen = [see(it.server, arity, SCENARIOS["echoes the request stream"]) for arity in ARITIES]
        assert seen == expected
        legs = it.settle(len(ARITIES), grace=10)
    assert [leg.status for leg in legs[LIVE]] == ["OK"] * len(ARITIES)
    for name, fault in FAULTS.items():
        assert {leg.status for leg in legs[name]} <= set(fault.statuses), name
        assert {leg.end for leg in legs[name]} == {fault.end}, name
        counts = {leg.message_count for leg in legs[name] if leg.streaming}
        # A reset that overtakes a message in grpc's own buffers takes it along.
        assert counts <= ({1} if fault.statuses == ("OK",) else {0, fault.sent}), name

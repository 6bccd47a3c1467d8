"""3. The shadow is slow while the client reuses its connection for further calls: nobody waits behind it."""

from __future__ import annotations

import grpc
import pytest
from support.calls import ARITIES, SCENARIOS, see
from support.meshes import target
from support.shadows import hanging
from support.worlds import WORLDS, world

from shadowmesh.names import CallEnd, Decision, DropReason
from shadowmesh.testing import Backend

ROUNDS = 5


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_calls_on_one_connection_do_not_wait_for_the_shadows_of_those_before(kind: str, carrier: str) -> None:
    calls = ROUNDS * len(ARITIES)
    with Backend(hanging, workers=calls) as slow, world(kind, carrier, target(slow.address)) as it:
        for _ in range(ROUNDS):
            for arity in ARITIES:
                assert see(it.server, arity, SCENARIOS["answers"]).code is grpc.StatusCode.OK
        # All of them were answered, and not one of their shadows.
        assert not any(call.ended.is_set() for call in slow.wait_for_calls(calls))
        assert it.mesh.active() == {("x", "candidate"): calls}
        legs = it.settle(calls)
        assert {leg.end for leg in legs["candidate"]} == {CallEnd.CUT}


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_more_calls_than_a_slow_shadow_may_have_are_shed_and_not_held_up(kind: str, carrier: str) -> None:
    with Backend(hanging) as slow, world(kind, carrier, target(slow.address, max_in_flight=2)) as it:
        for _ in range(10):
            assert see(it.server, "unary_unary", SCENARIOS["answers"]).code is grpc.StatusCode.OK
        it.settle(10)
        assert it.decided() == {
            (Decision.MIRRORED, ""): 2,
            (Decision.DROPPED, DropReason.CONCURRENCY_LIMIT): 8,
        }

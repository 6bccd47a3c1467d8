"""11. A grpc.aio call that nobody cancels is never collected: after a drain no shadow is in flight anywhere."""

from __future__ import annotations

import pytest
from support.calls import ARITIES, SCENARIOS, see
from support.meshes import target
from support.resources import resources, until
from support.shadows import hanging, resetting
from support.worlds import WORLDS, world

from shadowmesh.names import CallEnd
from shadowmesh.testing import Backend


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_a_drain_cancels_what_hangs_at_the_backend_too(kind: str, carrier: str) -> None:
    before = resources()
    with Backend(hanging, workers=32) as backend, world(kind, carrier, target(backend.address)) as it:
        for arity in ARITIES * 4:
            see(it.server, arity, SCENARIOS["answers"])
        backend.wait_for_calls(4 * len(ARITIES))
        legs = it.settle(4 * len(ARITIES))
        # The backend has seen every one of them end: a call that was only let go of would still run there.
        assert all(call.ended.wait(30) for call in backend.calls)
        assert {leg.end for leg in legs["candidate"]} == {CallEnd.CUT}
    assert until(lambda: resources().aio_calls <= before.aio_calls)
    assert until(lambda: resources().tasks <= before.tasks)


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_a_shadow_that_ended_early_leaves_no_call_behind_either(kind: str, carrier: str) -> None:
    with Backend(resetting, workers=32) as backend, world(kind, carrier, target(backend.address)) as it:
        for arity in ARITIES * 2:
            see(it.server, arity, SCENARIOS["answers"])
        it.settle(2 * len(ARITIES), grace=10)
        assert until(lambda: resources().aio_calls == 0)

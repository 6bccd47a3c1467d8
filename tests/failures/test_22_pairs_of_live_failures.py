"""22. Survivorship: live errors, cancellations and time-outs have their pairs too."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from support.calls import ARITIES, see
from support.meshes import target
from support.scripts import script
from support.shadows import answering, erroring, hanging
from support.worlds import LIVE, WORLDS, world

from shadowmesh.names import CallEnd
from shadowmesh.testing import Backend

FAILING: dict[str, list[list[Any]]] = {
    "UNAVAILABLE": [["abort", "UNAVAILABLE", "not now"]],
    "INTERNAL": [["abort", "INTERNAL", "broken"]],
    "RESOURCE_EXHAUSTED": [["code", "RESOURCE_EXHAUSTED"], ["details", "too many"]],
    "UNKNOWN": [["raise", "boom"]],
}


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_every_live_error_has_a_pair_with_each_kind_of_shadow(kind: str, carrier: str) -> None:
    with (
        Backend(answering, workers=64) as good,
        Backend(erroring, workers=64) as bad,
        world(kind, carrier, target(good.address, "good"), target(bad.address, "bad")) as it,
    ):
        seen = [see(it.server, arity, steps).code for steps in FAILING.values() for arity in ARITIES]
        legs = it.settle(len(seen), grace=10)
    assert [code.name for code in seen] == [status for status in FAILING for _ in ARITIES]
    assert [leg.status for leg in legs[LIVE]] == [code.name for code in seen]
    assert {leg.end for leg in legs[LIVE]} == {CallEnd.COMPLETED}
    assert {leg.status for leg in legs["good"]} == {"OK"}
    assert {leg.status for leg in legs["bad"]} == {"INTERNAL"}


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_every_cancellation_and_time_out_has_a_pair(kind: str, carrier: str) -> None:
    with Backend(hanging, workers=32) as backend, world(kind, carrier, target(backend.address)) as it:
        for number, arity in enumerate(ARITIES, 1):
            request: Any = script(["wait"])
            multicallable = it.server.call(arity)
            streaming = arity.endswith("stream")
            call = (multicallable if streaming else multicallable.future)(
                iter([request]) if arity.startswith("stream") else request
            )
            it.server.log.wait_for("waiting", number)
            call.cancel()
            it.server.log.wait_for("ended", number)
        # Long enough for every handler to begin.
        with ThreadPoolExecutor(len(ARITIES)) as pool:
            late = list(pool.map(lambda arity: see(it.server, arity, [["wait"]], timeout=2.0), ARITIES))
        assert {seen.code for seen in late} == {grpc.StatusCode.DEADLINE_EXCEEDED}
        it.server.log.wait_for("ended", 2 * len(ARITIES))
        legs = it.settle(2 * len(ARITIES), grace=5)
    assert [(leg.status, leg.end) for leg in legs[LIVE]] == [
        *[("CANCELLED", CallEnd.CANCELLED)] * len(ARITIES),
        *[("DEADLINE_EXCEEDED", CallEnd.DEADLINE)] * len(ARITIES),
    ]
    # The shadow stopped for the live call's reason, and its leg says which.
    assert [leg.end for leg in legs["candidate"]] == [leg.end for leg in legs[LIVE]]

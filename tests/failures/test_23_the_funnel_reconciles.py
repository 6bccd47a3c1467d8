"""23. The funnel reconciles: every covered exchange is accounted for once per target, and legs agree with it."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack

import pytest
from support import peers
from support.calls import ARITIES, SCENARIOS, see
from support.meshes import target
from support.resources import until
from support.shadows import answering, hanging
from support.traffic import Traffic
from support.worlds import WORLDS, unguarded, world

from shadowmesh.names import WITHOUT_LEGS, Decision, DropReason, Role
from shadowmesh.testing import Backend

TIGHT = {"queue_items": 64, "capture_bytes": "256KiB", "max_message_bytes": "4KiB"}


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_eligible_is_the_sum_of_what_became_of_it_and_every_line_has_its_legs(kind: str, carrier: str) -> None:
    calls, large = 300, 20
    with ExitStack() as stack:
        addresses = {
            "good": stack.enter_context(Backend(answering, workers=64)).address,
            "full": stack.enter_context(Backend(hanging, workers=64)).address,
            "gone": stack.enter_context(peers.refused()),
            "hole": stack.enter_context(peers.black_hole()),
            "half": stack.enter_context(Backend(answering, workers=64)).address,
        }
        changes: dict[str, dict[str, float]] = {"full": {"max_in_flight": 3}, "half": {"rate": 0.5}}
        targets = [unguarded(target(address, name, **changes.get(name, {}))) for name, address in addresses.items()]
        it = stack.enter_context(world(kind, carrier, *targets, mirror=TIGHT))
        traffic = Traffic(it.server)
        traffic.run(calls)
        assert traffic.failures == []
        # In a full queue there is no place for a call that is too large, either.
        assert until(lambda: it.mesh.status()["buffers"]["queue"]["used"] == 0)
        for _ in range(large):
            see(it.server, "unary_unary", [["send", "x" * 8000]])
        it.drain()
        funnel = it.mesh.funnel()
        assert it.counted() == dict.fromkeys(addresses, calls + large)
        assert set(it.mesh.active().values()) == {0}
        assert it.mesh.captured_bytes() == 0
        # A line of the funnel and the legs that say the same of themselves.
        promised: Counter[tuple[str, str]] = Counter()
        for key, count in funnel.items():
            if key.decision in (Decision.MIRRORED, Decision.DROPPED) and key.drop_reason not in WITHOUT_LEGS:
                promised[key.target, key.drop_reason] += count
        legs = it.sink.wait_for_legs(sum(promised.values()))
        shadows = [leg for leg in legs if leg.role == Role.SHADOW]
        # What was mirrored and cut later says why as well, and is no other line for that.
        dropped = Decision.DROPPED
        said = [leg.drop_reason or "" if leg.decision == dropped else "" for leg in shadows]
        assert Counter((leg.target, reason) for leg, reason in zip(shadows, said, strict=True)) == promised
        live = [leg for leg in legs if leg.role == Role.LIVE]
        assert len({leg.pair_id for leg in live}) == len(live) <= calls + large
        assert {leg.pair_id for leg in shadows} == {leg.pair_id for leg in live}
        # Each leg belongs to a live leg that expects it, and each expected one came.
        came = Counter((leg.pair_id, leg.target) for leg in shadows)
        assert came == Counter((leg.pair_id, name) for leg in live for name in leg.expected_targets)
    lines = {(key.target, key.decision, key.drop_reason) for key in funnel}
    assert ("full", Decision.DROPPED, DropReason.CONCURRENCY_LIMIT) in lines
    assert ("half", Decision.NOT_SAMPLED, "") in lines
    assert ("good", Decision.DROPPED, DropReason.OVERSIZE) in lines


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_it_reconciles_when_the_mesh_is_drained_in_the_middle_of_traffic(kind: str, carrier: str) -> None:
    with Backend(answering, workers=64) as good, world(kind, carrier, target(good.address)) as it:
        traffic = Traffic(it.server)
        traffic.run(50)
        it.drain()
        traffic.run(50)
        assert traffic.failures == []
        counted = it.counted()["candidate"]
        shadows = [leg for leg in it.sink.wait_for_legs(2 * counted) if leg.role == Role.SHADOW]
        assert len(shadows) == counted == 50
        assert set(it.mesh.active().values()) == {0}


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_a_call_that_is_open_during_the_drain_is_accounted_for_once(kind: str, carrier: str) -> None:
    with Backend(hanging, workers=64) as backend, world(kind, carrier, target(backend.address)) as it:
        for arity in ARITIES:
            see(it.server, arity, SCENARIOS["answers"])
        backend.wait_for_calls(len(ARITIES))
        it.drain()
        it.settle(len(ARITIES))

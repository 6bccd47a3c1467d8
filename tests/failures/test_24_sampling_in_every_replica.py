"""24. Sampling: the exact rate, the same keys in every replica and after every restart, and rates that nest."""

from __future__ import annotations

import time
from collections import defaultdict
from math import sqrt
from random import Random
from typing import Any

import pytest
from support.calls import SCENARIOS, see
from support.experiments import GENERATE, experiment
from support.experiments import target as a_target
from support.meshes import target
from support.scripts import script
from support.shadows import answering
from support.worlds import WORLDS, world

from shadowmesh.model import Metadata
from shadowmesh.names import META_TRACEPARENT, Decision, Role
from shadowmesh.policy.funnel import Counted, FunnelKey, lines
from shadowmesh.policy.live_gate import LiveGate
from shadowmesh.policy.sampling import position, salt_of
from shadowmesh.telemetry.counters import Tally
from shadowmesh.testing import Backend, ReceivedCall

RATE = 0.3
KEYS = [f"{number:032x}" for number in range(1, 61)]
EXPECTED = {key for key in KEYS if position(salt_of("x"), key.encode()) < RATE}
BY: dict[str, Any] = {"metadata": {"metadata": "x-user"}, "trace": "trace"}


def bearing(by: str, key: str) -> Metadata:
    """Return the metadata of a call with this key."""
    return (("x-user", key),) if by == "metadata" else ((META_TRACEPARENT, f"00-{key}-b7ad6b7169203331-00"),)


def key_of(by: str, call: ReceivedCall) -> str:
    sent = dict(call.metadata)
    return str(sent["x-user"] if by == "metadata" else str(sent[META_TRACEPARENT])[3:35])


def mirrored_keys(kind: str, carrier: str, by: str) -> set[str]:
    """Return which of the keys a server that has just started mirrors; each has two calls, of one fate."""
    seen: dict[str, int] = defaultdict(int)
    with (
        Backend(answering) as backend,
        world(kind, carrier, target(backend.address, rate=RATE, metadata=["x-user"]), sampling={"by": BY[by]}) as it,
    ):
        for key in KEYS * 2:
            it.server.call("unary_unary")(script(["send", "x"]), metadata=bearing(by, key), timeout=20)
        it.mesh.drain(10)
        for call in backend.calls:
            seen[key_of(by, call)] += 1
        assert it.counted() == {"candidate": 2 * len(KEYS)}
    assert set(seen.values()) == {2}
    return set(seen)


@pytest.mark.parametrize("by", BY)
def test_every_replica_mirrors_the_same_keys_whatever_it_is_and_after_a_restart_as_before(by: str) -> None:
    assert 5 < len(EXPECTED) < 40
    assert all(mirrored_keys(kind, carrier, by) == EXPECTED for kind, carrier in (*WORLDS, WORLDS[0]))


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_what_the_control_gets_the_candidate_has_had_too_so_that_three_legs_share_an_exchange(
    kind: str, carrier: str
) -> None:
    calls = 150
    with (
        Backend(answering) as candidate,
        Backend(answering) as live_again,
        world(
            kind,
            carrier,
            target(candidate.address, rate=0.5, max_in_flight=calls),
            target(live_again.address, "control", kind="control", rate=0.2, max_in_flight=calls),
        ) as it,
    ):
        for _ in range(calls):
            see(it.server, "unary_unary", SCENARIOS["answers"])
        it.mesh.drain(10)
        mirrored = {name: it.decided(name)[Decision.MIRRORED, ""] for name in it.targets}
        legs = it.sink.wait_for_legs(mirrored["candidate"] + sum(mirrored.values()))
    pairs: dict[str, set[str]] = defaultdict(set)
    for leg in legs:
        pairs[leg.target if leg.role == Role.SHADOW else "live"].add(leg.pair_id)
    assert {name: len(found) for name, found in pairs.items()} == {"live": mirrored["candidate"], **mirrored}
    assert pairs["control"] < pairs["candidate"] == pairs["live"]
    assert {(leg.target, leg.probability) for leg in legs if leg.role == Role.SHADOW} == {
        ("candidate", 0.5), ("control", 0.2),
    }  # fmt: skip


def test_of_a_million_calls_the_gate_admits_the_rate_within_five_standard_deviations() -> None:
    calls, rate, draw = 1_000_000, 0.01, Random(24)
    funnel: Tally[Counted] = Tally()
    gate = LiveGate((experiment(a_target(rate=rate)),), funnel.add)
    admitted = sum(
        gate.decide(GENERATE, (), lambda: draw.randbytes(8), time.monotonic_ns) is not None for _ in range(calls)
    )
    assert abs(admitted - calls * rate) <= 5 * sqrt(calls * rate * (1 - rate))
    assert lines(funnel.totals()) == {FunnelKey("summaries", "candidate", Decision.NOT_SAMPLED, ""): calls - admitted}

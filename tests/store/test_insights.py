"""Which pairs are the worst, and how pairs ended."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.folded import KEY, pair
from support.legs import T0, live, shadow
from support.stored_pairs import ended
from support.stores import OpenStore

from shadowmesh.model import Cost
from shadowmesh.store.insights import By, Ends, StatusCount, checkpoints, statuses, worst
from shadowmesh.store.records import PairRecord
from shadowmesh.store.store import Store
from shadowmesh.store.tables import TEXTS

OTHER = replace(KEY, target_digest="t2")


def found(store: Store, by: By, limit: int = 10) -> list[tuple[str, float | None]]:
    return [(one.stored.record.pair.pair_id, one.value) for one in worst(store.reader, KEY, by, limit)]


def about(value: float) -> Any:
    return pytest.approx(value)


def with_shadow(pair_id: str, **changes: Any) -> PairRecord:
    common: dict[str, Any] = {"config_digest": KEY.config_digest}
    return ended(live(pair_id, **common), shadow(pair_id, target_digest=KEY.target_digest, **common, **changes))


FAILED: dict[str, Any] = {"status": "INTERNAL", "complete": False}


def test_the_slowest_shadows_are_those_that_took_longest_for_their_live_leg(store: Store) -> None:
    store.add([pair("a", seconds=0.4), pair("b", seconds=0.8), pair("c", seconds=9.0, key=OTHER)], now_ns=T0)
    # A failure is no latency.
    store.add([with_shadow("d", ended_ns=T0 * 2, **FAILED)], now_ns=T0)
    assert found(store, By.DURATION) == [("b", about(4.0)), ("a", about(2.0))]
    assert found(store, By.DURATION, limit=1) == [("b", about(4.0))]
    assert worst(store.reader, KEY, By.DURATION)[0].stored.record == pair("b", seconds=0.8)


def test_pairs_of_the_future_are_not_looked_at(store: Store) -> None:
    store.add([pair("a", seconds=0.4), pair("b", dispatched=60, seconds=0.8)], now_ns=T0)
    (one,) = worst(store.reader, KEY, By.DURATION, until_ns=T0)
    assert one.stored.record.pair.pair_id == "a"
    assert sum(each.pairs for each in statuses(store.reader, KEY, until_ns=T0)) == 1


def test_a_live_leg_that_took_no_time_is_no_ratio(store: Store) -> None:
    store.add([pair("a", write_stall=0.2)], now_ns=T0)
    assert found(store, By.DURATION) == []


def test_the_dearest_shadows_are_those_that_cost_most_more_than_their_live_leg(store: Store) -> None:
    def cost(amount: float, currency: str = "USD") -> Cost:
        return Cost(amount=amount, currency=currency, source="local")

    many = [("a", 1.0, 3.0, "USD"), ("b", 5.0, 6.0, "USD"), ("c", 1.0, 9.0, "EUR"), ("d", 1.0, 2.5, "EUR")]
    common: dict[str, Any] = {"config_digest": KEY.config_digest}
    store.add(
        [
            ended(
                live(pair_id, cost=cost(before), **common),
                shadow(pair_id, cost=cost(after, currency), target_digest=KEY.target_digest, **common),
            )
            for pair_id, before, after, currency in many
        ],
        now_ns=T0,
    )
    # Euros are not held against dollars.
    assert found(store, By.COST) == [("a", 2.0), ("b", 1.0)]


def test_other_statuses_are_told_newest_first(store: Store) -> None:
    store.add([with_shadow("a", **FAILED), with_shadow("b"), with_shadow("c", status="ABORTED")], now_ns=T0)
    both_failed = pair("d", **FAILED)
    store.add([both_failed, with_shadow("e", end="shed", status=None, complete=False)], now_ns=T0)
    assert sorted(found(store, By.STATUS)) == [("a", None), ("c", None)]


def test_the_least_similar_outputs_come_first(store: Store) -> None:
    store.add([pair("a"), pair("b"), pair("c")], now_ns=T0)
    row = {"experiment": KEY.experiment, "target": KEY.target, "stored_ns": T0}
    with store._database.writing() as connection:
        connection.execute(
            TEXTS.insert(),
            [{**row, "pair_id": pair_id, "similarity": similarity} for pair_id, similarity in (("a", 0.9), ("b", 0.2))],
        )
    assert found(store, By.SIMILARITY) == [("b", 0.2), ("a", 0.9)]


def test_pairs_of_a_warm_up_are_no_trouble(store: Store) -> None:
    def cost(amount: float) -> Cost:
        return Cost(amount=amount, currency="USD", source="local")

    common: dict[str, Any] = {"config_digest": KEY.config_digest}
    theirs = {**common, "target_digest": KEY.target_digest, "warm_up": True, "ended_ns": T0 * 2}
    store.add(
        [
            ended(live("a", cost=cost(1.0), **common), shadow("a", cost=cost(9.0), **theirs)),
            ended(live("b", **common), shadow("b", **theirs, **FAILED)),
        ],
        now_ns=T0,
    )
    assert [found(store, by) for by in (By.DURATION, By.STATUS, By.COST)] == [[], [], []]


def test_statuses_are_counted_by_what_became_of_both_legs(store: Store) -> None:
    lost = ended(live("e", config_digest=KEY.config_digest), None)
    shed = with_shadow("f", end="shed", status=None, complete=False, drop_reason="queue_full")
    store.add([pair("a"), pair("b"), with_shadow("c", **FAILED), pair("d", key=OTHER), lost, shed], now_ns=T0)
    counted = statuses(store.reader, KEY)
    assert counted[0] == StatusCount(Ends("OK", "completed", "OK", "completed", None), 2, 2.0)
    assert set(counted[1:]) == {
        StatusCount(Ends("OK", "completed", "INTERNAL", "completed", None), 1, 1.0),
        StatusCount(Ends("OK", "completed", None, None, None), 1, 1.0),
        StatusCount(Ends("OK", "completed", None, "shed", "queue_full"), 1, 1.0),
    }


def test_a_store_without_pairs_has_none_that_are_bad(store: Store) -> None:
    assert [found(store, by) for by in By] == [[], [], [], []]
    assert statuses(store.reader, KEY) == []
    assert checkpoints(store.reader) == []


def test_what_every_processor_has_counted_is_there(open_store: OpenStore) -> None:
    for name in ("one", "two"):
        open_store(name).save_checkpoint(name.encode(), number=0, position=0, now_ns=T0)
    assert sorted(checkpoints(open_store().reader)) == [b"one", b"two"]

"""Whatever senders write, the metrics stay small: in series, in memory, and in time to look at them."""

from __future__ import annotations

import re
import tracemalloc
from random import Random
from typing import Any

import pytest
from support.legs import lasting, live, shadow, usage
from support.metrics import attributes_of, data_of, points_of, received, value_of

from shadowmesh.compare.comparison import compare
from shadowmesh.model import Cost, Leg, Pair
from shadowmesh.processor.instruments import INSTRUMENTS
from shadowmesh.processor.metrics import PairMetrics

LIMIT = 20
PAIRS = 1500
NOW = 10**18


def hostile(random: Random) -> Pair:
    """Return a pair in which everything a sender can choose is new."""

    def text() -> str:
        return random.choice(("", 'é\n"\\', "x" * random.choice((8, 300, 5000)))) + f"{random.getrandbits(64):x}"

    def leg(**changes: Any) -> dict[str, Any]:
        tokens = random.choice((0, 5, 2**62, -1))
        return {
            "experiment": experiment,
            "method": text(),
            "status": random.choice(("OK", "OK", text())),
            "time_to_first_chunk": random.choice((0.01, float("nan"), 1e300, -1.0)),
            "cost": Cost(amount=random.choice((1.0, 1e300, float("inf"))), currency=text()[-3:].upper(), source=text()),
            "fields": usage(tokens, tokens, request_model=text(), finish_reasons=(text(),)),
            **lasting(random.choice((0.0, 1e-9, 1.0, 1e6))),
            **changes,
        }

    experiment, target = text(), text()
    first, second = live(targets=(target,), **leg()), shadow(target=target, **leg())
    legs: tuple[Leg | None, Leg | None] = random.choice(((first, second), (first, second), (first, None)))
    return Pair(pair_id="p", target=target, live=legs[0], shadow=legs[1])


def attack(metrics: PairMetrics, random: Random, pairs: int) -> None:
    for _ in range(pairs):
        pair = hostile(random)
        metrics.pair(pair, compare(pair), NOW)


def shown(metrics: PairMetrics) -> dict[str, Any]:
    return received(data_of(metrics.collect(NOW, buffered=0, capacity=1)))


@pytest.mark.parametrize("exponential", [False, True])
@pytest.mark.parametrize("models", [(), ("*",)])
def test_names_without_end_make_a_bounded_number_of_series_and_nothing_is_lost(
    exponential: bool, models: tuple[str, ...]
) -> None:
    metrics = PairMetrics(1, limit=LIMIT, models=models, exponential=exponential)
    attack(metrics, Random(1), PAIRS)
    found = shown(metrics)
    assert all(len(points_of(metric)) <= LIMIT + 1 for metric in found.values())
    assert sum(len(points_of(metric)) for metric in found.values()) <= (LIMIT + 1) * (len(INSTRUMENTS) + 2)
    pairs = points_of(found["shadowmesh.pairs"])
    assert sum(map(value_of, pairs)) == PAIRS
    assert [attributes_of(point) for point in pairs][-1] == {"otel.metric.overflow": True}
    texts = [
        value for metric in found.values() for point in points_of(metric) for value in attributes_of(point).values()
    ]
    assert max(len(text) for text in texts if isinstance(text, str)) <= 256
    assert "_OTHER" in texts


def test_what_only_has_a_few_values_is_none_of_others() -> None:
    metrics = PairMetrics(1, limit=10_000)
    attack(metrics, Random(2), PAIRS)
    costs = [attributes_of(point) for point in points_of(shown(metrics)["shadowmesh.call.cost"])]
    assert {one["shadowmesh.cost.source"] for one in costs} == {"_OTHER"}
    currencies = {one["shadowmesh.cost.currency"] for one in costs}
    assert all(re.fullmatch("[A-Z]{3}", one) for one in currencies - {"_OTHER"})
    assert len(currencies) > 1


@pytest.mark.parametrize("exponential", [False, True])
def test_memory_is_what_it_was_however_long_the_attack_lasts(exponential: bool) -> None:
    metrics, random = PairMetrics(1, limit=LIMIT, exponential=exponential), Random(3)
    held: list[int] = []
    tracemalloc.start()
    try:
        for _ in range(4):
            attack(metrics, random, PAIRS)
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    # What is remembered to be quick is dropped when it is much, so it goes up and down.
    assert max(held[2:]) < 1.5 * max(held[:2]), held
    assert max(held) < 32 * 2**20, held


def test_long_names_are_not_remembered() -> None:
    metrics = PairMetrics(1, limit=LIMIT)
    tracemalloc.start()
    try:
        for n in range(PAIRS):
            pair = Pair(pair_id="p", target="t", live=live(method=f"{n:016000}"), shadow=None)
            metrics.pair(pair, compare(pair), NOW)
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held < 2**20


@pytest.mark.parametrize("exponential", [False, True])
def test_one_honest_series_is_its_own_through_an_attack_that_comes_later(exponential: bool) -> None:
    metrics = PairMetrics(1, limit=LIMIT, exponential=exponential)
    honest = Pair(pair_id="p", target="candidate", live=live(), shadow=shadow())
    for _ in range(3):
        metrics.pair(honest, compare(honest), NOW)
        attack(metrics, Random(4), PAIRS // 3)
    (point,) = [
        point
        for point in points_of(shown(metrics)["shadowmesh.pairs"])
        if attributes_of(point).get("shadowmesh.experiment.name") == "summaries"
    ]
    assert value_of(point) == 3

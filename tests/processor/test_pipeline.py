"""From bytes to metrics: the same legs give the same metrics, however they arrive."""

from __future__ import annotations

import json
from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.metrics.export import HistogramDataPoint
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from support.draws import exported
from support.legs import T0, lasting, live, shadow, usage
from support.otlp import counter_request, legs_request

from shadowmesh import names
from shadowmesh.errors import DecodeError
from shadowmesh.model import Leg
from shadowmesh.policy.draws import Drawn, DrawnKey
from shadowmesh.pricing import PriceSettings, Pricing
from shadowmesh.processor.decoded import Decoded
from shadowmesh.processor.intake import Signal
from shadowmesh.processor.pipeline import Pipeline
from shadowmesh.processor.settings import ProcessorSettings
from shadowmesh.store.records import Added, Content, PairRecord, Sampling
from shadowmesh.testing import FakeClock

PRICES = (PriceSettings(role=names.Role.LIVE, per_second=1.0), PriceSettings(target="a", per_second=0.5))


class Bench:
    """A pipeline with the clocks in a test's hands."""

    def __init__(self, **changes: Any) -> None:
        self.spans: list[ReadableSpan] = []
        self.rows: frozenset[tuple[str, str, str]] = frozenset()
        self.monotonic = FakeClock()
        self.pipeline = Pipeline(
            ProcessorSettings(prices=PRICES, compare_spans="always", **changes),
            pricing=Pricing(PRICES),
            resource=Resource({}),
            put=self._store,
            emit_span=self.spans.append,
            monotonic_ns=self.monotonic,
            wall_ns=FakeClock(T0 + 5_000_000_000),
        )

    def _store(self, item: PairRecord | Content, position: int) -> None:
        """Store at once, and what was never stored before is new."""
        if isinstance(item, PairRecord):
            leg = item.pair.live or item.pair.shadow
            assert leg is not None
            key = (leg.experiment, item.pair.pair_id, item.pair.target)
            new, self.rows = key not in self.rows, self.rows | {key}
            self.pipeline.stored([item], Added([new]))

    def traces(self, request: bytes) -> Decoded:
        """Take a trace request in."""
        decoded = self.pipeline.decode(Signal.TRACES, request)
        self.pipeline.apply(decoded, 0)
        return decoded

    def counters(self, request: bytes) -> None:
        """Take a metrics request in."""
        self.pipeline.apply(self.pipeline.decode(Signal.METRICS, request), 0)

    def metrics(self) -> dict[tuple[str, str], Any]:
        """Return what each series says, without its exemplars: those are the last, and so follow the order."""
        shown: dict[tuple[str, str], Any] = {}
        for metric in self.pipeline.collect().resource_metrics[0].scope_metrics[0].metrics:
            for point in metric.data.data_points:
                key = metric.name, str(sorted((point.attributes or {}).items()))
                if isinstance(point, HistogramDataPoint):
                    shown[key] = (*point.bucket_counts, pytest.approx(point.sum), point.min, point.max)
                else:
                    shown[key] = pytest.approx(point.value)  # type: ignore[union-attr]
        return shown

    def outcomes(self) -> Counter[str]:
        return sum((Counter(account.outcomes) for account in self.pipeline.accounts()), Counter())


@st.composite
def exchanges(draw: st.DrawFn) -> list[Leg]:
    """Draw the legs of a few exchanges, some of them lost."""
    legs: list[Leg] = []
    for number in range(draw(st.integers(1, 6))):
        pair_id, targets = f"p{number}", tuple("ab"[: draw(st.integers(1, 2))])
        legs.append(live(pair_id, targets=targets, **lasting(draw(st.sampled_from((0.1, 0.2, 0.4))))))
        for target in targets:
            status = draw(st.sampled_from(("OK", "OK", "INTERNAL", None)))
            seconds = draw(st.sampled_from((0.1, 0.3)))
            fields = usage(draw(st.integers(0, 9)), draw(st.integers(0, 9)))
            legs.append(shadow(pair_id, target, status=status, fields=fields, **lasting(seconds)))
    return [leg for leg in legs if draw(st.integers(0, 4))]


@settings(deadline=None, max_examples=50)
@given(exchanges(), st.randoms(use_true_random=False), st.data())
def test_order_batching_and_redelivery_change_only_the_count_of_duplicates(
    legs: list[Leg], random: Random, data: st.DataObject
) -> None:
    one_request = Bench()
    one_request.traces(legs_request(legs))
    one_request.pipeline.flush()

    shuffled = Bench()
    arrivals = [leg for leg in legs for _ in range(data.draw(st.integers(1, 2)))]
    random.shuffle(arrivals)
    while arrivals:
        cut = data.draw(st.integers(1, len(arrivals)))
        shuffled.traces(legs_request(arrivals[:cut]))
        arrivals = arrivals[cut:]
    shuffled.pipeline.flush()

    expected, shown = one_request.metrics(), shuffled.metrics()
    repeats = (names.METRIC_PAIRING_SPANS, "[('shadowmesh.span.outcome', 'duplicate')]")
    shown.pop(repeats, None)
    assert shown == expected
    assert shuffled.pipeline.waiting == 0


@settings(deadline=None, max_examples=50)
@given(exchanges())
def test_every_pair_that_left_a_trace_has_exactly_one_outcome(legs: list[Leg]) -> None:
    bench = Bench()
    bench.traces(legs_request(legs))
    bench.pipeline.flush()
    begun = {(leg.pair_id, target) for leg in legs for target in leg.expected_targets or (leg.target,)}
    assert bench.outcomes().total() == len(begun)
    both = bench.outcomes()["matched"] + bench.outcomes()["not_comparable"]
    assert len({span.context.span_id for span in bench.spans}) == len(bench.spans) == both


def test_a_leg_that_waits_past_the_window_ends_its_pair() -> None:
    bench = Bench(window="10s")
    bench.traces(legs_request([live("p1"), shadow("p2")]))
    bench.monotonic.advance(9.9)
    bench.pipeline.expire()
    assert (bench.pipeline.waiting, bench.outcomes()) == (2, Counter())
    bench.monotonic.advance(0.2)
    bench.pipeline.expire()
    assert (bench.pipeline.waiting, bench.outcomes()) == (0, {"live_only": 1, "shadow_only": 1})


def test_a_full_buffer_evicts_and_says_so() -> None:
    bench = Bench(capacity=2)
    bench.traces(legs_request([live(f"p{n}") for n in range(5)]))
    assert (bench.pipeline.waiting, bench.outcomes()) == (2, {"evicted": 3})


def test_legs_are_priced_and_a_price_that_is_not_known_is_not_zero() -> None:
    bench = Bench()
    bench.traces(
        legs_request([live(targets=("a", "b"), **lasting(1.0)), shadow(target="a", **lasting(1.0)), shadow(target="b")])
    )
    costs = {key[1]: value for key, value in bench.metrics().items() if key[0] == names.METRIC_CALL_COST}
    assert sorted(float(value.expected) for value in costs.values()) == [0.5, 1.0, 1.0]
    assert not any("'b'" in key and "'shadow'" in key for key in costs)
    by_target = {str((span.attributes or {})[names.TARGET_NAME]): span.attributes or {} for span in bench.spans}
    assert by_target["a"][names.PAIR_COST_RATIO] == 0.5
    assert names.PAIR_COST_DELTA not in by_target["b"]


def test_bytes_that_are_no_request_change_nothing() -> None:
    bench = Bench()
    with pytest.raises(DecodeError):
        bench.traces(b"\xff\xff")
    with pytest.raises(DecodeError):
        bench.pipeline.decode(Signal.METRICS, b"\xff\xff")
    assert bench.metrics().keys() == {
        (names.METRIC_PAIRING_BUFFER_SIZE, "[]"),
        (names.METRIC_PAIRING_BUFFER_CAPACITY, "[]"),
    }


def test_the_funnel_adds_up() -> None:
    bench = Bench()

    def sent(decision: str, reason: str | None = None) -> dict[str, str]:
        attributes = {
            names.EXPERIMENT_NAME: "summaries",
            names.TARGET_NAME: "candidate",
            names.MIRROR_DECISION: decision,
        }
        return attributes | ({names.MIRROR_DROP_REASON: reason} if reason else {})

    shed = shadow("p9", end="shed", status=None, drop_reason="queue_full")
    bench.counters(
        counter_request(
            names.METRIC_MIRROR_REQUESTS,
            [(sent("mirrored"), 4), (sent("dropped", "queue_full"), 1), (sent("not_sampled"), 90)],
        )
    )
    for n in range(3):
        bench.traces(legs_request([live(f"p{n}"), shadow(f"p{n}")]))
    bench.traces(legs_request([live("p9"), shed, live("p3")]))
    (account,) = bench.pipeline.accounts()
    assert (account.sent, account.outcomes, account.waiting) == (5, {"matched": 3, "not_comparable": 1}, 1)
    assert account.missing == 0


def test_a_checkpoint_holds_how_calls_were_drawn_and_an_older_one_does_without() -> None:
    bench, again, older = Bench(), Bench(), Bench()
    for request in exported(DrawnKey("e", "t", "c0ffee"), Drawn(10, 4, 2.5), Drawn(30, 9, 7.5)):
        bench.counters(request)
    state = json.loads(json.dumps(bench.pipeline.state()))
    again.pipeline.restore(state)
    assert again.pipeline.sampling() == bench.pipeline.sampling() == [Sampling("e", "t", "c0ffee", 30, 9, 7.5)]
    del state["sampling"]
    older.pipeline.restore(state)
    assert older.pipeline.sampling() == []

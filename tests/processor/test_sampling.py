"""How calls were drawn: three counters of a process are one fact, and are booked as one."""

from __future__ import annotations

import json
from itertools import permutations
from random import Random
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from support.draws import exported

from shadowmesh import names
from shadowmesh.policy.draws import Drawn, DrawnKey
from shadowmesh.processor.decode import decode_counters
from shadowmesh.processor.sampling import Figure, SamplingBook, SamplingPoint, SamplingSeries
from shadowmesh.store.records import Sampling

ABOUT = ("e", "t", "c0ffee")


def export(
    eligible: int, sampled: int, expected: float, at: int, *, instance: str = "i", started: int = 1,
    cumulative: bool = True, digest: str = "c0ffee",
) -> list[SamplingPoint]:  # fmt: skip
    """Return what one export of a process says; its counters begin a nanosecond apart, as the SDK's do."""
    series = SamplingSeries(instance, "e", "t", digest)
    return [
        SamplingPoint(series, figure, cumulative, started + later, at, value)
        for later, (figure, value) in enumerate(zip(Figure, (eligible, sampled, expected), strict=True))
    ]


def booked(*exports: list[SamplingPoint], book: SamplingBook | None = None) -> list[Sampling]:
    book = book or SamplingBook()
    for points in exports:
        for point in points:
            book.add(point)
    return book.sums()


def test_the_growth_of_every_instance_adds_up() -> None:
    first, other = export(10, 4, 5.0, 10), export(100, 49, 50.0, 12, instance="j")
    assert booked(first, other, export(30, 14, 15.0, 20)) == [Sampling(*ABOUT, 130, 63, 65.0)]


def test_configurations_are_told_apart() -> None:
    assert booked(export(10, 4, 5.0, 10), export(20, 3, 2.0, 10, digest="other")) == [
        Sampling(*ABOUT, 10, 4, 5.0),
        Sampling("e", "t", "other", 20, 3, 2.0),
    ]


def test_what_is_redelivered_or_overtaken_adds_nothing() -> None:
    late, last = export(10, 4, 5.0, 10), export(30, 14, 15.0, 20)
    assert booked(last, late, last) == [Sampling(*ABOUT, 30, 14, 15.0)]


def test_a_restarted_process_starts_again_and_takes_nothing_back() -> None:
    again = export(6, 3, 3.0, 30, started=25)
    assert booked(export(10, 4, 5.0, 10), again, export(8, 4, 4.0, 20)) == [Sampling(*ABOUT, 16, 7, 8.0)]


def test_deltas_are_booked_as_they_are() -> None:
    deltas = [export(10, 4, 5.0, 10, cumulative=False), export(4, 2, 2.0, 20, started=10, cumulative=False)]
    assert booked(*deltas) == [Sampling(*ABOUT, 14, 6, 7.0)]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_parted_export_is_booked_when_all_of_it_is_there(order: tuple[int, ...]) -> None:
    book = SamplingBook()
    booked(export(10, 4, 5.0, 10), book=book)
    *parts, last = [export(30, 14, 15.0, 20)[at] for at in order]
    assert booked(parts, book=book) == [Sampling(*ABOUT, 10, 4, 5.0)]
    assert booked([last], book=book) == [Sampling(*ABOUT, 30, 14, 15.0)]


def test_half_an_export_that_is_lost_takes_the_other_half_with_it() -> None:
    eligible, sampled, _ = export(30, 14, 15.0, 20)
    assert booked(export(10, 4, 5.0, 10), [eligible, sampled], export(40, 19, 20.0, 30)) == [
        Sampling(*ABOUT, 40, 19, 20.0)
    ]
    assert booked(export(10, 4, 5.0, 10), [eligible, sampled]) == [Sampling(*ABOUT, 10, 4, 5.0)]


def test_a_sender_that_is_killed_leaves_an_honest_ratio() -> None:
    """Whichever of its exports was the last one to come, what is booked is how it stood at that moment."""
    random, moments = Random(4), [(0, 0)]
    for _ in range(200):
        eligible, sampled = moments[-1]
        moments.append((eligible + 1, sampled + (random.random() < 0.3)))
    exports = [export(eligible, sampled, eligible * 0.3, at) for at, (eligible, sampled) in enumerate(moments)][1:]
    for last in (1, 50, 199):
        (found,) = booked(*exports[:last])
        assert (found.eligible, found.sampled) == moments[last]
        assert found.expected == pytest.approx(found.eligible * 0.3)


def test_the_state_goes_on_where_it_was() -> None:
    book, other = SamplingBook(), SamplingBook()
    booked(export(10, 4, 5.0, 10), export(3, 1, 0.5, 10, digest="other"), book=book)
    booked(export(30, 14, 15.0, 20)[:2], book=book)
    other.restore(json.loads(json.dumps(book.state())))
    assert other.sums() == book.sums()
    assert other.state() == book.state()
    whole = export(30, 14, 15.0, 20)
    assert booked(whole, book=other)[-1] == Sampling(*ABOUT, 30, 14, 15.0)


def test_what_is_remembered_is_bounded() -> None:
    book = SamplingBook(most_series=2, most_sums=2)
    many = [export(10, 5, 5.0, 10, digest=str(number)) for number in range(5)]
    assert [one.config_digest for one in booked(*many, book=book)] == ["3", "4"]
    assert len(book.state()["series"]) == 2


def test_what_an_interceptor_exports_is_booked() -> None:
    book = SamplingBook()
    for request in exported(DrawnKey(*ABOUT), Drawn(10, 4, 2.5), Drawn(30, 9, 7.5)):
        for point in decode_counters(request).sampling:
            book.add(point)
    assert book.sums() == [Sampling(*ABOUT, 30, 9, 7.5)]
    assert [key.instance for key in book._senders] == ["i-1"]


@pytest.mark.parametrize("missing", ["experiment", "target", "config_digest"])
def test_counters_that_do_not_say_what_they_are_about_are_skipped(missing: str) -> None:
    (request,) = exported(DrawnKey(*ABOUT)._replace(**{missing: ""}), Drawn(10, 4, 2.5))
    assert decode_counters(request).sampling == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_a_count_that_is_no_count_keeps_its_moment_unbooked(value: float) -> None:
    (request,) = exported(DrawnKey(*ABOUT), Drawn(10, 4, 2.5))
    damaged = ExportMetricsServiceRequest.FromString(request)
    points: Any = next(
        metric.sum.data_points
        for metric in damaged.resource_metrics[0].scope_metrics[0].metrics
        if metric.name == names.METRIC_MIRROR_SAMPLING_EXPECTED
    )
    points[0].as_double = value
    assert not booked(decode_counters(damaged.SerializeToString()).sampling)

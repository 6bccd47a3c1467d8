"""The queue of whole pairs in front of an exporter that works, fails, raises or hangs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from support.events import event
from support.legs import live, shadow

from shadowmesh.telemetry.backlog import BATCH_BYTES
from shadowmesh.telemetry.content import ContentEvent
from shadowmesh.telemetry.content_export import ContentExporter
from shadowmesh.telemetry.export import PairExporter
from shadowmesh.telemetry.faults import Faults
from shadowmesh.telemetry.spans import leg_span
from shadowmesh.testing import SpanSink

RESOURCE = Resource({})
LONG = 20.0


def pair(name: str) -> tuple[ReadableSpan, ...]:
    return tuple(leg_span(leg, resource=RESOURCE) for leg in (live(name), shadow(name)))


class Scripted(SpanExporter):
    """Does with each batch what the test says, and remembers it whole."""

    def __init__(self, export: Callable[[], SpanExportResult]) -> None:
        self._export = export
        self.batches: list[list[str]] = []
        self.entered = threading.Event()
        self.shut_down = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.batches.append([str((span.attributes or {})["shadowmesh.pair.id"]) for span in spans])
        self.entered.set()
        return self._export()

    def shutdown(self) -> None:
        self.shut_down.set()


def succeed() -> SpanExportResult:
    return SpanExportResult.SUCCESS


def fail() -> SpanExportResult:
    return SpanExportResult.FAILURE


def blow_up() -> SpanExportResult:
    raise RuntimeError("the exporter is broken")


@contextmanager
def pairs(exporter: SpanExporter | None, capacity: int = 10_000) -> Iterator[tuple[PairExporter, Faults]]:
    faults = Faults()
    queue = PairExporter(exporter, capacity=capacity, faults=faults)
    try:
        yield queue, faults
    finally:
        queue.close(LONG)


def test_pairs_reach_the_exporter_whole_and_in_order() -> None:
    exporter = Scripted(succeed)
    with pairs(exporter) as (queue, _):
        queue.start()
        names = [f"p{number}" for number in range(2_000)]
        assert all(queue.submit(pair(name)) for name in names)
        assert queue.drain(LONG)
        assert (queue.exported_pairs, queue.failed_pairs, queue.dropped_pairs, queue.queued()) == (2_000, 0, 0, 0)
    assert [name for batch in exporter.batches for name in batch] == [name for name in names for _ in range(2)]
    assert all(len(batch) % 2 == 0 for batch in exporter.batches)
    assert all(left == right for batch in exporter.batches for left, right in zip(batch[::2], batch[1::2], strict=True))


def test_a_pair_is_exported_without_anybody_draining() -> None:
    sink = SpanSink()
    with pairs(sink) as (queue, _):
        queue.start()
        queue.submit(pair("p"))
        assert [leg.role for leg in sink.wait_for_legs(2)] == ["live", "shadow"]


def test_a_full_queue_drops_the_newest_pair_whole_and_counts_it() -> None:
    exporter = Scripted(succeed)
    with pairs(exporter, capacity=2) as (queue, faults):
        assert [queue.submit(pair(name)) for name in "abcd"] == [True, True, False, False]
        assert (queue.queued(), queue.dropped_pairs) == (2, 2)
        assert faults.totals() == {"export: queue full": 2}
        queue.start()
        assert queue.drain(LONG)
        assert queue.submit(pair("e")), "there is room again"
        assert queue.drain(LONG)
    assert [name for batch in exporter.batches for name in batch[::2]] == ["a", "b", "e"]


@pytest.mark.parametrize(
    ("export", "cause"), [(fail, "export: the exporter failed"), (blow_up, "export: RuntimeError")]
)
def test_an_exporter_that_fails_costs_its_batch_and_not_the_thread(
    export: Callable[[], SpanExportResult], cause: str
) -> None:
    results = iter([export, succeed])
    exporter = Scripted(lambda: next(results)())  # noqa: PLW0108  # another one each time
    with pairs(exporter) as (queue, faults):
        queue.submit(pair("lost"))
        queue.start()
        assert queue.drain(LONG)
        assert (queue.exported_pairs, queue.failed_pairs) == (0, 1)
        queue.submit(pair("sent"))
        assert queue.drain(LONG)
        assert (queue.exported_pairs, queue.failed_pairs) == (1, 1)
        assert faults.totals() == {cause: 1}


def test_without_an_exporter_pairs_go_nowhere_and_nothing_runs() -> None:
    before = threading.active_count()
    with pairs(None, capacity=1) as (queue, faults):
        queue.start()
        assert all(queue.submit(pair(name)) for name in "abc")
        assert threading.active_count() == before
        assert (queue.queued(), queue.dropped_pairs, faults.totals()) == (0, 0, {})
        assert queue.drain(LONG)


def test_starting_and_closing_more_than_once_is_safe() -> None:
    exporter = Scripted(succeed)
    with pairs(exporter) as (queue, faults):
        queue.start()
        queue.start()
        queue.submit(pair("p"))
        queue.close(LONG)
        queue.close(LONG)
        queue.start()
        assert (queue.exported_pairs, exporter.shut_down.is_set()) == (1, True)
        assert not queue.submit(pair("late"))
        assert queue.dropped_pairs == 1
        assert faults.totals() == {"export: stopped": 1}
    assert len(exporter.batches) == 1


def test_closing_what_never_started_drops_what_waits_and_counts_it() -> None:
    exporter = Scripted(succeed)
    queue = PairExporter(exporter, capacity=10, faults=Faults())
    queue.submit(pair("p"))
    queue.close(0.1)
    assert (queue.dropped_pairs, queue.queued(), exporter.batches) == (1, 0, [])
    assert exporter.shut_down.is_set()


def test_an_exporter_that_cannot_shut_down_is_a_fault() -> None:
    class Stubborn(Scripted):
        def shutdown(self) -> None:
            raise RuntimeError("no")

    with pairs(Stubborn(succeed)) as (queue, faults):
        queue.close(LONG)
        assert faults.totals() == {"export shutdown: RuntimeError": 1}


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Lets a hanging exporter go, at the latest when the test ends."""
    event = threading.Event()
    yield event
    event.set()


def test_a_hanging_exporter_holds_up_neither_drain_nor_close(release: threading.Event) -> None:
    class Hanging(Scripted):
        def shutdown(self) -> None:
            # As the SDK's own exporters did: shutting down waits for the export that runs.
            release.wait(LONG)
            super().shutdown()

    def hang() -> SpanExportResult:
        release.wait(LONG)
        return SpanExportResult.SUCCESS

    exporter, faults = Hanging(hang), Faults()
    queue = PairExporter(exporter, capacity=1_000, faults=faults)
    queue.submit(pair("in flight"))
    queue.start()
    assert exporter.entered.wait(LONG)
    for number in range(300):
        queue.submit(pair(str(number)))
    began = time.monotonic()
    assert not queue.drain(0.05)
    queue.close(0.05)
    assert time.monotonic() - began < 5
    assert (queue.exported_pairs, queue.failed_pairs, queue.dropped_pairs) == (0, 1, 300)
    assert "export: not drained in time" in faults.totals()
    release.set()
    assert exporter.shut_down.wait(LONG)
    assert len(exporter.batches) == 1, "nothing is exported after the close"
    assert (queue.exported_pairs, queue.failed_pairs, queue.dropped_pairs) == (0, 1, 300)


def test_submitting_never_waits_for_an_export_that_hangs(release: threading.Event) -> None:
    def hang() -> SpanExportResult:
        release.wait(LONG)
        return SpanExportResult.SUCCESS

    exporter = Scripted(hang)
    with pairs(exporter, capacity=5) as (queue, _):
        queue.submit(pair("first"))
        queue.start()
        assert exporter.entered.wait(LONG)
        began = time.monotonic()
        results = [queue.submit(pair("next")) for _ in range(100)]
        assert time.monotonic() - began < 5
        assert results == [True] * 5 + [False] * 95
        release.set()
        assert queue.drain(LONG)
        assert (queue.exported_pairs, queue.dropped_pairs) == (6, 95)


# --- captured text beside the pairs ---------------------------------------------------------------------------


class Logs:
    """Takes events as the test says."""

    def __init__(self, export: Callable[[], SpanExportResult] = succeed) -> None:
        self._export = export
        self.taken: list[str] = []
        self.entered = threading.Event()

    def export(self, batch: Sequence[ContentEvent]) -> SpanExportResult:
        self.taken += [str(one.attributes["shadowmesh.pair.id"]) for one in batch]
        self.entered.set()
        return self._export()

    def shutdown(self) -> None:
        """There is nothing to end."""


@contextmanager
def both(
    spans: SpanExporter | None, logs: Logs, *, capacity: int = 1000, size: int = 1 << 20
) -> Iterator[tuple[PairExporter, ContentExporter, Faults]]:
    faults = Faults()
    content = ContentExporter(lambda: logs, capacity=capacity, size=size, faults=faults)
    queue = PairExporter(spans, capacity=capacity, faults=faults, content_bytes=size, events=content)
    try:
        yield queue, content, faults
    finally:
        queue.close(LONG)


def with_text(name: str) -> tuple[ReadableSpan, ...]:
    more = {"gen_ai.input.messages": "[]", "gen_ai.output.messages": "[]"}
    return tuple(leg_span(leg, resource=RESOURCE, more=more) for leg in (live(name), shadow(name)))


def test_events_go_with_their_pair_and_a_drain_waits_for_both() -> None:
    logs, sink = Logs(), SpanSink()
    with both(sink, logs) as (queue, content, faults):
        queue.start()
        assert queue.submit(pair("a"), events=[event(pair_id="a")], content_bytes=10)
        assert queue.submit(pair("b"))
        assert queue.drain(LONG)
        assert (logs.taken, len(sink.legs()), content.exported, faults.totals()) == (["a"], 4, 1, {})


def test_without_an_exporter_of_spans_events_go_out_all_the_same() -> None:
    logs = Logs()
    with both(None, logs) as (queue, _, _):
        assert queue.submit(pair("a"), events=[event(pair_id="a")], content_bytes=10)
        assert queue.drain(LONG)
        assert logs.taken == ["a"]


def test_a_pair_that_is_dropped_takes_its_text_with_it() -> None:
    logs = Logs()
    with both(Scripted(succeed), logs, capacity=1) as (queue, _, faults):
        assert queue.submit(pair("a"), events=[event(pair_id="a")], content_bytes=10)
        assert not queue.submit(pair("b"), events=[event(pair_id="b")], content_bytes=10)
        queue.start()
        assert queue.drain(LONG)
        assert logs.taken == ["a"]
        assert faults.totals() == {"export: queue full": 1, "content: let go with its pair": 1}


def test_text_on_spans_is_let_go_before_a_pair_is() -> None:
    sink = SpanSink()
    with both(sink, Logs(), size=250) as (queue, _, faults):
        for name in "abcd":
            assert queue.submit(with_text(name), content_bytes=100)
        assert queue.submit(pair("without"))
        queue.start()
        assert queue.drain(LONG)
        said = [
            (leg.pair_id, "gen_ai.input.messages" in (span.attributes or {}))
            for span, leg in zip(sink.spans, sink.legs(), strict=True)
            if leg.role == "live"
        ]
        assert said == [("a", True), ("b", True), ("c", False), ("d", False), ("without", False)]
        assert faults.totals() == {"content: queue full": 2}
        assert queue.submit(with_text("again"), content_bytes=250), "there is room again"
        assert queue.drain(LONG)
        assert "gen_ai.input.messages" in (sink.spans[-1].attributes or {})
        assert queue.exported_pairs == 6


def test_spans_with_text_go_out_in_requests_that_a_receiver_takes() -> None:
    exporter = Scripted(succeed)
    with both(exporter, Logs(), size=64 * BATCH_BYTES) as (queue, _, _):
        for name in "abcdef":
            queue.submit(with_text(name), content_bytes=BATCH_BYTES // 2)
        queue.start()
        assert queue.drain(LONG)
    assert [len(batch) // 2 for batch in exporter.batches] == [2, 2, 2]


def test_an_endpoint_that_hangs_over_text_keeps_no_pair_waiting(release: threading.Event) -> None:
    def hang() -> SpanExportResult:
        release.wait(LONG)
        return SpanExportResult.SUCCESS

    logs, sink = Logs(hang), SpanSink()
    with both(sink, logs, capacity=2) as (queue, _, faults):
        queue.start()
        queue.submit(pair("first"), events=[event(pair_id="first")], content_bytes=10)
        assert logs.entered.wait(LONG)
        for number in range(20):
            assert queue.submit(pair(str(number)), events=[event()], content_bytes=10)
            assert [leg.pair_id for leg in sink.wait_for_legs(2 * number + 4)][-1] == str(number)
        began = time.monotonic()
        assert not queue.drain(0.05)
        queue.close(0.05)
        assert time.monotonic() - began < 5
        assert queue.exported_pairs == 21
        assert faults.totals() == {"content: queue full": 18, "content: not drained in time": 3}

"""25b. Budgets and time-boxes of running servers: each end is said three times, and no restart or replica undoes it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import grpc
import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint
from support.experiments import GENERATE
from support.meshes import config, running_mesh, target
from support.models import Model
from support.resources import until
from support.servers import interceptor_of, live_server
from support.wire import request, response
from support.worlds import WORLDS, with_mirror

from shadowmesh import names
from shadowmesh.build import Mesh
from shadowmesh.names import DropReason
from shadowmesh.schema import messages
from shadowmesh.testing import Backend, ReceivedCall

TOKENS = 1500
"""Of each shadow call; at the prices below they cost 2."""
PRICES = [{"per_million_tokens": {"input": 1000, "output": 2000}}]


def priced(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterable[bytes]:
    list(requests)
    return [response("four", usage=messages.Usage(input_tokens=1000, output_tokens=500))]


def unpriced(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterable[bytes]:
    list(requests)
    return [response("four")]


class Limited:
    """A running server, and what is said of its only target."""

    def __init__(self, mesh: Mesh, call: Any, reader: InMemoryMetricReader) -> None:
        self.mesh = mesh
        self._call = call
        self._reader = reader

    def call(self) -> None:
        assert self._call(request(), timeout=20) == response("live")

    def shed(self) -> str | None:
        """Return what the status says why everything is shed."""
        (one,) = self.mesh.status()["experiments"][0]["targets"]
        assert one["admits"] is (one["shed_reason"] is None)
        reason: str | None = one["shed_reason"]
        return reason

    def exhaust(self, reason: DropReason) -> None:
        """Make calls until the status says that it is over, and not only while calls in flight hold what is left."""
        deadline = monotonic() + 60
        while self.shed() != reason or self._goes_on_after(reason):
            assert monotonic() < deadline, self.mesh.funnel()
            self.call()

    def settle(self) -> None:
        """
        Wait for calls in flight: a worker that starts slowly finds thousands of frames that came meanwhile. What was
        kept of a call is given back last, behind the word that something is left of what it held.
        """
        assert until(lambda: not any(self.mesh.active().values()) and not self.mesh.captured_bytes(), 60), (
            self.mesh.status()
        )

    def _goes_on_after(self, reason: DropReason) -> bool:
        self.settle()
        return self.shed() != reason

    def points(self, metric: str, **attributes: str) -> list[float]:
        """Return the values of a metric whose points have these attributes."""
        data = self._reader.get_metrics_data()
        assert data is not None
        return [
            point.value
            for scope in data.resource_metrics[0].scope_metrics
            for one in scope.metrics
            if one.name == metric
            for point in one.data.data_points
            if isinstance(point, NumberDataPoint) and attributes.items() <= dict(point.attributes or {}).items()
        ]


@contextmanager
def limited(
    kind: str, carrier: str, address: str, *, mirror: dict[str, Any] | None = None, time_box: Any = None, **policy: Any
) -> Iterator[Limited]:
    reader = InMemoryMetricReader()
    with ExitStack() as stack:
        settings = config(target(address, **policy), time_box=time_box)
        settings = with_mirror(settings, carrier=carrier, prices=PRICES, **(mirror or {}))
        mesh, _ = stack.enter_context(running_mesh(settings, carrier, metric_reader=reader))
        model = Model(kind, lambda _: response("live"))
        server = stack.enter_context(live_server(kind, lambda: [interceptor_of(kind, mesh)], handler=model))
        yield Limited(mesh, server.channel.unary_unary(GENERATE), reader)
        # While the server's loop still runs: with the carrier `loop` it is the mirror's as well.
        mesh.drain(5)


PLACES = (("sync", "thread"), ("aio", "loop"), ("sync", "process"))
LEFT, BOX = names.METRIC_MIRROR_BUDGET_REMAINING, names.METRIC_MIRROR_TIME_BOX_PAIRS
ENDS: dict[str, tuple[dict[str, Any], DropReason, str, str]] = {
    "money in all": ({"budget": {"total": 7.0}}, DropReason.BUDGET, LEFT, "its budget is used up"),
    "money a day": ({"budget": {"per_day": 7.0}}, DropReason.BUDGET, LEFT, "its budget for this day is used up"),
    "money an hour": ({"budget": {"per_hour": 7.0}}, DropReason.BUDGET, LEFT, "its budget for this hour is used up"),
    "tokens": (
        {"budget": {"tokens": 3 * TOKENS}}, DropReason.BUDGET, names.METRIC_MIRROR_BUDGET_TOKENS,
        "its budget of tokens is used up",
    ),
    "pairs": ({"time_box": {"pairs": 3}}, DropReason.TIME_BOX, BOX, "it has had all the pairs of its time-box"),
    "its moment": ({"time_box": {"end": "2026-01-01T00:00:00Z"}}, DropReason.TIME_BOX, "", "its time-box is over"),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "carrier"), PLACES)
@pytest.mark.parametrize("end", ENDS)
def test_when_a_limit_is_reached_the_log_the_metrics_and_the_status_say_so_and_live_calls_go_on(
    end: str, kind: str, carrier: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    limits, reason, metric, said = ENDS[end]
    with (
        caplog.at_level(logging.WARNING, "shadowmesh"),
        Backend(priced) as backend,
        limited(kind, carrier, backend.address, **limits) as it,
    ):
        it.exhaust(reason)
        it.settle()
        reached = len(backend.calls)
        for _ in range(20):
            it.call()
        shed = (names.MIRROR_DROP_REASON, reason.value)
        assert until(lambda: sum(it.points(names.METRIC_MIRROR_REQUESTS, **dict([shed]))) >= 20)
        assert len(backend.calls) == reached
        # What is left is less than a call, or nothing.
        assert not metric or until(lambda: all(0 <= left < 2.0 for left in it.points(metric)))
        assert it.shed() == reason
    # A worker says it on its standard error.
    spoken = caplog.text + capfd.readouterr().err
    assert spoken.count(f"experiment x mirrors nothing to candidate: {said}") == 1


@pytest.mark.parametrize(("kind", "carrier"), PLACES)
def test_a_model_that_nothing_prices_blocks_or_counts_as_the_fallback_says_and_never_as_nothing(
    kind: str, carrier: str
) -> None:
    with Backend(unpriced) as backend, limited(kind, carrier, backend.address, budget={"total": 1e9}) as it:
        it.exhaust(DropReason.BUDGET)
        assert it.mesh.status()["experiments"][0]["targets"][0]["limits"][0]["left"] > 0
    counted = {"total": 20.0, "unpriced": {"per_call": 5.0}}
    with Backend(unpriced) as backend, limited(kind, carrier, backend.address, budget=counted) as it:
        it.exhaust(DropReason.BUDGET)
        it.mesh.drain(5)
        assert len(backend.calls) == 4


@pytest.mark.parametrize(("kind", "carrier"), PLACES)
def test_what_is_used_up_before_a_restart_is_used_up_after_it(kind: str, carrier: str, tmp_path: Path) -> None:
    lasting = {"budget": {"state": str(tmp_path / "state")}}
    limits: dict[str, Any] = {"budget": {"total": 7.0}, "time_box": {"pairs": 1000}, "mirror": lasting}
    with Backend(priced) as backend:
        with limited(kind, carrier, backend.address, **limits) as it:
            it.exhaust(DropReason.BUDGET)
        reached = len(backend.calls)
        assert reached >= 3
        with limited(kind, carrier, backend.address, **limits) as it:
            it.exhaust(DropReason.BUDGET)
            for _ in range(5):
                it.call()
            (one,) = it.mesh.status()["experiments"][0]["targets"]
            assert {limit["name"]: limit["left"] for limit in one["limits"]} == {"total": 1.0, "pairs": 1000 - reached}
        assert len(backend.calls) == reached


def test_a_fleet_overshoots_a_budget_by_its_calls_in_flight_at_most_and_the_pairs_of_a_time_box_by_none() -> None:
    replicas, in_flight, total, pairs = len(WORLDS), 2, 60.0, 23
    share: dict[str, Any] = {"budget": {"share": 1 / replicas}}
    with Backend(priced, workers=32) as bought, Backend(priced, workers=32) as boxed, ExitStack() as stack:
        fleets = [
            [
                stack.enter_context(limited(kind, carrier, backend.address, mirror=share, **limits))
                for kind, carrier in WORLDS
            ]
            for backend, limits in (
                (bought, {"budget": {"total": total}, "max_in_flight": in_flight}),
                (boxed, {"time_box": {"pairs": pairs}}),
            )
        ]
        for fleet, reason in zip(fleets, (DropReason.BUDGET, DropReason.TIME_BOX), strict=True):
            with ThreadPoolExecutor(2 * replicas) as pool:
                list(pool.map(lambda one, reason=reason: one.exhaust(reason), fleet * 2))
    spent = 2.0 * len(bought.calls)
    assert total - replicas * (in_flight + 1) * 2.0 < spent <= total + replicas * in_flight * 2.0
    assert len(boxed.calls) == pairs // replicas * replicas <= pairs


@pytest.mark.parametrize(("kind", "carrier"), PLACES)
def test_a_reload_that_raises_a_limit_opens_what_was_closed_and_keeps_what_was_spent(kind: str, carrier: str) -> None:
    with Backend(priced) as backend, limited(kind, carrier, backend.address, budget={"total": 7.0}) as it:
        it.exhaust(DropReason.BUDGET)
        it.mesh.reload(config(target(backend.address, budget={"total": 11.0})))
        assert until(lambda: it.shed() is None)
        it.exhaust(DropReason.BUDGET)
        it.mesh.drain(5)
        assert 2.0 * len(backend.calls) in (10.0, 12.0)

"""Budgets of worker processes: what is left is seen as with every other carrier, and goes on over a kill."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint
from support.meshes import config, target
from support.resources import children, until
from support.servers import Server, interceptor_of, live_server
from support.shadows import answering
from support.traffic import Traffic
from support.worlds import WORLDS, with_mirror

from shadowmesh import names
from shadowmesh.build import Mesh
from shadowmesh.config import Config
from shadowmesh.testing import Backend

# A call counts as 1, whatever it was: nothing tells its cost.
TOTAL: dict[str, Any] = {"total": 1000.0, "unpriced": {"per_call": 1.0}}


class Limits:
    """What a mesh says is left, in its status and in its metrics."""

    def __init__(self, mesh: Mesh, server: Server, reader: InMemoryMetricReader) -> None:
        self.mesh = mesh
        self.server = server
        self._reader = reader

    def settle(self, calls: int) -> None:
        """Wait until it is known of so many calls what becomes of their shadows, and these are over."""

        def settled() -> bool:
            return sum(self.mesh.funnel().values()) == calls and not self.mesh.captured_bytes()

        assert until(settled), self.mesh.status()

    def shown(self) -> dict[str, tuple[float, float]]:
        (one,) = self.mesh.status()["experiments"][0]["targets"]
        return {limit["name"]: (limit["limit"], limit["left"]) for limit in one["limits"]}

    def left(self) -> dict[str, float]:
        return {name: left for name, (_, left) in self.shown().items()}

    def published(self, metric: str) -> list[float]:
        data = self._reader.get_metrics_data()
        return [
            point.value
            for resource in (data.resource_metrics if data is not None else ())
            for scope in resource.scope_metrics
            for one in scope.metrics
            if one.name == metric
            for point in one.data.data_points
            if isinstance(point, NumberDataPoint)
        ]


@contextmanager
def limits(kind: str, settings: Config) -> Iterator[Limits]:
    reader = InMemoryMetricReader()
    with (
        Mesh(settings, metric_reader=reader) as mesh,
        live_server(kind, lambda: [interceptor_of(kind, mesh)]) as server,
    ):
        yield Limits(mesh, server, reader)
        # While the server's loop still runs: with the carrier `loop` it is the mirror's as well.
        mesh.drain(0)


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_what_is_left_is_in_status_and_metrics_with_every_carrier(kind: str, carrier: str) -> None:
    with Backend(answering, workers=64) as backend:
        both = config(target(backend.address, budget=TOTAL), time_box={"pairs": 500})
        with limits(kind, with_mirror(both, carrier=carrier, workers=2)) as it:
            Traffic(it.server).run(20)
            # Of a worker that is not there yet nothing is used up, and its calls are still to come.
            it.settle(20)

            def right() -> bool:
                let_through = len(backend.calls)
                return it.shown() == {"total": (1000.0, 1000.0 - let_through), "pairs": (500.0, 500.0 - let_through)}

            assert until(right)
            assert it.published(names.METRIC_MIRROR_BUDGET_REMAINING) == [1000.0 - len(backend.calls)]
            assert it.published(names.METRIC_MIRROR_TIME_BOX_PAIRS) == [500.0 - len(backend.calls)]
            Traffic(it.server).run(5)
            it.mesh.drain(5)
            assert right(), "the last word is said before the end"


def test_after_the_kill_of_a_worker_its_last_word_stands_until_its_successor_goes_on_from_there(tmp_path: Path) -> None:
    before = children()

    def written() -> float:
        files = [json.loads(path.read_text()) for path in tmp_path.glob("budget-*.json")]
        return sum(float(one["accounts"]["x/candidate"]["budget"]["money"]["spent"]["total"][1]) for one in files)

    with Backend(answering, workers=64) as backend:
        settings = config(target(backend.address, budget=TOTAL))
        state = {"workers": 2, "budget": {"state": str(tmp_path)}}
        with limits("sync", with_mirror(settings, carrier="process", **state)) as it:
            Traffic(it.server).run(20)
            # Of a worker that is not there yet nothing is used up, and its calls are still to come.
            it.settle(20)

            def right() -> bool:
                return it.shown() == {"total": (1000.0, 1000.0 - len(backend.calls))}

            # The first calls go one at a time: nothing is known of what one costs.
            assert until(lambda: right() and len(backend.calls) >= 2 and written() == len(backend.calls))
            workers = set(children()) - set(before)
            assert len(workers) == 2
            os.kill(min(workers), signal.SIGKILL)
            assert until(lambda: it.mesh.status()["carrier"]["restarts"] == 1)
            assert right()
            assert until(lambda: it.mesh.status()["carrier"]["workers"]["used"] == 2)
            reached = len(backend.calls)
            Traffic(it.server).run(20)
            assert until(lambda: len(backend.calls) > reached and right())


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_a_reload_leaves_no_figure_of_a_limit_that_is_gone(kind: str, carrier: str) -> None:
    with Backend(answering, workers=64) as backend:

        def budgeted(**limits: Any) -> Config:
            one = target(backend.address, budget={**limits, "unpriced": {"per_call": 1.0}} if limits else None)
            return with_mirror(config(one), carrier=carrier, workers=2)

        with limits(kind, budgeted(total=1000.0, per_hour=50.0)) as it:
            Traffic(it.server).run(1)
            assert until(lambda: it.left() == {"per_hour": 49.0, "total": 999.0})
            it.mesh.reload(budgeted(total=100.0))
            assert set(it.left()) <= {"total"}
            assert until(lambda: it.shown() == {"total": (100.0, 99.0)})
            it.mesh.reload(budgeted())
            assert it.shown() == {}
            assert it.published(names.METRIC_MIRROR_BUDGET_REMAINING) == []
            it.mesh.reload(budgeted(per_hour=30.0))
            assert until(lambda: it.shown() == {"per_hour": (30.0, 29.0)})

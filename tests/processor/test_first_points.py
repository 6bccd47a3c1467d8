"""A series that appears with something in it was nothing before, and says so once."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from support.judging import judging
from support.legs import T0, live, shadow
from support.metrics import points_of, received
from support.otlp import legs_request
from support.stored_pairs import matched

from shadowmesh.pricing import Pricing
from shadowmesh.processor.intake import Signal
from shadowmesh.processor.keeper import Keeper
from shadowmesh.processor.pipeline import Pipeline, Put
from shadowmesh.processor.settings import ProcessorSettings
from shadowmesh.store.records import Added, Content, PairRecord
from shadowmesh.telemetry.faults import Faults
from shadowmesh.testing import FakeClock

SECOND = 1_000_000_000
EXPLICIT: dict[str, Any] = {"histograms": "explicit"}
EXPONENTIAL: dict[str, Any] = {"histograms": "exponential"}


def nowhere(item: PairRecord | Content, position: int) -> None:
    pass


def pipeline(clock: FakeClock, put: Put = nowhere, **settings: Any) -> Pipeline:
    return Pipeline(
        ProcessorSettings(**settings),
        pricing=Pricing(()),
        resource=Resource({}),
        put=put,
        emit_span=None,
        monotonic_ns=clock,
        wall_ns=clock,
    )


def ended(of: Pipeline, *pair_ids: str) -> None:
    of.stored([matched(pair_id) for pair_id in pair_ids], Added([True] * len(pair_ids)))


def said(of: Pipeline, name: str, *, again: bool = False) -> list[tuple[int, float]]:
    """Return when each point of a metric is from, in seconds after the start, and what it has counted."""
    points = points_of(received(of.collect(again=again))[name])
    return [
        ((point.time_unix_nano - T0) // SECOND, point.as_int if hasattr(point, "as_int") else point.count)
        for point in points
    ]


@pytest.mark.parametrize("settings", [EXPLICIT, EXPONENTIAL])
@pytest.mark.parametrize("name", ["shadowmesh.pairs", "shadowmesh.pair.duration.ratio"])
def test_a_new_series_was_nothing_at_the_collection_before(name: str, settings: dict[str, Any]) -> None:
    clock = FakeClock(T0)
    one = pipeline(clock, **settings)
    clock.advance(10)
    one.collect()
    clock.advance(10)
    ended(one, "p1", "p2")
    # A scrape has room for one point, and takes nothing away from the export.
    assert said(one, name, again=True) == [(20, 2)]
    assert said(one, name) == [(10, 0), (20, 2)]
    clock.advance(10)
    ended(one, "p3")
    assert said(one, name) == [(30, 3)]


def test_what_comes_between_the_start_and_the_first_collection_was_nothing_at_the_start() -> None:
    clock = FakeClock(T0)
    one = pipeline(clock)
    clock.advance(10)
    ended(one, "p1")
    assert said(one, "shadowmesh.pairs") == [(0, 0), (10, 1)]


def test_at_the_very_time_of_the_collection_before_there_is_no_second_point() -> None:
    one = pipeline(FakeClock(T0))
    ended(one, "p1")
    assert said(one, "shadowmesh.pairs") == [(0, 1)]


async def test_what_was_counted_before_a_crash_is_nothing_new_after_it() -> None:
    clock = FakeClock(T0)
    for expected in ([(0, 0), (10, 1)], [(20, 1)]):

        def put(item: PairRecord | Content, position: int) -> None:
            keeper.put(item, position)  # noqa: B023 - of this round

        one = pipeline(clock, put)
        settings = ProcessorSettings()
        keeper = Keeper(
            settings, one, name="one", instance="i", judging=judging(settings, clock), faults=Faults(), wall_ns=clock
        )
        await keeper.open()
        clock.advance(10)
        # The second time they come again, and are none.
        await keeper.take(Signal.TRACES, legs_request([live(), shadow()]))
        assert await keeper.writer.drain(20)
        assert said(one, "shadowmesh.pairs") == expected
        await keeper.close()

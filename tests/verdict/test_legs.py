"""What a leg that did not end well still says of its latency and of its errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.columns import drawn

from shadowmesh.verdict import bins, legs
from shadowmesh.verdict.facts import LegColumns, State

NAN = float("nan")
PLACE = bins.place_of(0.5)
UNKNOWN = (0, bins.TOP)


def one(state: State, seconds: float) -> LegColumns:
    leg = drawn(1).live
    return replace(
        leg,
        state=np.array([state], np.uint8),
        duration=np.array([seconds]),
        first_chunk=np.array([seconds]),
        per_token=np.array([seconds]),
    )


def places(code: int) -> tuple[int, int]:
    return int(bins.LOWEST_PLACE[code]), int(bins.HIGHEST_PLACE[code])


@pytest.mark.parametrize(
    ("state", "seconds", "of_shadow", "of_live"),
    [
        (State.OK, 0.5, (PLACE, PLACE), (PLACE, PLACE)),
        (State.FAILED, 0.5, UNKNOWN, UNKNOWN),
        (State.TIMED_OUT, 0.5, (PLACE, bins.TOP), UNKNOWN),
        (State.MISSING, NAN, UNKNOWN, UNKNOWN),
        (State.SHED, NAN, UNKNOWN, UNKNOWN),
        (State.OK, NAN, UNKNOWN, UNKNOWN),
        (State.TIMED_OUT, NAN, UNKNOWN, UNKNOWN),
    ],
)
def test_a_leg_lies_between_two_places(
    state: State, seconds: float, of_shadow: tuple[int, int], of_live: tuple[int, int]
) -> None:
    good = one(State.OK, 0.1)
    asked, _, shadow = legs.latency_codes(good, one(state, seconds), "duration")
    _, live, _ = legs.latency_codes(one(state, seconds), good, "duration")
    assert asked.all()
    assert (places(int(shadow[0])), places(int(live[0]))) == (of_shadow, of_live)


@pytest.mark.parametrize("shadow", [State.STOPPED, State.OK, State.FAILED, State.MISSING])
def test_a_call_whose_client_left_says_nothing_of_latency_whatever_became_of_its_shadow(shadow: State) -> None:
    asked, _, _ = legs.latency_codes(one(State.STOPPED, 0.5), one(shadow, 0.5), "duration")
    assert not asked.any()


def test_a_shadow_that_was_stopped_alone_takes_at_least_that_long() -> None:
    asked, _, shadow = legs.latency_codes(one(State.OK, 0.1), one(State.STOPPED, 0.5), "duration")
    assert asked.all()
    assert places(int(shadow[0])) == (PLACE, bins.TOP)


@pytest.mark.parametrize("measure", ["first_chunk", "per_token"])
def test_a_shadow_that_answers_nothing_where_live_streamed_is_not_quick_but_lost(measure: str) -> None:
    asked, _, shadow = legs.latency_codes(one(State.OK, 0.1), one(State.OK, NAN), measure)
    assert asked.all()
    assert places(int(shadow[0])) == UNKNOWN


@pytest.mark.parametrize("measure", ["first_chunk", "per_token"])
@pytest.mark.parametrize(
    ("live", "shadow", "asked"),
    [
        (one(State.OK, 0.1), one(State.OK, 0.2), True),
        (one(State.OK, NAN), one(State.OK, NAN), False),
        (one(State.OK, NAN), one(State.FAILED, NAN), False),
        (one(State.OK, 0.1), one(State.OK, NAN), True),
        (one(State.FAILED, NAN), one(State.OK, NAN), False),
        (one(State.OK, 0.1), one(State.FAILED, NAN), True),
        (one(State.FAILED, NAN), one(State.FAILED, NAN), True),
    ],
)
def test_a_pair_whose_live_leg_ended_well_without_a_figure_says_nothing_of_streams(
    measure: str, live: LegColumns, shadow: LegColumns, asked: bool
) -> None:
    assert legs.latency_codes(live, shadow, measure)[0].tolist() == [asked]


@pytest.mark.parametrize(
    ("live", "shadow", "most", "fewest"),
    [
        (State.OK, State.OK, 0, 0),
        (State.OK, State.FAILED, 1, 1),
        (State.OK, State.TIMED_OUT, 1, 1),
        (State.FAILED, State.OK, -1, -1),
        (State.FAILED, State.TIMED_OUT, 0, 0),
        (State.STOPPED, State.STOPPED, 0, 0),
        (State.OK, State.SHED, 1, 0),
        (State.OK, State.MISSING, 1, 0),
        (State.FAILED, State.SHED, 0, -1),
        (State.MISSING, State.OK, 0, -1),
        (State.MISSING, State.MISSING, 1, -1),
    ],
)
def test_errors_exceed_by_at_most_and_at_least(live: State, shadow: State, most: int, fewest: int) -> None:
    found = legs.more_errors(np.array([live * legs.STATES + shadow]))
    assert [int(each[0]) for each in found] == [most, fewest]


def test_durations_beyond_the_bins_and_none_at_all_are_in_the_bins_at_the_ends() -> None:
    last = bins.BINS - 1
    found = bins.bins_of(np.array([0.0, -1.0, -np.inf, NAN, 1e-9, 1e9, np.inf]))
    assert found.tolist() == [0, 0, 0, 0, 0, last, last]


def test_every_bin_begins_at_the_edge_of_its_place() -> None:
    edges = np.array([bins.seconds_at(place) for place in range(1, bins.TOP)])
    assert bins.bins_of(edges * (1 + 1e-9)).tolist() == list(range(bins.BINS))
    assert bins.bins_of(edges * (1 - 1e-9)).tolist() == [0, *range(bins.BINS - 1)]


def test_a_coarse_place_is_a_factor_of_a_fifth_wide() -> None:
    places_of = np.arange(bins.TOP + 1)
    coarse = bins.coarse(places_of)
    assert (coarse[0], coarse[1], coarse[bins.BINS], coarse[bins.TOP]) == (0, 1, 115, bins.COARSE_PLACES - 1)
    assert np.bincount(coarse)[1:-1].tolist() == [bins.COARSE] * (bins.BINS // bins.COARSE)

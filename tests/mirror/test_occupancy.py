"""How many calls were in flight on average, against the integral done the long way."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from shadowmesh.mirror.occupancy import Mark, Occupancy


def test_a_call_alone_has_a_concurrency_of_one() -> None:
    occupancy = Occupancy()
    assert occupancy.leave(500, occupancy.enter(100)) == 1.0


def test_two_calls_that_overlap_for_half_their_time() -> None:
    occupancy = Occupancy()
    first = occupancy.enter(0)
    second = occupancy.enter(50)
    assert occupancy.leave(100, first) == 1.5
    assert occupancy.leave(150, second) == 1.5


def test_a_call_that_takes_no_time_sees_those_that_are_in_flight() -> None:
    occupancy = Occupancy()
    occupancy.enter(0)
    occupancy.enter(0)
    assert occupancy.leave(10, occupancy.enter(10)) == 3.0


def test_frames_that_arrive_out_of_order_never_give_less_than_the_call_itself() -> None:
    occupancy = Occupancy()
    early = occupancy.enter(1_000)
    late = occupancy.enter(900)
    assert occupancy.leave(950, late) >= 1.0
    assert occupancy.leave(900, early) >= 1.0


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[int, int, int]]:
    """Calls as (enter, leave) on one clock, and all events of them in order of time."""
    calls = draw(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), min_size=1, max_size=12))
    events = [(start, 0, number) for number, (start, _) in enumerate(calls)]
    events += [(start + lasting, 1, number) for number, (start, lasting) in enumerate(calls)]
    return sorted(events)


@given(histories())
def test_the_mean_is_the_integral_of_the_calls_in_flight(events: list[tuple[int, int, int]]) -> None:
    occupancy = Occupancy()
    marks: dict[int, Mark] = {}
    starts = {number: at for at, leaving, number in events if not leaving}
    ends = {number: at for at, leaving, number in events if leaving}
    for at, leaving, number in events:
        if not leaving:
            marks[number] = occupancy.enter(at)
            continue
        mean = occupancy.leave(at, marks.pop(number))
        lasted = at - starts[number]
        if lasted:
            area = sum(max(min(at, ends[other]) - max(starts[number], starts[other]), 0) for other in starts)
            assert math.isclose(mean, area / lasted)
        else:
            assert mean >= 1.0

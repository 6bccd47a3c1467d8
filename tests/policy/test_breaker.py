"""The breaker of one target, told by moments: what opens it, how long it stays open, and what closes it again."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shadowmesh.names import CallEnd
from shadowmesh.policy.breaker import Breaker, BreakerSettings, BreakerState, succeeded

SECOND = 1_000_000_000


def settings(**changes: Any) -> BreakerSettings:
    facts = {"window": 10, "failures": 0.5, "least_calls": 4, "open": 5, "open_most": 20, "probes": 2}
    return BreakerSettings.model_validate(facts | changes)


class Played:
    """A breaker, the time, and whole calls."""

    def __init__(self, **changes: Any) -> None:
        self.breaker = Breaker(settings(**changes))
        self.now = 1_000 * SECOND

    def call(self, *results: bool | None) -> None:
        for good in results:
            admitted = self.breaker.admit()
            assert admitted
            self.breaker.settle(admitted, good, self.now)

    def wait(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)
        self.breaker.wake(self.now)

    def state(self) -> BreakerState:
        return self.breaker.state

    def opened(self) -> None:
        """Fail until it is open."""
        while self.state() is not BreakerState.OPEN:
            self.call(False)

    def half_opened(self) -> None:
        self.opened()
        self.wait((self.breaker.until_ns - self.now) / SECOND)
        assert self.state() is BreakerState.HALF_OPEN


# --- what counts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [code.name for code in grpc.StatusCode])
def test_only_what_the_backend_cannot_help_is_a_failure(status: str) -> None:
    failures = {
        "UNAVAILABLE",
        "DEADLINE_EXCEEDED",
        "INTERNAL",
        "UNKNOWN",
        "DATA_LOSS",
        "RESOURCE_EXHAUSTED",
        "CANCELLED",
    }
    assert succeeded(status, CallEnd.COMPLETED) is (status not in failures)


@pytest.mark.parametrize(
    ("status", "end", "shows"),
    [
        ("CANCELLED", CallEnd.CANCELLED, None),
        ("CANCELLED", CallEnd.DEADLINE, None),
        ("CANCELLED", CallEnd.CUT, None),
        ("", CallEnd.CUT, None),
        ("", CallEnd.SHED, None),
        ("DEADLINE_EXCEEDED", CallEnd.DEADLINE, False),
    ],
)
def test_a_shadow_that_we_stopped_shows_nothing_and_one_that_ran_out_of_time_a_failure(
    status: str, end: CallEnd, shows: bool | None
) -> None:
    assert succeeded(status, end) is shows


# --- closed ---------------------------------------------------------------------------------------------------


def test_it_opens_when_enough_calls_were_made_and_the_share_of_failures_is_reached() -> None:
    played = Played()
    played.call(False, False, False)
    assert played.state() is BreakerState.CLOSED, "three calls say nothing yet"
    played.call(False)
    assert played.state() is BreakerState.OPEN
    assert played.breaker.refusing
    assert played.breaker.admit() == 0


def test_it_stays_closed_below_the_share() -> None:
    played = Played()
    played.call(*[True, True, False] * 50)
    assert played.state() is BreakerState.CLOSED


def test_a_call_that_shows_nothing_counts_neither_way() -> None:
    played = Played()
    played.call(*[None] * 100, False, False, False)
    assert played.state() is BreakerState.CLOSED
    played.call(*[None] * 100, False)
    assert played.state() is BreakerState.OPEN


def test_what_is_older_than_the_window_is_forgotten() -> None:
    played = Played()
    played.call(False, False, False)
    played.wait(11)
    played.call(False, False, False)
    assert played.state() is BreakerState.CLOSED
    played.wait(5)
    played.call(False)
    assert played.state() is BreakerState.OPEN, "the window slides, it does not tumble"


def test_a_breaker_that_is_not_enabled_never_opens() -> None:
    played = Played(enabled=False)
    played.call(*[False] * 1000)
    assert played.state() is BreakerState.CLOSED


# --- open and half-open ---------------------------------------------------------------------------------------


def test_it_is_half_open_when_its_time_is_over_and_not_before() -> None:
    played = Played()
    played.opened()
    played.wait(4.999)
    assert played.state() is BreakerState.OPEN
    played.wait(0.001)
    assert played.state() is BreakerState.HALF_OPEN
    assert not played.breaker.refusing


def test_half_open_it_admits_its_probes_and_nothing_else() -> None:
    played = Played()
    played.half_opened()
    assert [bool(played.breaker.admit()) for _ in range(5)] == [True, True, False, False, False]
    assert played.breaker.refusing


def test_all_probes_good_close_it() -> None:
    played = Played()
    played.half_opened()
    played.call(True)
    assert played.state() is BreakerState.HALF_OPEN
    played.call(True)
    assert played.state() is BreakerState.CLOSED
    played.call(*[True] * 10)


def test_the_first_failed_probe_opens_it_for_twice_as_long_up_to_a_maximum() -> None:
    played = Played()
    played.opened()
    lengths = []
    for _ in range(4):
        lengths.append((played.breaker.until_ns - played.now) / SECOND)
        played.wait(lengths[-1])
        played.call(True, False)
    assert lengths == [5, 10, 20, 20]


def test_a_probe_that_shows_nothing_is_made_again() -> None:
    played = Played()
    played.half_opened()
    played.call(*[None] * 10, True, *[None] * 10, True)
    assert played.state() is BreakerState.CLOSED


def test_one_that_fails_soon_after_it_was_closed_goes_on_where_it_was() -> None:
    played = Played()
    played.half_opened()
    played.call(True, True)
    played.wait(1)
    played.opened()
    assert played.breaker.until_ns - played.now == 10 * SECOND


def test_one_that_served_well_for_a_window_begins_anew() -> None:
    played = Played()
    played.half_opened()
    played.call(True, True)
    played.wait(10)
    played.opened()
    assert played.breaker.until_ns - played.now == 5 * SECOND


def test_calls_admitted_before_it_opened_say_nothing_about_what_came_after() -> None:
    played = Played()
    breaker = played.breaker
    late = [breaker.admit() for _ in range(10)]
    played.opened()
    until = breaker.until_ns
    breaker.settle(late.pop(), good=False, now_ns=played.now + 1)
    assert breaker.until_ns == until, "a late failure does not prolong it"
    played.wait(5)
    breaker.settle(late.pop(), good=True, now_ns=played.now)
    breaker.settle(late.pop(), good=True, now_ns=played.now)
    assert played.state() is BreakerState.HALF_OPEN, "they are no probes"
    played.call(True, True)
    for admitted in late:
        breaker.settle(admitted, good=False, now_ns=played.now)
    assert played.state() is BreakerState.CLOSED


# --- whatever happens -----------------------------------------------------------------------------------------

STEPS = st.one_of(
    st.just("admit"),
    st.tuples(st.sampled_from([True, False, None]), st.integers(0, 30)),
    st.floats(0, 40, allow_nan=False),
)


@given(st.lists(STEPS, max_size=200))
def test_in_any_order_of_events_open_admits_nobody_half_open_few_and_closed_everybody(steps: list[Any]) -> None:
    played = Played()
    breaker = played.breaker
    flying: list[tuple[int, BreakerState]] = []
    opened_at = 0
    for step in steps:
        before = breaker.state
        if step == "admit":
            admitted = breaker.admit()
            probes = [one for one, state in flying if state is BreakerState.HALF_OPEN and one == admitted]
            if before is BreakerState.CLOSED:
                assert admitted
            elif before is BreakerState.OPEN:
                assert not admitted
            else:
                assert len(probes) < 2 or not admitted
            if admitted:
                flying.append((admitted, before))
        elif isinstance(step, tuple):
            if flying:
                admitted, _ = flying.pop(step[1] % len(flying))
                breaker.settle(admitted, step[0], played.now)
                if step[0] is not False:
                    assert breaker.state is not BreakerState.OPEN or before is BreakerState.OPEN
        else:
            played.wait(step)
        if breaker.state is BreakerState.OPEN and before is not BreakerState.OPEN:
            opened_at = played.now
            assert 5 * SECOND <= breaker.until_ns - opened_at <= 20 * SECOND
        if breaker.state is BreakerState.HALF_OPEN and before is BreakerState.OPEN:
            assert played.now >= breaker.until_ns
        assert breaker.refusing == (breaker.state is BreakerState.OPEN) or breaker.state is BreakerState.HALF_OPEN


@given(
    st.lists(st.tuples(st.integers(0, 5 * SECOND), st.booleans()), min_size=1, max_size=120),
    st.integers(1, 30),
)
def test_the_window_holds_no_less_than_nine_tenths_of_its_time_and_no_more_than_all_of_it(
    calls: list[tuple[int, bool]], least: int
) -> None:
    """Against a model that keeps every call: what surely is in the window opens it, what surely is not does not."""
    breaker = Breaker(settings(failures=1.0, least_calls=least))
    now, failed_at, good_at = 1_000 * SECOND, [0], [0]
    for gap, good in calls:
        now += gap
        (good_at if good else failed_at).append(now)
        breaker.settle(breaker.admit(), good, now)
        surely = [at for at in failed_at[1:] if now - at <= 9 * SECOND]
        perhaps = [at for at in failed_at[1:] if now - at < 10 * SECOND]
        if breaker.state is BreakerState.OPEN:
            assert len(perhaps) >= least
            return
        if not good and now - good_at[-1] >= 10 * SECOND:
            assert len(surely) < least


# --- settings -------------------------------------------------------------------------------------------------


def test_the_defaults_are_on() -> None:
    assert BreakerSettings().model_dump() == {
        "enabled": True,
        "window": 30.0,
        "failures": 0.5,
        "least_calls": 20,
        "open": 5.0,
        "open_most": 60.0,
        "probes": 3,
    }


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("window", 0),
        ("window", "soon"),
        ("failures", 0),
        ("failures", 1.1),
        ("failures", "half"),
        ("least_calls", 0),
        ("least_calls", 2.5),
        ("open", -1),
        ("open_most", "1y"),
        ("probes", 0),
        ("probes", True),
        ("enabled", "perhaps"),
        ("treshold", 1),
    ],
)
def test_a_wrong_setting_names_its_key(key: str, value: object) -> None:
    with pytest.raises(ValidationError) as caught:
        BreakerSettings.model_validate({key: value})
    assert [error["loc"] for error in caught.value.errors()] == [(key,)]


def test_the_longest_back_off_is_no_shorter_than_the_first() -> None:
    with pytest.raises(ValidationError, match="open_most is shorter than open"):
        BreakerSettings.model_validate({"open": "10s", "open_most": "9s"})

"""A time-box begins and ends when it says, and never lets one pair more through."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shadowmesh.names import TimeBoxLimit
from shadowmesh.policy.timebox import TimeBox, TimeBoxSettings, pairs_in, share_of

NINE = int(datetime(2026, 3, 1, 9, tzinfo=UTC).timestamp()) * 1_000_000_000


def box(**settings: Any) -> TimeBox:
    return TimeBox(TimeBoxSettings.model_validate(settings))


def test_it_is_open_from_its_start_until_just_before_its_end() -> None:
    it = box(start="2026-03-01T09:00:00Z", end="2026-03-01T11:00:00.5+01:00")
    end = NINE + 3600_500_000_000
    assert [it.refusal(moment) for moment in (NINE - 1, NINE, end - 1, end)] == [
        TimeBoxLimit.START, None, None, TimeBoxLimit.END,
    ]  # fmt: skip


def test_it_ends_after_its_pairs() -> None:
    it = box(pairs=2)
    for left in (2, 1):
        assert (it.refusal(NINE), it.pairs_left) == (None, left)
        it.count()
    assert (it.refusal(NINE), it.pairs_left) == (TimeBoxLimit.PAIRS, 0)


def test_moments_follow_the_clock_wherever_it_is_set_and_pairs_that_were_had_never_come_back() -> None:
    it = box(start="2026-03-01T09:00:00Z", end="2026-03-01T10:00:00Z", pairs=2)
    it.count()
    assert it.refusal(NINE + 3600_000_000_000) is TimeBoxLimit.END
    assert (it.refusal(NINE + 1), it.pairs_left) == (None, 1), "by the clock it is not over after all"
    it.count()
    assert [it.refusal(moment) for moment in (NINE - 1, NINE, NINE + 1)] == [
        TimeBoxLimit.START, TimeBoxLimit.PAIRS, TimeBoxLimit.PAIRS,
    ]  # fmt: skip


@pytest.mark.parametrize("zone", ["2026-03-29T01:59:59+01:00", "2026-03-29T00:59:59Z", "2026-03-28T19:59:59-05:00"])
def test_a_moment_is_one_moment_in_every_zone_and_in_the_hour_the_clocks_change(zone: str) -> None:
    change = int(datetime(2026, 3, 29, 0, 59, 59, tzinfo=UTC).timestamp()) * 1_000_000_000
    assert [box(end=zone).refusal(moment) for moment in (change - 1, change)] == [None, TimeBoxLimit.END]


def test_pairs_before_a_restart_count() -> None:
    it = TimeBox(TimeBoxSettings(pairs=10), pairs=10)
    assert it.refusal(NINE) is TimeBoxLimit.PAIRS
    assert TimeBox(TimeBoxSettings(pairs=10), pairs=12).pairs_left == 0


def test_without_a_number_pairs_are_counted_and_not_limited() -> None:
    it = box(start="2026-03-01T09:00:00Z")
    it.count()
    assert (it.pairs, it.pairs_left, it.refusal(NINE)) == (1, None, None)


@given(st.integers(1, 10**9), st.integers(1, 500))
def test_the_parts_of_all_engines_together_are_never_more_than_the_whole(pairs: int, engines: int) -> None:
    assert pairs - engines < share_of(pairs, 1 / engines) * engines <= pairs


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({}, ()),
        ({"start": "2026-03-01T09:00:00"}, ("start",)),
        ({"start": "2026-03-01"}, ("start",)),
        ({"start": datetime(2026, 3, 1, 9)}, ("start",)),  # noqa: DTZ001  # that is the point
        ({"start": datetime(2026, 3, 1).date()}, ("start",)),  # noqa: DTZ001  # likewise
        ({"end": 1_772_355_600}, ("end",)),
        ({"end": "1772355600"}, ("end",)),
        ({"end": "tomorrow"}, ("end",)),
        ({"end": "2026-02-30T09:00:00Z"}, ("end",)),
        ({"pairs": 0}, ("pairs",)),
        ({"pairs": 1.5}, ("pairs",)),
        ({"start": "2026-03-01T09:00:00Z", "end": "2026-03-01T09:00:00Z"}, ()),
        ({"until": "2026-03-01T09:00:00Z"}, ("until",)),
    ],
)
def test_a_wrong_time_box_names_its_key(settings: dict[str, Any], place: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as caught:
        TimeBoxSettings.model_validate(settings)
    assert caught.value.errors()[0]["loc"] == place


@pytest.mark.parametrize("state", [-1, 1.5, True, "3", None])
def test_a_stored_number_of_pairs_is_one(state: object) -> None:
    with pytest.raises(ValueError, match="not a number of pairs"):
        pairs_in(state)

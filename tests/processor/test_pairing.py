"""The legs of one exchange find each other, whatever order they arrive in."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.legs import live, shadow

from shadowmesh.model import Leg
from shadowmesh.processor.pairing import Ended, Pairing

WINDOW = 60.0


def sides(ended: list[Ended]) -> list[tuple[str, str]]:
    """Return (target, what happened) of each pair, in words."""
    return [(one.pair.target, _side(one)) for one in ended]


def _side(one: Ended) -> str:
    if one.evicted:
        return "evicted"
    if one.pair.shadow is None:
        return "live only"
    return "shadow only" if one.pair.live is None else "both"


def pairing(capacity: int = 1000) -> Pairing:
    return Pairing(capacity, WINDOW)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_live_and_a_shadow_leg_pair_in_either_order(order: tuple[int, int]) -> None:
    buffer, legs = pairing(), (live(), shadow())
    assert buffer.add(legs[order[0]], 0) == ("accepted", [])
    assert buffer.size == 1
    outcome, (ended,) = buffer.add(legs[order[1]], 1)
    assert (outcome, ended.pair.live, ended.pair.shadow) == ("accepted", *legs)
    assert (ended.pair.pair_id, ended.pair.target, ended.evicted) == ("p1", "candidate", False)
    assert buffer.size == 0


def test_the_live_leg_pairs_with_every_target_it_names_and_then_leaves() -> None:
    buffer = pairing()
    assert sides(buffer.add(shadow(target="b"), 0)[1]) == []
    assert sides(buffer.add(live(targets=("a", "b", "c")), 0)[1]) == [("b", "both")]
    assert sides(buffer.add(shadow(target="c"), 0)[1]) == [("c", "both")]
    assert buffer.size == 1
    assert sides(buffer.add(shadow(target="a"), 0)[1]) == [("a", "both")]
    assert buffer.size == 0


def test_without_named_targets_the_leg_count_says_when_all_have_come() -> None:
    buffer = pairing()
    buffer.add(live(targets=(), leg_count=3), 0)
    assert sides(buffer.add(shadow(target="a"), 0)[1]) == [("a", "both")]
    assert buffer.size == 1
    assert sides(buffer.add(shadow(target="b"), 0)[1]) == [("b", "both")]
    assert buffer.size == 0


def test_a_target_nobody_named_ends_without_a_name_and_once() -> None:
    buffer = pairing()
    buffer.add(live(targets=(), leg_count=4), 0)
    buffer.add(shadow(target="a"), 0)
    assert sides(buffer.expire(WINDOW)) == [("", "live only")]
    assert buffer.add(shadow(target="b"), WINDOW) == ("late", [])


def test_a_live_leg_that_counts_nothing_waits_out_the_window_for_whoever_comes() -> None:
    buffer = pairing()
    buffer.add(live(targets=(), leg_count=0), 0)
    assert sides(buffer.add(shadow(target="a"), 0)[1]) == [("a", "both")]
    assert sides(buffer.add(shadow(target="b"), 0)[1]) == [("b", "both")]
    assert buffer.size == 1
    assert buffer.expire(WINDOW) == []
    assert buffer.size == 0


def test_after_the_window_each_missing_side_is_an_end_of_its_own() -> None:
    buffer = pairing()
    buffer.add(live("p1", targets=("a", "b")), 0)
    buffer.add(shadow("p1", "b"), 1)
    buffer.add(shadow("p2", "a"), 10)
    assert buffer.expire(WINDOW - 0.001) == []
    assert sides(buffer.expire(WINDOW)) == [("a", "live only")]
    assert sides(buffer.expire(WINDOW + 10)) == [("a", "shadow only")]
    assert buffer.size == 0


def test_a_leg_seen_before_is_a_duplicate_while_it_waits_and_after_its_pair_has_ended() -> None:
    buffer = pairing()
    for _ in range(3):
        buffer.add(live(), 0)
    assert buffer.size == 1
    assert buffer.add(live(), 0) == ("duplicate", [])
    assert len(buffer.add(shadow(), 0)[1]) == 1
    assert buffer.add(shadow(), 0) == ("duplicate", [])
    assert buffer.add(live(), 0) == ("duplicate", [])
    assert buffer.size == 0


def test_a_new_leg_for_a_pair_that_has_ended_is_late() -> None:
    buffer = pairing()
    buffer.add(live(), 0)
    buffer.expire(WINDOW)
    assert buffer.add(shadow(), WINDOW) == ("late", [])
    buffer.add(shadow("p2"), WINDOW)
    buffer.expire(2 * WINDOW)
    assert buffer.add(live("p2"), 2 * WINDOW) == ("late", [])
    assert buffer.size == 0


def test_a_late_live_leg_still_accounts_for_the_targets_that_have_not_ended() -> None:
    buffer = pairing()
    buffer.add(shadow(target="a"), 0)
    buffer.expire(WINDOW)
    assert buffer.add(live(targets=("a", "b")), WINDOW) == ("accepted", [])
    assert sides(buffer.add(shadow(target="b"), WINDOW)[1]) == [("b", "both")]
    assert buffer.size == 0


def test_a_second_leg_for_a_place_that_is_taken_is_late() -> None:
    buffer = pairing()
    buffer.add(live(), 0)
    assert buffer.add(live(span_id=99), 0) == ("late", [])
    buffer.add(shadow("p2"), 0)
    assert buffer.add(shadow("p2", span_id=98), 0) == ("late", [])


def test_beyond_its_capacity_the_exchange_that_waited_longest_is_evicted() -> None:
    buffer = pairing(capacity=2)
    buffer.add(live("p1", targets=("a", "b")), 0)
    buffer.add(shadow("p2", "a"), 1)
    assert sides(buffer.add(live("p3"), 2)[1]) == [("a", "evicted"), ("b", "evicted")]
    assert sides(buffer.add(live("p4"), 3)[1]) == [("a", "evicted")]
    assert buffer.size == 2
    assert buffer.add(shadow("p1", "a"), 4) == ("late", [])


def test_experiments_do_not_share_pair_ids() -> None:
    buffer = pairing()
    buffer.add(live(), 0)
    assert buffer.add(replace(shadow(), experiment="other"), 0) == ("accepted", [])
    assert buffer.size == 2


def test_flush_ends_all_that_waits() -> None:
    buffer = pairing()
    buffer.add(live("p1"), 0)
    buffer.add(shadow("p2", "b"), 0)
    assert buffer.waiting() == {("summaries", "candidate"): 1, ("summaries", "b"): 1}
    assert sides(buffer.flush()) == [("candidate", "live only"), ("b", "shadow only")]
    assert (buffer.size, buffer.waiting()) == (0, {})


def test_one_pair_id_cannot_hold_more_targets_than_anybody_configures() -> None:
    buffer = pairing()
    outcomes = Counter(buffer.add(shadow(target=f"t{n}", span_id=n + 1), 0)[0] for n in range(100))
    assert outcomes == {"accepted": 64, "late": 36}


def test_closed_pairs_are_remembered_as_far_as_the_capacity_goes() -> None:
    buffer = pairing(capacity=10)
    for n in range(50):
        buffer.add(live(f"p{n}"), 0)
        buffer.add(shadow(f"p{n}"), 0)
    assert buffer.add(live("p40"), 0)[0] == "duplicate"
    assert buffer.add(live("p39"), 0)[0] == "accepted"


class Load(NamedTuple):
    """Legs as they arrive, with lost and repeated ones, and the pairs they belong to."""

    arrivals: list[Leg]
    pairs: set[tuple[str, str]]


@st.composite
def loads(draw: st.DrawFn) -> Load:
    """Draw exchanges of 1 to 3 targets whose legs are lost, repeated and out of order."""
    arrivals: list[Leg] = []
    pairs: set[tuple[str, str]] = set()
    for number in range(draw(st.integers(0, 12))):
        pair_id, targets = f"p{number}", tuple("abc"[: draw(st.integers(1, 3))])
        legs = [live(pair_id, targets=targets), *(shadow(pair_id, target) for target in targets)]
        kept = [leg for leg in legs if draw(st.integers(0, 3))]
        if any(leg.role == "live" for leg in kept):
            pairs |= {(pair_id, target) for target in targets}
        pairs |= {(pair_id, leg.target) for leg in kept if leg.role == "shadow"}
        for leg in kept:
            arrivals += [leg] * draw(st.integers(1, 3))
    return Load(draw(st.permutations(arrivals)), pairs)


@given(loads())
def test_every_pair_ends_exactly_once_and_the_buffer_returns_to_zero(load: Load) -> None:
    buffer = pairing()
    outcomes: Counter[str] = Counter()
    ended: list[Ended] = []
    for leg in load.arrivals:
        outcome, pairs = buffer.add(leg, 0)
        outcomes[outcome] += 1
        ended += pairs
    ended += buffer.expire(WINDOW)

    assert Counter((one.pair.pair_id, one.pair.target) for one in ended) == dict.fromkeys(load.pairs, 1)
    assert outcomes["accepted"] == len({(leg.pair_id, leg.span_id) for leg in load.arrivals})
    assert outcomes["accepted"] + outcomes["duplicate"] == len(load.arrivals)
    assert buffer.size == 0


@given(loads(), st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_nothing(load: Load, random: Random) -> None:
    def ends(arrivals: list[Leg]) -> Counter[tuple[object, ...]]:
        buffer = pairing()
        ended = [one for leg in arrivals for one in buffer.add(leg, 0)[1]] + buffer.flush()
        return Counter((one.pair.pair_id, one.pair.target, one.pair.live, one.pair.shadow) for one in ended)

    shuffled = list(load.arrivals)
    random.shuffle(shuffled)
    assert ends(shuffled) == ends(load.arrivals)


@given(loads(), st.integers(1, 6), st.lists(st.floats(0, 50), max_size=60))
def test_small_buffers_and_passing_time_still_end_every_pair_once(
    load: Load, capacity: int, waits: list[float]
) -> None:
    # Remembering all exchanges keeps the law exact; how many are remembered is the capacity's business.
    buffer = Pairing(capacity, WINDOW)
    ended: list[Ended] = []
    now, seen = 0.0, set()
    for leg, wait in zip(load.arrivals, waits + [0.0] * len(load.arrivals), strict=False):
        now += wait
        ended += buffer.expire(now)
        if (leg.pair_id, leg.span_id) not in seen:
            ended += buffer.add(leg, now)[1]
        seen.add((leg.pair_id, leg.span_id))
        assert buffer.size <= capacity
    ended += buffer.flush()
    counts = Counter((one.pair.pair_id, one.pair.target) for one in ended)
    assert counts.keys() == load.pairs
    assert buffer.size == 0
    if capacity >= 2 * len({leg.pair_id for leg in load.arrivals}):
        assert set(counts.values()) <= {1}

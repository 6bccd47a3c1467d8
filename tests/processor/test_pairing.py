"""The legs of one exchange find each other, whatever order they arrive in."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from dataclasses import replace
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.legs import lasting, live, shadow, usage
from support.otlp import legs_request

from shadowmesh.model import Leg
from shadowmesh.processor.decode import SpanDecoder, Spans
from shadowmesh.processor.decode_view import otlp_view
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


def test_the_oldest_position_is_where_a_replay_must_begin() -> None:
    buffer = pairing()
    assert buffer.oldest() is None
    buffer.add(live("p1"), 0, position=10)
    buffer.add(live("p2", targets=("a", "b")), 0, position=20)
    buffer.add(shadow("p3"), 0, position=30)
    assert buffer.oldest() == 10
    (ended,) = buffer.add(shadow("p1"), 0, position=40)[1]
    assert (ended.position, buffer.oldest()) == (10, 20)
    (ended,) = buffer.add(shadow("p2", "a"), 0, position=50)[1]
    assert (ended.position, buffer.oldest()) == (20, 20)
    (ended,) = buffer.expire(WINDOW)[:1]
    assert (ended.pair.target, ended.position) == ("b", 20)
    assert buffer.oldest() is None


def test_each_end_says_where_the_first_of_its_own_legs_stands() -> None:
    buffer = pairing()
    buffer.add(shadow("p1", "a"), 0, position=1)
    buffer.add(shadow("p1", "b"), 0, position=2)
    ended = buffer.add(live("p1", targets=("a", "b", "c")), 0, position=3)[1]
    buffer.add(shadow("p2"), 0, position=4)
    ended += buffer.flush()
    assert [(one.pair.target, one.position) for one in ended] == [("a", 1), ("b", 2), ("c", 3), ("candidate", 4)]


def test_a_duplicate_or_late_leg_holds_no_position_back() -> None:
    buffer = pairing()
    buffer.add(live(), 0, position=1)
    buffer.add(shadow(), 0, position=2)
    assert buffer.add(live(), 0, position=3)[0] == "duplicate"
    assert buffer.add(live(span_id=99), 0, position=4)[0] == "late"
    assert buffer.oldest() is None


def test_beyond_its_bytes_the_exchange_that_waited_longest_is_evicted() -> None:
    buffer = Pairing(1000, WINDOW, max_bytes=10_000)
    buffer.add(live("p1"), 0, size=5_000)
    assert buffer.add(live("p2"), 1, size=100)[1] == []
    assert sides(buffer.add(live("p3"), 2, size=5_000)[1]) == [("candidate", "evicted")]
    assert buffer.size == 2
    assert sides(buffer.add(live("p4"), 3, size=50_000)[1]) == [("candidate", "evicted")] * 3
    assert (buffer.size, buffer.bytes) == (0, 0)
    assert buffer.add(shadow("p4"), 4) == ("late", [])


def test_closed_pairs_are_remembered_as_far_as_their_bytes_go() -> None:
    buffer = Pairing(1000, WINDOW, max_bytes=400_000)
    for n in range(30):
        for leg in (live(f"{n}{'p' * 5_000}"), shadow(f"{n}{'p' * 5_000}")):
            buffer.add(leg, 0)
    assert buffer.add(live(f"29{'p' * 5_000}"), 0)[0] == "duplicate"
    assert buffer.add(live(f"20{'p' * 5_000}"), 0)[0] == "accepted"


def test_an_open_pair_takes_less_than_two_kib_and_about_what_is_reckoned() -> None:
    decoder, count = SpanDecoder(otlp_view()), 4_000
    requests = [
        legs_request(
            live(
                f"{number:032x}",
                trace_id=2**100 + number,
                span_id=2**60 + number,
                parent_span_id=2**61 + number,
                **lasting(0.5 + number / 1e6),
                time_to_first_chunk=0.1 + number / 1e6,
                streaming=True,
                message_count=300 + number,
                fields=usage(1000 + number, 2000 + number, request_model="m", response_model="m-1"),
            )
            for number in range(first, first + 500)
        )
        for first in range(0, count, 500)
    ]
    buffer = Pairing(count, WINDOW)

    def take(spans: Spans) -> None:
        for leg, size in zip(spans.legs, spans.sizes, strict=True):
            buffer.add(leg, 0, size=size)

    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for request in requests:
            take(decoder.decode(request))
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert buffer.size == count
    assert taken / count < 2048
    assert 0.5 < taken / buffer.bytes < 1.2


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


@given(loads())
def test_a_replay_of_everything_is_only_duplicates(load: Load) -> None:
    buffer = pairing()
    for leg in load.arrivals:
        buffer.add(leg, 0)
    buffer.flush()
    for _ in range(2):
        assert {buffer.add(leg, 0) == ("duplicate", []) for leg in load.arrivals} <= {True}
    assert (buffer.size, buffer.bytes, buffer.oldest()) == (0, 0, None)


@given(loads(), st.data())
def test_after_a_crash_the_journal_from_the_position_still_needed_gives_the_same_rows(
    load: Load, data: st.DataObject
) -> None:
    """The store keeps the first row of a pair; some ends had not reached it when the process died."""

    def row(one: Ended) -> tuple[tuple[str, str], tuple[object, object]]:
        return (one.pair.pair_id, one.pair.target), (one.pair.live, one.pair.shadow)

    whole = pairing()
    ended = [one for at, leg in enumerate(load.arrivals) for one in whole.add(leg, 0, position=at)[1]]
    expected = dict(row(one) for one in ended + whole.flush())

    crash = data.draw(st.integers(0, len(load.arrivals)))
    first = pairing()
    ended = [one for at, leg in enumerate(load.arrivals[:crash]) for one in first.add(leg, 0, position=at)[1]]
    stored = data.draw(st.integers(0, len(ended)))
    rows = dict(row(one) for one in ended[:stored])
    oldest = first.oldest()
    needed = [crash, *(one.position for one in ended[stored:]), *([] if oldest is None else [oldest])]

    second = pairing()
    begin = min(needed)
    again = [one for at, leg in enumerate(load.arrivals[begin:], begin) for one in second.add(leg, 0, position=at)[1]]
    for key, pair in map(row, again + second.flush()):
        rows.setdefault(key, pair)
    assert rows == expected


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
        assert (buffer.bytes == 0) == (buffer.size == 0)
    ended += buffer.flush()
    counts = Counter((one.pair.pair_id, one.pair.target) for one in ended)
    assert counts.keys() == load.pairs
    assert (buffer.size, buffer.bytes) == (0, 0)
    assert buffer._closed_bytes == sum(closed.size for closed in buffer._closed.values())
    if capacity >= 2 * len({leg.pair_id for leg in load.arrivals}):
        assert set(counts.values()) <= {1}

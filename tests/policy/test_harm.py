"""The harm guard: off by lot, judged by rank, fooled by nothing that traffic does, and quick where mirroring hurts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, dataclass
from itertools import count
from random import Random
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shadowmesh.evidence import log_threshold
from shadowmesh.names import HarmFigure
from shadowmesh.policy.harm import HarmGuard
from shadowmesh.policy.harm_settings import HarmGuardSettings
from shadowmesh.policy.slot_rank import chance_count, score_place, score_values
from shadowmesh.policy.slots import NEVER_NS, Slot

SECOND = 1_000_000_000
SLOT = 2 * SECOND
BLOCK = 20 * SLOT
START = 10**15
# What makes the smallest difference count.
NO_MARGINS = {"latency_margin": 0.0, "latency_floor": 1e-6, "error_margin": 0.0}


def guard(seed: int = 1, **settings: Any) -> HarmGuard:
    return HarmGuard(HarmGuardSettings.model_validate(settings), draw=Random(seed).random)


@dataclass(frozen=True)
class Traffic:
    """Calls of lognormal latency around 100 ms, whose level, rate and failures wander from slot to slot."""

    calls: float
    level: float = 0.2
    rate: float = 0.3
    outages: float = 0.002
    drift: float = 0.3
    failing: float = 0.01
    slower: float = 1.0
    more_failing: float = 0.0

    def slots(self, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
        """Yield, slot after slot, durations in ns, a uniform number per call and the share that fails."""
        random, level, rate, outage = np.random.default_rng(seed), 0.0, 0.0, 0
        for place in count():
            level = 0.9 * level + math.sqrt(0.19) * random.normal() * self.level
            rate = 0.9 * rate + math.sqrt(0.19) * random.normal() * self.rate
            outage = outage - 1 if outage else int(random.integers(1, 8)) * (random.random() < self.outages)
            calls = random.poisson(self.calls * math.exp(rate - self.rate**2 / 2))
            trend = self.drift * math.sin(place / 640)
            durations = np.exp(level + trend + 0.6 * random.normal(size=calls)) * 1e8
            yield durations, random.random(calls), 0.5 if outage else self.failing

    def run(self, watched: HarmGuard, *, blocks: int, seed: int) -> float | None:
        """Return after how many blocks the guard stopped mirroring, ``None`` if it did not."""
        for place, (durations, chances, failing) in zip(range(blocks * 20), self.slots(seed), strict=False):
            now = START + place * SLOT
            for duration, chance in zip(durations.tolist(), chances.tolist(), strict=True):
                slot = watched.begin(now)
                if slot.off:
                    slot.note(int(duration), chance < failing)
                else:
                    slot.note(int(duration * self.slower), chance < failing + self.more_failing)
            if watched.harm:
                return place / 20
        return None


BURSTY = Traffic(calls=6, level=0.5, rate=0.7, outages=0.01)


def each_slot(watched: HarmGuard, slots: int, call: Callable[[Slot], None], start: int = START) -> list[bool]:
    """Make one call at the start of each slot; return which slots were off."""
    found = []
    for place in range(slots):
        slot = watched.begin(start + place * SLOT)
        call(slot)
        found.append(slot.off)
    return found


def fine(slot: Slot) -> None:
    slot.note(SECOND // 10, False)


def test_each_block_but_the_first_has_exactly_one_slot_off() -> None:
    offs = each_slot(guard(), 20 * 50, fine)
    per_block = [sum(offs[start : start + 20]) for start in range(0, 1_000, 20)]
    assert per_block == [0] + [1] * 49


def test_every_place_in_a_block_is_off_as_often_as_any_other() -> None:
    offs = each_slot(guard(), 20 * 2_001, fine)
    places = Counter(place % 20 for place, off in enumerate(offs) if off)
    # Chi-square with 19 degrees of freedom: 43.8 is passed by one in a thousand.
    assert sum((places[place] - 100) ** 2 / 100 for place in range(20)) < 43.8


def test_the_lot_decides_alone_so_one_seed_gives_one_schedule_whatever_the_traffic_is() -> None:
    def hang(slot: Slot) -> None:
        return None

    assert each_slot(guard(7), 200, fine) == each_slot(guard(7), 200, fine)
    assert each_slot(guard(7), 200, fine) != each_slot(guard(8), 200, fine)
    assert each_slot(guard(7), 40, fine) == each_slot(guard(7), 40, hang)


def test_a_guard_that_is_not_enabled_is_never_off_and_never_judges() -> None:
    watched = guard(enabled=False)
    assert not any(each_slot(watched, 200, fine))
    assert watched.report.calls_on == watched.report.slots_off == 0


def test_all_calls_of_a_slot_share_it_and_the_next_slot_begins_at_its_end() -> None:
    watched = guard()
    first = watched.begin(START)
    assert watched.begin(START + SLOT - 1) is first
    second = watched.begin(START + SLOT)
    assert second is not first
    assert watched.begin(START + SLOT - 5) is second, "a thread that is behind meets the newest slot"


def test_silence_of_any_length_ends_in_a_fresh_block_and_counts_no_slot_of_it() -> None:
    watched = guard()
    each_slot(watched, 60, fine)
    slot = watched.begin(START + 60 * SLOT + 1_000 * BLOCK + 3)
    assert slot.end_ns == START + 60 * SLOT + 1_000 * BLOCK + SLOT
    assert watched.report.slots_off == 2, "what was open has been judged"


def test_a_call_belongs_to_the_slot_it_began_in_however_late_it_ends() -> None:
    watched = guard()
    pending: list[Slot] = []
    each_slot(watched, 40, pending.append)
    for slot in pending[20:]:
        slot.note(30 * SECOND, True)
    each_slot(watched, 21, fine, START + 40 * SLOT)
    errors = watched.report.figures[1]
    assert (errors.share_on, errors.share_off) == (1.0, 1.0)
    assert (watched.report.calls_on, watched.report.calls_off) == (19, 1)


def test_calls_that_hang_are_slow_and_nobody_knows_whether_they_failed() -> None:
    slot = Slot(off=False, end_ns=SLOT, limit_ns=SECOND)
    for _ in range(3):
        slot.begin()
    slot.note(10, False)
    assert slot.close(2 * SECOND) == (3, 2, 1, 0, 1)


def test_a_call_too_young_to_be_called_hanging_counts_for_nothing() -> None:
    slot = Slot(off=False, end_ns=SLOT, limit_ns=SECOND)
    slot.begin()
    assert slot.close(SECOND) == (1, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("duration", "failed", "tally"),
    [
        (1_000, False, (1, 0, 1, 0, 1)),
        (1_001, False, (1, 1, 0, 0, 1)),
        (1_000, True, (1, 0, 0, 1, 0)),
        (1_001, True, (1, 1, 0, 1, 0)),
        (1_000, None, (1, 0, 0, 0, 0)),
        (1_001, None, (1, 1, 0, 0, 0)),
    ],
)
def test_only_what_is_known_is_counted(duration: int, failed: bool | None, tally: tuple[int, ...]) -> None:
    slot = Slot(off=False, end_ns=SLOT, limit_ns=1_000)
    slot.begin()
    slot.note(duration, failed)
    assert slot.close(5_000) == tally


def test_without_a_limit_no_latency_is_known() -> None:
    slot = Slot(off=False, end_ns=SLOT, limit_ns=NEVER_NS)
    for _ in range(2):
        slot.begin()
    slot.note(5, False)
    assert slot.close(BLOCK) == (2, 0, 0, 0, 1)


def test_the_limit_is_the_quantile_of_earlier_calls_and_on_slots_get_the_margin() -> None:
    watched = guard(quantile=0.9, latency_margin=0.1, latency_floor="1ms")
    durations = iter(range(SECOND // 1000, SECOND, SECOND // 1000))
    for place in range(20):
        for _ in range(10):
            watched.begin(START + place * SLOT).note(next(durations), False)
    slots = {slot.off: slot for slot in (watched.begin(START + BLOCK + place * SLOT) for place in range(20))}
    assert slots[True].limit_ns == 180 * SECOND // 1000
    assert slots[False].limit_ns == 199 * SECOND // 1000
    assert watched.report.limit == pytest.approx(0.18)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20), st.integers(0, 10**6))
def test_over_all_choices_of_the_off_slot_the_mean_score_is_one_whatever_ties(shares: list[int], seed: int) -> None:
    values = score_values(20)
    for draw, rounding in ((lambda: 0.0, -1 / 32), (lambda: 1 - 2**-53, 1 / 32)):
        scores = [values[score_place(shares, share, draw)] for share in shares]
        mean = sum(scores) / len(scores)
        assert min(1, 1 + rounding) - 1e-9 <= mean <= max(1, 1 + rounding) + 1e-9
    random = Random(seed)
    half = sum(values[score_place(shares, shares[0], random.random)] for _ in range(200)) / 200
    exact = sum(sum(1 / i for i in range(rank, len(shares) + 1)) for rank in ranks(shares)) / shares.count(shares[0])
    assert half == pytest.approx(exact, abs=6 / 32 / math.sqrt(200) + 1e-9)


def ranks(shares: list[int]) -> range:
    better = sum(share < shares[0] for share in shares)
    return range(better + 1, better + shares.count(shares[0]) + 1)


def test_the_best_of_twenty_scores_the_twentieth_harmonic_number_and_the_worst_a_twentieth() -> None:
    values = score_values(20)
    shares = list(range(20))
    assert values[score_place(shares, 0, lambda: 0.0)] == pytest.approx(3.5977, abs=1 / 32)
    assert values[score_place(shares, 19, lambda: 0.0)] == pytest.approx(0.05, abs=1 / 32)
    assert values[score_place([4], 4, lambda: 0.0)] == 1.0
    assert values[0] == 0.0, "the bets are bounded by a score of nothing"


@pytest.mark.parametrize(("trials", "probability"), [(1_000, 0.005), (40, 0.1), (3, 0.5)])
def test_failures_lent_by_chance_are_binomial(trials: int, probability: float) -> None:
    random = Random(3)
    lent = np.array([chance_count(trials, probability, random.random) for _ in range(4_000)])
    mean, spread = trials * probability, trials * probability * (1 - probability)
    assert abs(lent.mean() - mean) < 5 * math.sqrt(spread / 4_000)
    assert lent.var() == pytest.approx(spread, rel=0.15)
    assert lent.max() <= trials
    assert chance_count(trials, 0.0, random.random) == 0


# alpha 0.1, 40 runs: more than 11 false alarms happen to a guard that keeps it once in a thousand times.
ALPHA, RUNS, LIMIT = 0.1, 40, 11


def test_bursts_drift_and_outages_are_no_harm_even_without_margins() -> None:
    stopped = [
        BURSTY.run(guard(seed, alpha=ALPHA, **NO_MARGINS), blocks=60, seed=seed) is not None for seed in range(RUNS)
    ]
    assert sum(stopped) <= LIMIT


def test_the_same_traffic_fools_a_test_whose_unit_is_the_call() -> None:
    fooled = 0
    for seed in range(RUNS):
        random, off, sums = Random(seed), 0, np.zeros((2, 3))
        for place, (durations, _, _) in zip(range(20 * 60), BURSTY.slots(seed), strict=False):
            off = random.randrange(20) if place % 20 == 0 else off
            logs = np.log(durations)
            sums[int(place % 20 == off)] += len(logs), logs.sum(), (logs**2).sum()
            if place % 20 == 19 and place >= 200:
                (on_mean, off_mean), squares = sums[:, 1] / sums[:, 0], sums[:, 2] / sums[:, 0]
                error = math.sqrt(sum((squares - np.array([on_mean, off_mean]) ** 2) / sums[:, 0]))
                if (on_mean - off_mean) / error > 1.645:
                    fooled += 1
                    break
    assert fooled > 1.5 * LIMIT


@pytest.mark.parametrize(
    ("near", "margin"),
    [
        (Traffic(calls=60, failing=0.0, more_failing=0.004), {"error_margin": 0.005}),
        (Traffic(calls=60, level=0.05, slower=1.28), {"latency_margin": 0.3}),
        (Traffic(calls=60, level=0.05, slower=1.28), {"latency_floor": "90ms"}),
    ],
)
def test_what_stays_within_the_margin_stops_mirroring_only_where_there_is_none(
    near: Traffic, margin: dict[str, Any]
) -> None:
    with_margin = [
        near.run(guard(seed, alpha=0.1, **{**NO_MARGINS, **margin}), blocks=50, seed=seed) for seed in (1, 2)
    ]
    assert with_margin == [None, None]
    assert near.run(guard(1, alpha=0.1, **NO_MARGINS), blocks=50, seed=1) is not None


@pytest.mark.parametrize(
    ("harm", "figure", "blocks"),
    [
        (Traffic(calls=40, slower=1.3), HarmFigure.LATENCY, 90),
        (Traffic(calls=40, slower=3.0), HarmFigure.LATENCY, 20),
        (Traffic(calls=100, more_failing=0.02), HarmFigure.ERRORS, 60),
        (Traffic(calls=10, more_failing=0.5), HarmFigure.ERRORS, 20),
    ],
)
def test_harm_stops_mirroring_within_the_stated_number_of_blocks(
    harm: Traffic, figure: HarmFigure, blocks: int
) -> None:
    watched = guard(3)
    stopped = harm.run(watched, blocks=blocks, seed=3)
    assert stopped is not None
    assert watched.harm == figure


def test_harm_is_for_good_every_later_slot_is_off_and_the_report_says_why() -> None:
    watched = guard(3)
    stopped = Traffic(calls=10, more_failing=0.5).run(watched, blocks=20, seed=3)
    assert stopped is not None
    report = watched.report
    assert report.harm == watched.harm == "errors"
    assert all(each_slot(watched, 100, fine, START + 10**6 * BLOCK))
    assert watched.report is report


def test_the_report_accounts_for_every_judged_slot_and_call() -> None:
    watched = guard(slot="2s", alpha=0.01)
    before = watched.report
    assert (before.limit, before.slots_on, before.calls_on, before.harm) == (None, 0, 0, "")

    def call(slot: Slot) -> None:
        slot.note(SECOND // 10, not slot.off)

    each_slot(watched, 20 * 6, call)
    report = watched.report
    assert (report.slots_on, report.slots_off, report.calls_on, report.calls_off) == (57, 3, 57, 3)
    latency, errors = report.figures
    assert (latency.name, errors.name) == (HarmFigure.LATENCY, HarmFigure.ERRORS)
    assert (errors.share_on, errors.share_off, errors.blocks) == (1.0, 0.0, 3)
    assert errors.threshold == log_threshold(0.005)
    assert 0 < errors.log_evidence < errors.threshold
    assert latency.share_on is None, "no limit is known from calls that all failed"
    with pytest.raises(FrozenInstanceError):
        report.slots_on = 0  # type: ignore[misc]


def test_mirroring_that_hangs_every_call_is_harm() -> None:
    watched = guard(2)

    def call(slot: Slot) -> None:
        if slot.off or watched.report.limit is None:
            fine(slot)

    each_slot(watched, 20 * 20, call)
    assert watched.harm == "latency"


def test_threads_lose_no_call_and_turn_each_block_once() -> None:
    watched, threads, calls = guard(5), 8, 4_000
    gate = Barrier(threads)

    def work() -> None:
        gate.wait()
        for turn in range(calls):
            watched.begin(START + turn * SLOT // 10).note(SECOND // 10, False)

    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work) for _ in range(threads)]:
            done.result()
    # 20 blocks of 200 turns; the first learns, the last is open, the one before waits. A later call judges both.
    watched.begin(START + 100 * BLOCK)
    report = watched.report
    # A thread that is put to sleep while it turns a block may let the others run past the next one.
    assert 10 < report.slots_off <= 19
    assert report.slots_on == 19 * report.slots_off
    assert report.calls_on + report.calls_off <= threads * calls
    assert report.calls_on + report.calls_off > 0.4 * threads * calls
    assert watched.harm == ""


def test_a_turn_that_fails_does_not_keep_the_guard_from_turning_again() -> None:
    broken = [True]

    def draw() -> float:
        if broken[0]:
            raise OSError("no entropy")
        return 0.5

    watched = HarmGuard(HarmGuardSettings(), draw=draw)
    watched.begin(START)
    with pytest.raises(OSError, match="entropy"):
        watched.begin(START + BLOCK)
    broken[0] = False
    assert watched.begin(START + BLOCK).end_ns == START + BLOCK + SLOT


def test_what_is_kept_does_not_grow_with_the_calls_of_a_slot() -> None:
    slot = Slot(off=False, end_ns=SLOT, limit_ns=SECOND)
    for _ in range(5_000):
        slot.begin()
        fine(slot)
    assert len(slot.durations) < 100
    assert slot.close(BLOCK) == (5_000, 0, 5_000, 0, 5_000)


@pytest.mark.parametrize(
    "wrong",
    [
        {"slot": "1ms"}, {"slot": "2h"}, {"one_off_in": 3}, {"one_off_in": 101}, {"alpha": 0.0}, {"alpha": 0.9},
        {"quantile": 1.0}, {"latency_margin": -0.1}, {"latency_floor": 0}, {"error_margin": 0.5}, {"slots": 3},
    ],
    ids=lambda wrong: next(iter(wrong)),
)  # fmt: skip
def test_settings_that_make_no_guard_are_refused_by_key(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refusal:
        HarmGuardSettings.model_validate(wrong)
    assert refusal.value.errors()[0]["loc"] == tuple(wrong)


@pytest.mark.parametrize("slower", [1.3, 3.0])
def test_harm_shows_where_calls_take_nearly_the_same_time_too(slower: float) -> None:
    # A limit learned from mirrored calls would be theirs, and nothing would exceed it.
    random, watched = Random(5), guard(3)
    for place in range(60 * 20):
        for _ in range(20):
            slot = watched.begin(START + place * SLOT)
            slot.note(round((1 if slot.off else slower) * SECOND / 10 * random.uniform(0.98, 1.02)), False)
    assert watched.harm == HarmFigure.LATENCY

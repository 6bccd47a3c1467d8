"""Rows about the P95 ratio."""

from __future__ import annotations

from functools import partial
from typing import Literal

from sim.plan import Simulation, never, power, straw
from sim.quantiles import shown_at
from sim.worlds import World

from shadowmesh.verdict.facts import State

PEEKED = "every 200 pairs to 20 000"


def _ratio(ratio: float, correlation: float = 0.6, *, errors: float = 0.0) -> World:
    return World(ratio=ratio, correlation=correlation, live_errors=errors, shadow_errors=errors)


def _fails(ratio: float, share: float, *, are: Literal["longest", "shortest"] = "longest") -> World:
    return World(ratio=ratio, live_errors=0.0, shadow_errors=0.0, lost=share, lost_as=State.FAILED, lost_are=are)


# Three in a hundred pairs are lost, those in which the shadow took longest: what is left has a ratio of 1.09.
HIDDEN = World(ratio=1.25, correlation=0.0, live_errors=0.0, shadow_errors=0.0, lost=0.03)

ROWS: tuple[Simulation, ...] = (
    never("P95 ratio 1.2, correlation 0: false PASS", PEEKED, partial(shown_at, world=_ratio(1.2, 0.0), side=-1),
          runs=120),
    never("P95 ratio 1.2, correlation 0.6: false PASS", PEEKED, partial(shown_at, world=_ratio(1.2), side=-1),
          runs=120, quick=30, quick_pairs=4_000),
    never("P95 ratio 1.2, correlation 0.9: false PASS", PEEKED, partial(shown_at, world=_ratio(1.2, 0.9), side=-1),
          runs=120),
    never("P95 ratio 1.2, correlation 0.6: false FAIL", PEEKED, partial(shown_at, world=_ratio(1.2), side=1),
          runs=120, quick=30, quick_pairs=4_000),
    never("P95 ratio 1.2, correlation 0: false FAIL", PEEKED, partial(shown_at, world=_ratio(1.2, 0.0), side=1),
          runs=120),
    never("P95 ratio 1.2, correlation 0.9: false FAIL", PEEKED, partial(shown_at, world=_ratio(1.2, 0.9), side=1),
          runs=120),
    power("P95 ratio 1.0: PASS", PEEKED, partial(shown_at, world=_ratio(1.0), side=-1),
          share=0.8, pairs=2_600, runs=200, quick=30),
    power("P95 ratio 1.1: PASS", PEEKED, partial(shown_at, world=_ratio(1.1), side=-1),
          share=0.8, pairs=8_400, runs=200),
    power("P95 ratio 1.3: FAIL", PEEKED, partial(shown_at, world=_ratio(1.3), side=1),
          share=0.8, pairs=9_000, runs=200),
    power("P95 ratio 1.4: FAIL", PEEKED, partial(shown_at, world=_ratio(1.4), side=1),
          share=0.8, pairs=3_000, runs=200, quick=30),
    power("P95 ratio 1.3, errors 0.5 v 0.5 %: FAIL", PEEKED,
          partial(shown_at, world=_ratio(1.3, errors=0.005), side=1), share=0.8, pairs=10_000, runs=100),
    power("P95 ratio 1.3, errors 1 v 1 %: FAIL", PEEKED,
          partial(shown_at, world=_ratio(1.3, errors=0.01), side=1), share=0.8, pairs=10_000, runs=100, quick=15),
    never("P95 ratio 1.2, errors 1 v 1 %: false FAIL", PEEKED,
          partial(shown_at, world=_ratio(1.2, errors=0.01), side=1), runs=100),
    never("P95 ratio 1.2, the shortest 1 % fail: false FAIL", "all of them the candidate's",
          partial(shown_at, world=_fails(1.2, 0.01, are="shortest"), side=1), runs=100),
    never("P95 ratio 1.2, the shortest 5 % fail: false FAIL", "all of them the candidate's",
          partial(shown_at, world=_fails(1.2, 0.05, are="shortest"), side=1), runs=100, quick=10, quick_pairs=10_000),
    power("P95 ratio 1.4, the longest 1 % fail: FAIL", "all of them the candidate's",
          partial(shown_at, world=_fails(1.4, 0.01), side=1), share=0.8, pairs=8_000, runs=100),
    never("P95 ratio 1.25, the longest 3 % fail: false PASS", "what is left has a ratio below 1.2",
          partial(shown_at, world=_fails(1.25, 0.03), side=-1), runs=60, quick=10, quick_pairs=10_000),
    never("P95 ratio 1.25, slow shadows lost: false PASS", "the slowest 3 % of the shadows never reported",
          partial(shown_at, world=HIDDEN, side=-1), runs=60, quick=10, quick_pairs=10_000),
    straw("P95 ratio 1.25, slow shadows dropped", "the same, of the pairs that have two spans",
          partial(shown_at, world=HIDDEN, side=-1, finished_only=True), runs=60, quick=10),
)  # fmt: skip

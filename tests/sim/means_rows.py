"""Rows about means, and the straw men of the same worlds."""

from __future__ import annotations

from functools import partial

from sim import means, straw, watermark
from sim.plan import Simulation, never, power
from sim.plan import straw as man

PEEKED = "every 50 pairs to 20 000"

BOUNDARIES = (
    never("win rate 50 %: false PASS", f"superior, {PEEKED}", partial(means.wins, won=0.5, ties=0.0, null=0.5, side=1),
          runs=1000, quick=100),
    never("win rate 47 %, margin 3 points: false PASS", PEEKED,
          partial(means.wins, won=0.47, ties=0.0, null=0.47, side=1), runs=1000),
    never("win rate 45 %, margin 5 points: false PASS", PEEKED,
          partial(means.wins, won=0.45, ties=0.0, null=0.45, side=1), runs=1000),
    never("errors 1.0 v 0.5 %: false PASS", f"margin 0.5 points, {PEEKED}",
          partial(means.errors, shadow=0.010, live=0.005, null=0.005, side=-1), runs=1000, quick=100),
    never("errors 0.75 v 0.25 %: false PASS", f"margin 0.5 points, {PEEKED}",
          partial(means.errors, shadow=0.0075, live=0.0025, null=0.005, side=-1), runs=1000),
    never("errors 1.1 v 0.1 %: false PASS", f"margin 1 point, {PEEKED}",
          partial(means.errors, shadow=0.011, live=0.001, null=0.01, side=-1), runs=1000),
    never("errors 1 v 1 %: false FAIL", PEEKED,
          partial(means.errors, shadow=0.01, live=0.01, null=0.0, side=1), runs=1000, quick=100),
    never("similarity exactly 0.95: false PASS", PEEKED,
          partial(means.similarity, mean=0.95, null=0.95, side=1), runs=200),
    never("similarity exactly 0.95: false FAIL", PEEKED,
          partial(means.similarity, mean=0.95, null=0.95, side=-1), runs=200),
    never("similarity at 95 % of the floor 0.85: false PASS", "triples, every 50 to 10 000",
          partial(means.against_floor, mean=0.95 * 0.85, floor=0.85, share=0.95, side=1), runs=500, quick=50),
)  # fmt: skip

POWER = (
    power("win rate 55 %: PASS", "superior, decisive pairs", partial(means.wins, won=0.55, ties=0.0, null=0.5, side=1),
          share=0.8, pairs=1_600, runs=1000, quick=100),
    power("errors 0.5 v 0.5 %: PASS", "margin 0.5 points",
          partial(means.errors, shadow=0.005, live=0.005, null=0.005, side=-1), share=0.8, pairs=7_000, runs=1000),
    power("errors 3 v 1 %: FAIL", "independent", partial(means.errors, shadow=0.03, live=0.01, null=0.0, side=1),
          share=0.8, pairs=1_500, runs=1000, quick=100),
    power("similarity 0.96 over 0.95: PASS", "absolute", partial(means.similarity, mean=0.96, null=0.95, side=1),
          share=0.8, pairs=1_400, runs=200),
    power("similarity 0.85 at a floor of 0.85: PASS", "95 % of the floor, triples",
          partial(means.against_floor, mean=0.85, floor=0.85, share=0.95, side=1), share=0.95, pairs=700, runs=500,
          quick=50),
)  # fmt: skip

STRAW_MEN = (
    man("z-test at 95 %, read again", "win rate exactly 50 %, every 100 to 20 000", partial(straw.z_test, won=0.5),
        runs=2000, quick=200),
    man("win rate above 50 %, read again", "exactly 50 %, from 10 000 to 50 000",
        partial(straw.win_point_estimate, won=0.5), runs=2000, quick=200),
    man("win rate above 50 %, read again, worse", "49.5 %, from 10 000 to 50 000",
        partial(straw.win_point_estimate, won=0.495), runs=2000, quick=200),
    man("P95 below 1.2 x, read again", "ratio exactly 1.2, from 500 to 10 000",
        partial(straw.quantile_point_estimate, ratio=1.2), runs=500, quick=25),
    man("P95 below 1.2 x, read again, worse", "ratio 1.25, from 500 to 10 000",
        partial(straw.quantile_point_estimate, ratio=1.25), runs=500, quick=25),
    man("Mann-Whitney p < 0.02, read again", "A/A, every 500 to 10 000", straw.mann_whitney, runs=1000, quick=200),
)  # fmt: skip

WATERMARK = (
    *(never(f"P95 ratio read behind the watermark, {seconds} s", "readings more than 2 % off 1.5, 20 pairs/s",
            partial(watermark.misread_at, seconds=seconds, behind_watermark=True), runs=50, quick=10)
      for seconds in (10, 20)),
    *(man(f"P95 ratio read in order of completion, {seconds} s", "readings more than 2 % off 1.5, 20 pairs/s",
          partial(watermark.misread_at, seconds=seconds, behind_watermark=False), runs=50, quick=10)
      for seconds in (10, 20)),
)  # fmt: skip

ROWS: tuple[Simulation, ...] = (*BOUNDARIES, *POWER, *WATERMARK, *STRAW_MEN)

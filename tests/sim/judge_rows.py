"""Rows about whole verdicts in which somebody has read both outputs of some pairs, and about beginning anew."""

from __future__ import annotations

from functools import partial

from sim.outcome import AtMost
from sim.plan import Decide, Simulation, never, power, straw
from sim.restarts import green_at
from sim.whole import answered_at
from sim.worlds import World

from shadowmesh.verdict.records import Answer
from shadowmesh.verdict.settings import CriteriaSettings

_FROM = 10_000
_ALL = CriteriaSettings.model_validate({"similarity": {"mode": "absolute"}, "judge": {"enabled": True}})
"""Errors, latency, a win rate that may be 3 points lower, and a similarity above 0.95."""
_EQUAL = World(similarity=0.97, judged=0.3)
_TIMES = 32
# 47 % in all, as a tie counts half: exactly what "3 points lower" asks to be exceeded.
_AT_LIMIT = World(similarity=0.97, judged=0.3, won=0.45)


def _answers(world: World, answer: Answer, *, pairs: int, step: int = 500, unseen: int = 0) -> Decide:
    return partial(answered_at, world=world, answer=answer, pairs=pairs, step=step, unseen=unseen, criteria=_ALL)


ROWS: tuple[Simulation, ...] = (
    power("verdict with a judge, A/A: GO", "errors 0.5 % each, 30 % judged, 40 % ties, similarity 0.97 over 0.95",
          _answers(_EQUAL, Answer.GO, pairs=60_000, unseen=_FROM), share=0.99, pairs=60_000, runs=400, quick=15),
    Simulation(name="verdict with a judge, A/A: NO_GO", about="the same, every 1 000 pairs to 60 000",
               decide=_answers(_EQUAL, Answer.NO_GO, pairs=60_000, step=1_000), bound=AtMost(0.01), runs=100),
    never("verdict, win rate at its limit: GO", "45 % of the decisive and 40 % ties are 47 %; from 10 000 to 30 000",
          _answers(_AT_LIMIT, Answer.GO, pairs=30_000, unseen=_FROM), runs=200, quick=20, quick_pairs=12_000),
    power("verdict, win rate 53 % and P95 ratio 0.95: GO", "of the decisive",
          _answers(World(similarity=0.97, judged=0.3, won=0.53, ratio=0.95), Answer.GO, pairs=15_000, unseen=_FROM),
          share=0.95, pairs=15_000, runs=200),
    power("verdict, win rate 40 %: NO_GO", "of the decisive",
          _answers(World(similarity=0.97, judged=0.3, won=0.4), Answer.NO_GO, pairs=12_000), share=0.8, pairs=12_000,
          runs=200, quick=10),
    never(f"begun {_TIMES} times at the limit: any GO", "win rate exactly 47 %, every 100 of 10 000 pairs each time",
          partial(green_at, times=_TIMES, halved=True), runs=400, quick=10),
    straw(f"begun {_TIMES} times at the limit, all of alpha each", "the same, as if none were another attempt",
          partial(green_at, times=_TIMES, halved=False), runs=400, quick=25),
)  # fmt: skip

"""Rows about what makes comparisons wrong without any chance in it: ends that were cut, methods hidden, a slow way."""

from __future__ import annotations

from functools import partial

from sim import watching
from sim.draws import quantile
from sim.outcome import AtMost
from sim.plan import Decide, Simulation, never, power, straw
from sim.quantiles import shown_at
from sim.whole import answered_at
from sim.worlds import World

from shadowmesh.verdict.change import RUN_LENGTH
from shadowmesh.verdict.facts import State
from shadowmesh.verdict.records import Answer
from shadowmesh.verdict.settings import CriteriaSettings

_CUT = World(ratio=1.25, live_errors=0.0, shadow_errors=0.0, deadline=1.1 * quantile(0.95))
_IMPATIENT = quantile(0.97)
_SLOW_WAY = World(path=1.3)
_HIDDEN = World(sixth=1.5, live_errors=0.0, shadow_errors=0.0)
_TOGETHER = CriteriaSettings(strata=False)


def _answers(world: World, answer: Answer, *, pairs: int = 15_000, with_control: bool = True) -> Decide:
    return partial(answered_at, world=world, answer=answer, pairs=pairs, with_control=with_control)


ROWS: tuple[Simulation, ...] = (
    never("P95 ratio 1.25, a short deadline: false PASS", "shadows are ended at 1.1 times live's P95",
          partial(shown_at, world=_CUT, side=-1), runs=60, quick=10, quick_pairs=10_000),
    straw("P95 ratio 1.25, what the deadline ended dropped", "the same, of the pairs that both answered",
          partial(shown_at, world=_CUT, side=-1, finished_only=True), runs=60, quick=10),
    never("verdict, A/A, 3 % of the clients leave: NO_GO", "those that have waited longest, every 500 to 15 000",
          _answers(World(patience=_IMPATIENT), Answer.NO_GO), runs=100),
    straw("P95 ratio 1.2, 3 % of the clients leave: false FAIL", "our own limit: the live calls that last are left out",
          partial(shown_at, world=World(ratio=1.2, live_errors=0.0, shadow_errors=0.0, patience=_IMPATIENT), side=1),
          runs=60),
    never("3 % shed at random: said to be by length", "every 500 pairs to 20 000",
          partial(watching.shed_bias_at, world=World(lost=0.03, lost_as=State.SHED, lost_are="any")), runs=200,
          quick=20, quick_pairs=5_000),
    power("the longest 3 % shed: said to be by length", "every 500 pairs",
          partial(watching.shed_bias_at, world=World(lost=0.03, lost_as=State.SHED)), share=0.95, pairs=1_000,
          runs=200, quick=10),
    power("verdict, one of six methods 1.5 times as slow: NO_GO", "each method is asked alone, too",
          partial(answered_at, world=_HIDDEN, answer=Answer.NO_GO, pairs=15_000, methods=6), share=0.8,
          pairs=15_000, runs=100),
    straw("verdict, one of six methods 1.5 times as slow, asked together: GO", "a good mean hides a broken method",
          partial(answered_at, world=_HIDDEN, answer=Answer.GO, pairs=20_000, methods=6, criteria=_TOGETHER,
                  unseen=10_000), runs=40),
    never("verdict, A/A, a way 1.3 times as slow, a control: NO_GO", "held against the control as soon as it shows",
          _answers(_SLOW_WAY, Answer.NO_GO), runs=100, quick=10, quick_pairs=6_000),
    straw("verdict, A/A, a way 1.3 times as slow, no control: NO_GO", "the candidate is blamed for the way",
          _answers(_SLOW_WAY, Answer.NO_GO, with_control=False), runs=40),
    Simulation(name="alarm, errors 1 v 1 %", about="to 100 000 pairs, at a run length of a million",
               decide=partial(watching.alarmed_at, changed=0.01, quiet=0, pairs=100_000, step=1_000),
               bound=AtMost(100_000 / RUN_LENGTH), runs=100),
    power("alarm, errors become 5 %", "after 10 000 pairs of 1 v 1 %",
          partial(watching.alarmed_at, changed=0.05, quiet=10_000, pairs=2_000, step=20), share=0.8, pairs=800,
          runs=200, quick=20),
)  # fmt: skip

"""Rows about the whole verdict at its defaults: latency, errors, similarity where there is content, and coverage."""

from __future__ import annotations

from functools import partial

from sim.outcome import AtMost
from sim.plan import Decide, Simulation, never, power
from sim.whole import answered_at
from sim.worlds import World

from shadowmesh.verdict.facts import State
from shadowmesh.verdict.records import Answer
from shadowmesh.verdict.settings import CriteriaSettings, SimilaritySettings

_EQUAL = World()
_CONTENT = World(similarity=0.85, floor=0.85)
# At half a pair a second, twenty dispatch minutes are 600 pairs.
_UNLIKE = World(similarity=0.93, pairs_per_second=0.5)
_ABSOLUTE = CriteriaSettings(similarity=SimilaritySettings(mode="absolute"))
_FROM = 10_000
"""Coverage takes more than this many pairs, so nobody looks for GO before."""


def _go(world: World, *, pairs: int = 20_000, criteria: CriteriaSettings | None = None) -> Decide:
    return partial(
        answered_at, world=world, answer=Answer.GO, pairs=pairs, unseen=_FROM, criteria=criteria or CriteriaSettings()
    )


def _no_go(
    world: World, *, pairs: int = 20_000, step: int = 500, methods: int = 1, criteria: CriteriaSettings | None = None
) -> Decide:
    return partial(
        answered_at,
        world=world,
        answer=Answer.NO_GO,
        pairs=pairs,
        step=step,
        methods=methods,
        criteria=criteria or CriteriaSettings(),
    )


def _seldom(
    name: str, about: str, world: World, share: float, *, runs: int, quick: int = 0, quick_pairs: int = 0
) -> Simulation:
    return Simulation(
        name=name,
        about=about,
        decide=_no_go(world),
        bound=AtMost(share),
        runs=runs,
        quick=quick,
        quick_pairs=quick_pairs,
    )


ROWS: tuple[Simulation, ...] = (
    power("verdict, A/A: GO", "errors 0.5 % each, coverage binds", _go(_EQUAL, pairs=15_000), share=0.99, pairs=15_000,
          runs=400, quick=30),
    power("verdict, A/A with content: GO", "similarity and floor 0.85", _go(_CONTENT, pairs=15_000), share=0.99,
          pairs=15_000, runs=200),
    _seldom("verdict, A/A: NO_GO", "every 500 pairs to 20 000", _EQUAL, 0.01, runs=150, quick=20, quick_pairs=3_000),
    _seldom("verdict, A/A in outages: NO_GO", "1 % errors each, in outages of 20 s",
            World(live_errors=0.01, shadow_errors=0.01, outage=20.0), 0.12, runs=150),
    _seldom("verdict, A/A in slow spells: NO_GO", "each side twice as slow for 5 % of the time, a minute long",
            World(slow=0.05), 0.05, runs=150),
    Simulation(name="verdict, A/A of six methods: NO_GO", about="each method is asked alone, too",
               decide=_no_go(_EQUAL, step=1_000, methods=6), bound=AtMost(0.01), runs=40),
    never("verdict, P95 ratio 1.2: GO", "every 500 pairs from 10 000 to 20 000", _go(World(ratio=1.2)), runs=200,
          quick=30, quick_pairs=12_000),
    never("verdict, errors 1.0 v 0.5 %: GO", "every 500 pairs from 10 000 to 20 000", _go(World(shadow_errors=0.01)),
          runs=200),
    never("verdict, similarity at 95 % of the floor: GO", "every 500 pairs from 10 000 to 20 000",
          _go(World(similarity=0.95 * 0.85, floor=0.85)), runs=200),
    power("verdict, P95 ratio 1.1: GO", "errors 0.1 % each",
          _go(World(ratio=1.1, live_errors=0.001, shadow_errors=0.001)),
          share=0.95, pairs=15_000, runs=200),
    power("verdict, P95 ratio 1.3: NO_GO", "no errors",
          _no_go(World(ratio=1.3, live_errors=0.0, shadow_errors=0.0), pairs=15_000), share=0.8, pairs=12_000,
          runs=200),
    power("verdict, P95 ratio 1.3, errors 1 %: NO_GO", "errors 1 % each",
          _no_go(World(ratio=1.3, live_errors=0.01, shadow_errors=0.01), pairs=15_000), share=0.8, pairs=12_000,
          runs=100),
    never("verdict, P95 ratio 1.3, the longest 1 % fail: GO", "0.5 % of live fail; every 500 pairs from 10 000",
          _go(World(ratio=1.3, shadow_errors=0.0, lost=0.01, lost_as=State.FAILED)), runs=100),
    power("verdict, P95 ratio 1.4: NO_GO", "errors 0.5 % each", _no_go(World(ratio=1.4), pairs=10_000), share=0.8,
          pairs=7_000, runs=200, quick=10),
    power("verdict, errors 2 v 0.5 %: NO_GO", "independent", _no_go(World(shadow_errors=0.02), pairs=10_000), share=0.8,
          pairs=6_000, runs=200, quick=10),
    power("verdict, similarity 0.93 where 0.95 is asked: NO_GO", "absolute",
          _no_go(_UNLIKE, pairs=2_000, step=100, criteria=_ABSOLUTE), share=0.95, pairs=1_000, runs=200, quick=10),
)  # fmt: skip

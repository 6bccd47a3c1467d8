"""
Rows about errors that come in outages, with blocks of a dispatch minute.

The last of them is no straw man of others but the product's own limit: an outage that nobody has seen yet is counted by
nothing. To certify a share of half a per cent takes some 600 times as long as one outage lasts, ``ln(20) / 0.005``.
"""

from __future__ import annotations

from functools import partial

from sim.bursts import decided_at
from sim.outcome import AtMost
from sim.plan import Simulation

from shadowmesh.verdict.settings import CoverageSettings

_MINUTES = 1_500
_SMALL = 25


def _fail(rate: int, outage: float, *, runs: int = 200, quick: int = 0, guarded: bool = True) -> Simulation:
    name = "false FAIL" if guarded else "FAIL without a guard"
    return Simulation(
        name=f"outages of {outage:g} s at {rate}/s: {name}",
        about=f"1 % errors on both sides, every minute to {_MINUTES} minutes",
        decide=partial(
            decided_at, shadow=0.01, live=0.01, outage=outage, rate=rate, null=0.0, side=1,
            minutes=_MINUTES, blocks=CoverageSettings().min_blocks_against, guarded=guarded,
        ),
        bound=AtMost(0.12, exact=True),
        runs=runs,
        quick=quick,
        straw=not guarded,
    )  # fmt: skip


def _pass(rate: int, outage: float, *, quick: int = 0, blocks: int = 600, straw: bool = False) -> Simulation:
    return Simulation(
        name=f"outages of {outage:g} s at {rate}/s: false PASS after {blocks} minutes",
        about=f"0.5 % errors of the shadow alone, margin 0.5 points, every minute to {_MINUTES}",
        decide=partial(
            decided_at, shadow=0.005, live=0.0, outage=outage, rate=rate, null=0.005, side=-1,
            minutes=_MINUTES, blocks=blocks, guarded=True,
        ),
        bound=AtMost(0.08, exact=True),
        runs=200,
        quick=quick,
        straw=straw,
    )  # fmt: skip


ROWS: tuple[Simulation, ...] = (
    _fail(1, 20, quick=_SMALL), _fail(1, 100), _fail(20, 1), _fail(20, 300), _fail(100, 1, runs=400),
    _pass(1, 20, quick=_SMALL), _pass(1, 60), _pass(20, 1),
    _fail(1, 20, guarded=False, quick=_SMALL), _fail(20, 1, guarded=False),
    _pass(1, 20, blocks=10, straw=True, quick=_SMALL), _pass(20, 300, straw=True),
)  # fmt: skip

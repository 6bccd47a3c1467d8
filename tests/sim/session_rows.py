"""Rows about sessions whose exchanges fail together, spread over all the time that one looks."""

from __future__ import annotations

from functools import partial

from sim.draws import Floats
from sim.outcome import AtMost
from sim.plan import Simulation, power
from sim.sessions import decided_at

_FAIL = partial(decided_at, shadow=0.01, live=0.01, null=0.0, side=1)
_PASS = partial(decided_at, shadow=0.005, live=0.0, null=0.005, side=-1, blocks=100)
_EQUAL = partial(decided_at, shadow=0.005, live=0.005, null=0.005, side=-1, together=False, known=True)
_WORSE = partial(decided_at, shadow=0.03, live=0.01, null=0.0, side=1, together=False, known=True)


def _together(name: str, about: str, decide: partial[Floats], bound: float, *, known: bool, quick: int) -> Simulation:
    return Simulation(
        name=f"sessions of 20: {name}",
        about=f"{about}, whole sessions of 20 at times by chance, every 300 pairs",
        decide=partial(decide, together=True, known=known),
        bound=AtMost(bound, exact=True),
        runs=400,
        quick=quick,
        straw=not known,
    )


ROWS: tuple[Simulation, ...] = (
    _together("false FAIL", "1 % errors on both sides", _FAIL, 0.12, known=True, quick=25),
    _together("false PASS", "0.5 % errors of the shadow alone, margin 0.5 points", _PASS, 0.08, known=True, quick=25),
    _together("FAIL by blocks of time alone", "1 % errors on both sides", _FAIL, 0.12, known=False, quick=50),
    _together(
        "PASS by blocks of time alone", "0.5 % errors of the shadow alone, margin 0.5 points", _PASS, 0.08,
        known=False, quick=50,
    ),
    power("sessions that are not alike: PASS", "errors 0.5 v 0.5 %, margin 0.5 points", _EQUAL, share=0.8,
          pairs=7_500, runs=400, quick=25),
    power("sessions that are not alike: FAIL", "errors 3 v 1 %", _WORSE, share=0.8, pairs=1_800, runs=400, quick=25),
)  # fmt: skip

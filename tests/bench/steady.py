"""
Windows set right for the pace of the core they ran on.

How much a slow core (see ``pace.py``) adds to the CPU time of a call is read off the bare server's windows: time goes
with a power of the slowdown, fitted per shape. Every window is brought to the shape's typical pace by it, so the
average stays where it was and the scatter shrinks, by half on a machine with busy neighbours. The pace is not the
mode's doing, with one exception: on a host that gives two of our cores one core of its own, work of a mode on another
core slows the live one, and that part is taken out as well. So the rows have the CPU as read too (``cpu_us_raw``), and
the ``slowdown``, in which such an effect would show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from bench.modes import AGAIN, REFERENCE
from bench.schedule import Visit
from bench.window import Sample

_ENOUGH = 8
_STEEPEST = 1.5


def at_one_pace(visits: Sequence[Visit]) -> list[Visit]:
    """Return the windows of one shape with the CPU they would have used at that shape's typical pace."""
    exponent = _exponent([visit.sample for visit in visits if visit.mode in {REFERENCE, AGAIN}])
    live = float(np.median([visit.sample.slowdown for visit in visits]))
    hop = float(np.median([visit.sample.hop_slowdown for visit in visits if visit.sample.cpu_us_hop] or [1.0]))
    return [replace(visit, sample=_brought_to(visit.sample, live, hop, exponent)) for visit in visits]


def _exponent(bare: Sequence[Sample]) -> float:
    slowdown = np.log([sample.slowdown for sample in bare])
    if len(bare) < _ENOUGH or float(np.ptp(slowdown)) == 0.0:
        return 0.0
    cpu = np.log([sample.cpu_us_per_call for sample in bare])
    # Through the medians and not by least squares: one window that another program spoilt would tilt the line.
    slow = slowdown > np.median(slowdown)
    if not slow.any():
        return 0.0
    rise = np.median(cpu[slow]) - np.median(cpu[~slow])
    run = np.median(slowdown[slow]) - np.median(slowdown[~slow])
    return float(np.clip(rise / run, 0.0, _STEEPEST))


def _brought_to(sample: Sample, live: float, hop: float, exponent: float) -> Sample:
    own = sample.cpu_us_per_call * (live / sample.slowdown) ** exponent
    before = sample.cpu_us_hop * (hop / sample.hop_slowdown) ** exponent
    return replace(sample, cpu_us_per_call=own, cpu_us_hop=before, cpu_us_path=own + before)

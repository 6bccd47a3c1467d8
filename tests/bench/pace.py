"""
How fast a core runs at the moment, told by a process that counts in the core's idle time.

Neighbours on the host slow a core by a third for seconds, and no clock inside the machine shows it: CPU time passes as
ever and less is done in it. So on the cores that are measured a process of the scheduling class for idle work (it runs
when nobody else wants to, and gives way at once) counts as fast as it can. Counts per CPU time are the core's pace. It
also keeps the core from falling asleep, whose waking up would be charged to whoever is woken.
"""

from __future__ import annotations

import mmap
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench.control import environment, python
from bench.process import Process, die_with_the_benchmark

_AT_ONCE = 200
_LEAST_NS = 2_000_000
_BEST = 0.1
_READINGS, _READING_SECONDS = 20, 0.05


class Meter(Process):
    """Counts on one core."""

    def __init__(self, core: int, directory: Path) -> None:
        path = directory / f"pace-{core}"
        path.write_bytes(bytes(mmap.PAGESIZE))
        with path.open("r+b") as file:
            self._counter = memoryview(mmap.mmap(file.fileno(), mmap.PAGESIZE)).cast("Q")
        super().__init__("pace", python("bench.pace", str(core), str(path)), environment())

    def read(self) -> tuple[int, int]:
        """Return how far it has counted, and the CPU time in ns that took."""
        return self._counter[0], self.cpu_ns()

    def dismiss(self) -> None:
        """Tell it to end, without waiting."""
        self._process.terminate()
        super().dismiss()


@dataclass(slots=True)
class Pace:
    """Judges what a meter shows by the best it has shown."""

    meter: Meter
    _seen: list[float] = field(default_factory=list)

    def learn(self) -> None:
        """Look on for a moment."""
        for _ in range(_READINGS):
            before = self.meter.read()
            time.sleep(_READING_SECONDS)
            self.slowdown(before)

    def slowdown(self, before: tuple[int, int]) -> float:
        """Return how much longer than at its best the core took since ``before``: 1.0 when it was undisturbed."""
        count, ns = (now - then for now, then in zip(self.meter.read(), before, strict=True))
        if ns < _LEAST_NS or not count:
            # The core had no time to spare, so nothing is known.
            return 1.0
        self._seen.append(ns / count)
        best = sorted(self._seen)[int(len(self._seen) * _BEST)]
        return max(self._seen[-1] / best, 1.0)


def _count(core: int, path: str) -> None:
    die_with_the_benchmark()
    os.sched_setaffinity(0, {core})
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    with Path(path).open("r+b") as file:
        counter = memoryview(mmap.mmap(file.fileno(), mmap.PAGESIZE)).cast("Q")
    some = range(_AT_ONCE)
    while True:
        for _ in some:
            pass
        counter[0] += 1


if __name__ == "__main__":
    _count(int(sys.argv[1]), sys.argv[2])

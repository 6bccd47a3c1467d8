"""What the processes of a window have counted and what they have used, to be read twice and subtracted."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bench.modes import Mode
from bench.process import children_cpu_ns
from bench.stage import Stage

_NS_PER_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Account:
    """The live process's funnel and errors, the calls at the shadow, the spans at the receiver."""

    mirrored: int
    shed: dict[str, int]
    faults: dict[str, int]
    shadow_calls: int
    spans: int

    @classmethod
    def of(cls, stage: Stage, mode: Mode) -> Self:
        """Ask for it."""
        live = stage.live(mode).ask(collect=True)
        return cls(
            mirrored=live["mirrored"],
            shed=live["shed"],
            faults=live["faults"],
            shadow_calls=stage.shadows.calls(mode.shadow),
            spans=stage.sink.ask()["spans"],
        )

    def __sub__(self, earlier: Account) -> Account:
        return Account(
            mirrored=self.mirrored - earlier.mirrored,
            shed=_less(self.shed, earlier.shed),
            faults=_less(self.faults, earlier.faults),
            shadow_calls=self.shadow_calls - earlier.shadow_calls,
            spans=self.spans - earlier.spans,
        )


@dataclass(frozen=True, slots=True)
class Clocks:
    """
    CPU in ns: of the live process, the hop before it, the load generator, everything that serves and mirrors by
    process id, and all programs' on the live core but the pace meter's (what the host took away included; in ticks).
    """

    live: int
    hop: int
    load: int
    foreign: int
    serving: dict[int, int]

    @classmethod
    def read(cls, stage: Stage, mode: Mode) -> Self:
        """Read the clocks of a mode's processes."""
        live, hop = stage.live(mode), stage.hop(mode)
        serving = {process.pid: process.cpu_ns() for process in (live, stage.sink, *stage.shadows.processes)}
        if hop is not None:
            serving[hop.pid] = hop.cpu_ns()
        return cls(
            live=serving[live.pid],
            hop=serving[hop.pid] if hop is not None else 0,
            load=stage.load.cpu_ns(),
            foreign=_busy_ns(stage.cores.live[0]) - stage.paces(mode)[0].meter.cpu_ns(),
            serving=serving | (children_cpu_ns([live]) if mode.has_children else {}),
        )

    @property
    def all(self) -> int:
        """Everything that serves and mirrors."""
        return sum(self.serving.values())

    def __sub__(self, earlier: Clocks) -> Clocks:
        # A child that has ended meanwhile has taken its clock along.
        serving = {pid: ns - earlier.serving.get(pid, 0) for pid, ns in self.serving.items()}
        return Clocks(
            live=self.live - earlier.live,
            hop=self.hop - earlier.hop,
            load=self.load - earlier.load,
            foreign=self.foreign - earlier.foreign,
            serving=serving,
        )


def _busy_ns(core: int) -> int:
    for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
        name, *ticks = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _waiting, _interrupts, _soft, stolen, *_ = map(int, ticks)
            return (user + nice + system + stolen) * _NS_PER_TICK
    return 0


def _less(counts: dict[str, int], earlier: dict[str, int]) -> dict[str, int]:
    return {name: count - earlier.get(name, 0) for name, count in counts.items()}

"""What the kernel tells about a process of the benchmark: its CPU clock, where it may run, and its children."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

END_WITHIN = 10.0
# Linux: the CPU clock of another process, as clock_getcpuclockid(3) makes it; user and system, all threads.
_CPU_CLOCK = 2
_SET_PARENT_DEATH_SIGNAL = 1


class Process:
    """One process that the benchmark has started."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        """Start ``command``."""
        self.name = name
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            # Ctrl-C goes to the benchmark alone, which ends the others. A group and not a session: Linux shares a core
            # fairly between sessions, and what counts a core's idle time would take half of it.
            process_group=0,
        )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def cpu_ns(self) -> int:
        """Return the CPU time the process has used."""
        return cpu_ns(self.pid)

    def pin(self, cores: Iterable[int]) -> None:
        """Keep every thread the process has, and those they start, on ``cores``."""
        pin(self.pid, cores)

    def children(self) -> list[int]:
        """Return the processes it has started, and those they have."""
        return _descendants(self.pid)

    def dismiss(self) -> None:
        """Tell the process to end, without waiting."""
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()

    def end(self, grace: float = END_WITHIN) -> None:
        """See to it that the process is gone; after ``grace`` seconds it is no longer asked."""
        self.dismiss()
        for insist in (self._process.terminate, self._process.kill):
            try:
                self._process.wait(grace)
            except subprocess.TimeoutExpired:
                insist()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def die_with_the_benchmark() -> None:
    """For a process that cannot watch its standard input: the kernel ends it with its parent; survives an exec."""
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def pin(pid: int, cores: Iterable[int]) -> None:
    """Keep all threads of a process on ``cores``; one that has ended needs nothing."""
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), cores)


def children_cpu_ns(processes: Iterable[Process]) -> dict[int, int]:
    """Return the CPU time of the children of each, by process id; what one has used after its end is not known."""
    clocks = {}
    for process in processes:
        for pid in process.children():
            with suppress(OSError):
                clocks[pid] = cpu_ns(pid)
    return clocks


def cpu_ns(pid: int) -> int:
    """Return the CPU time a process has used: user and system, all threads."""
    return time.clock_gettime_ns((~pid) << 3 | _CPU_CLOCK)


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):
            for child in map(int, task.read_text(encoding="ascii").split()):
                found += [child, *_descendants(child)]
    return found

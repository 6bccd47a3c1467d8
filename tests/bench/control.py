"""
How the benchmark and its processes talk: a line of JSON to standard input, a line of JSON back.

A process first says that it is ready, then answers until its standard input ends, and then ends itself; so nothing
outlives the benchmark, whatever takes that.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

_START_WITHIN = 60.0
END_WITHIN = 10.0
# Linux: the CPU clock of another process, as clock_getcpuclockid(3) makes it; user and system, all threads.
_CPU_CLOCK = 2


class Child:
    """One process of the benchmark, seen from the benchmark."""

    def __init__(self, module: str, *arguments: str) -> None:
        """Start ``python -m MODULE ARGUMENTS``."""
        self.name = module
        self.port = 0
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environment(),
            # Ctrl-C goes to the benchmark alone, which ends the others.
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def wait_until_ready(self) -> None:
        """Wait for what the process says first: the port it listens on, if it listens."""
        self.port = self._read(_START_WITHIN).get("port", 0)

    def ask(self, within: float = 10.0, **question: Any) -> dict[str, Any]:
        """
        Ask and return the answer.

        Raises:
            RuntimeError: the process did not answer within so many seconds, or has ended.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        self._process.stdin.flush()
        return self._read(within)

    def cpu_ns(self) -> int:
        """Return the CPU time the process has used."""
        return time.clock_gettime_ns((~self.pid) << 3 | _CPU_CLOCK)

    def pin(self, cores: Iterable[int]) -> None:
        """Keep every thread the process has, and those they start, on ``cores``."""
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with suppress(ProcessLookupError):
                os.sched_setaffinity(int(task.name), cores)

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

    def _read(self, within: float) -> dict[str, Any]:
        # Nobody speaks unasked and every answer is one line, so nothing is ever left in readline's buffer.
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], within)[0]:
            raise RuntimeError(f"{self.name} (pid {self.pid}) did not answer within {within:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} (pid {self.pid}) ended with code {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def _environment() -> dict[str, str]:
    """The telemetry is what the benchmark says, not what the shell happens to say."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "GRPC_"))}
    return {**ours, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}


def say(message: dict[str, Any]) -> None:
    """Speak to the benchmark, from a process of it."""
    print(json.dumps(message), flush=True)


async def answer_until_told_to_end(answer: Callable[[], dict[str, Any]], **ready: Any) -> None:
    """Say that this process is ready and answer every question alike."""
    say(ready)
    while await asyncio.to_thread(sys.stdin.readline):
        say(answer())

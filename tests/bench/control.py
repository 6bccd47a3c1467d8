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
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.process import Process

_START_WITHIN = 60.0


class Child(Process):
    """One process of the benchmark, seen from the benchmark."""

    def __init__(self, module: str, *arguments: str) -> None:
        """Start ``python -m MODULE ARGUMENTS``."""
        super().__init__(module, python(module, *arguments), environment())
        self.ready: dict[str, Any] = {}
        self.port = 0

    def wait_until_ready(self) -> None:
        """Wait for what the process says first: the port it listens on, if it listens."""
        self.ready = self._read(_START_WITHIN)
        self.port = self.ready.get("port", 0)

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


def python(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of the benchmark."""
    return [sys.executable, "-P", "-m", module, *arguments]


def environment() -> dict[str, str]:
    """The telemetry is what the benchmark says, not what the shell happens to say."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "GRPC_"))}
    return {**ours, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}


def say(message: dict[str, Any]) -> None:
    """Speak to the benchmark, from a process of it."""
    print(json.dumps(message), flush=True)


async def answer_until_told_to_end(answer: Callable[[dict[str, Any]], dict[str, Any]], **ready: Any) -> None:
    """Say that this process is ready and answer every question."""
    say(ready)
    while question := await asyncio.to_thread(sys.stdin.readline):
        say(answer(json.loads(question)))

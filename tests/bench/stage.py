"""The processes of one run, and where they are pinned."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Self

from bench.control import END_WITHIN, Child
from bench.plan import Mode


class Stage:
    """A context manager; leaving it ends every process it started."""

    sink: Child
    shadow: Child
    load: Child

    def __init__(self, modes: tuple[Mode, ...]) -> None:
        self.modes = modes
        self._cores = sorted(os.sched_getaffinity(0))
        self._live_cores = self._cores[:1]
        self._other_cores = self._cores[1:] or self._cores
        self._children: list[Child] = []
        self._live: dict[str, Child] = {}

    def __enter__(self) -> Self:
        try:
            self.sink, self.shadow, self.load = map(self._start, ("bench.sink", "bench.server", "bench.load"))
            for child in (self.sink, self.shadow, self.load):
                child.wait_until_ready()
                child.pin(self._other_cores)
        except BaseException:
            self._end(self._children)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # The load first, perhaps in the middle of a window; then the live servers, which have telemetry to send.
        self._end([self.load], grace=0.2)
        self._end(list(self._live.values()))
        self._end(self._children)

    @property
    def pinning(self) -> dict[str, list[int]]:
        """Which cores each process may use."""
        others = ("shadow", "otlp_sink", "load_generator", "benchmark")
        return {"live": self._live_cores, **dict.fromkeys(others, self._other_cores)}

    def live(self, mode: Mode) -> Child:
        """Return the live server of a mode."""
        return self._live[mode.name]

    def renew(self) -> None:
        """
        Start the live servers anew, one process per mode: two runs of one program differ a little for their whole
        life (memory layout, hash seed), and only new processes make that part of the spread.
        """
        os.sched_setaffinity(0, self._cores)
        self._end(list(self._live.values()))
        self._live = {
            mode.name: self._start("bench.server", *mode.arguments(self.shadow.port, self.sink.port))
            for mode in self.modes
        }
        for child in self._live.values():
            child.wait_until_ready()
            child.pin(self._live_cores)
        os.sched_setaffinity(0, self._other_cores)

    def _start(self, module: str, *arguments: str) -> Child:
        child = Child(module, *arguments)
        self._children.append(child)
        return child

    def _end(self, children: list[Child], grace: float = END_WITHIN) -> None:
        for child in children:
            child.dismiss()
        for child in tuple(children):
            child.end(grace)
            if child in self._children:
                self._children.remove(child)

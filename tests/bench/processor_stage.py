"""The processes of one run, and what is done with them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from bench.control import Child
from bench.pinning import Cores
from bench.processor_plan import Settings
from bench.processor_requests import PAIRS
from bench.processor_subjects import CollectorUnderTest, ProcessorUnderTest, Subject, started_on
from bench.processor_window import Window, lags, measure
from stack.parts import find

# The share of the throughput at which the growing store is measured: what a load costs, not what fits.
_GROWTH_SHARE = 0.5
_WARM_UP_REQUESTS = 8
# Longer than a run, so that nothing that waits is given up.
_LONG_SECONDS = 3600.0


class Stage:
    """A context manager; leaving it ends every process it started."""

    def __init__(self, directory: Path, settings: Settings) -> None:
        self._directory = directory
        self._settings = settings
        self._cores = Cores.usable()
        self._places = count()
        self._children: list[Child] = []
        binaries = find()
        self._collector = None if binaries is None else binaries.collector
        self.core = self._cores.live[0]
        self.request_bytes = 0

    def __enter__(self) -> Self:
        os.sched_setaffinity(0, self._cores.rest)
        try:
            self._sink = self._start(Child("bench.sink"))
            self._load = self._start(Child("bench.processor_load", str(self._settings.seed)))
            for child in self._children:
                child.wait_until_ready()
                child.pin(self._cores.rest)
            self.request_bytes = self._load.ready["request_bytes"]
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for child in reversed(self._children):
            child.end(0.5)
        os.sched_setaffinity(0, self._cores.all)

    def pinning(self) -> dict[str, list[int]]:
        """Return which cores each process may use."""
        live = dict.fromkeys(("processor", "collector"), self._cores.live)
        return {**live, **dict.fromkeys(("otlp_sink", "load_generator", "benchmark"), self._cores.rest)}

    def saturate(self, number: int) -> list[dict[str, Any]]:
        """Return a row of the processor, and one of the Collector if there is one; who comes first changes."""
        rows = [self._saturated_processor, *([] if self._collector is None else [self._saturated_collector])]
        return [measured(number) for measured in (rows if number % 2 == 0 else reversed(rows))]

    def under_load(self, most: float) -> list[dict[str, Any]]:
        """Return a row of each open loop, which has a share of ``most`` pairs a second."""
        rows = []
        with self._processor() as processor:
            for share in self._settings.shares:
                window = self._measure(processor, rate=share * most, seconds=self._settings.seconds)
                rows.append(
                    {"share": share, "rate": round(share * most), **window.figures(), **_lags(processor, window)}
                )
        return rows

    def grow(self, most: float) -> list[dict[str, Any]]:
        """Return a row of the same open loop at each size of the store."""
        rows = []
        with self._processor(warm=False) as processor:
            for size in self._settings.sizes:
                missing = -(-(size - processor.done()) // PAIRS)
                if missing > 0:
                    self._measure(processor, requests=missing, seconds=_LONG_SECONDS)
                stored = processor.done()
                window = self._measure(processor, rate=_GROWTH_SHARE * most, seconds=self._settings.seconds)
                rows.append({"stored": stored, **window.figures(), **_lags(processor, window)})
        return rows

    def open_pairs(self) -> int:
        """Return the bytes that the processor grew by for each live leg that waits."""
        requests = self._settings.open_pairs // PAIRS
        more: dict[str, Any] = {"capacity": 2 * self._settings.open_pairs, "window": _LONG_SECONDS}
        with self._processor(**more) as processor:
            before = processor.memory()
            measure(processor, self._load, self.core, requests=requests, seconds=_LONG_SECONDS, only_live=True)
            return round((processor.memory() - before) / (requests * PAIRS))

    def _saturated_processor(self, number: int) -> dict[str, Any]:
        with self._processor() as processor:
            window = self._measure(processor, seconds=self._settings.seconds)
            return {"subject": "processor", "round": number, **window.figures(), **_lags(processor, window)}

    def _saturated_collector(self, number: int) -> dict[str, Any]:
        assert self._collector is not None
        collector = CollectorUnderTest(self._collector, self._place("collector"))
        with started_on(self._cores.live):
            collector.start()
        try:
            self._warm_up(collector)
            window = self._measure(collector, seconds=self._settings.seconds)
            return {"subject": "collector", "round": number, **window.figures()}
        finally:
            collector.stop()

    @contextmanager
    def _processor(self, *, warm: bool = True, **more: Any) -> Iterator[ProcessorUnderTest]:
        processor = ProcessorUnderTest(self._place("processor"), self._sink.port, **more)
        with started_on(self._cores.live):
            processor.start()
        try:
            if warm:
                self._warm_up(processor)
            yield processor
        finally:
            processor.stop()

    def _warm_up(self, subject: Subject) -> None:
        self._measure(subject, requests=_WARM_UP_REQUESTS, seconds=_LONG_SECONDS)

    def _measure(self, subject: Subject, **question: Any) -> Window:
        return measure(subject, self._load, self.core, **question)

    def _place(self, name: str) -> Path:
        return self._directory / f"{name}-{next(self._places)}"

    def _start(self, child: Child) -> Child:
        self._children.append(child)
        return child


def _lags(processor: ProcessorUnderTest, window: Window) -> dict[str, float]:
    p50, p99 = np.percentile(lags(processor, window), (50, 99))
    return {"p50_lag_s": round(float(p50), 3), "p99_lag_s": round(float(p99), 3)}

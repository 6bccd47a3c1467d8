"""One load on one subject: what was sent, how far the subject had come when, and what that took."""

from __future__ import annotations

import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from bench.control import Child
from bench.process import cpu_ns
from bench.processor_subjects import ProcessorUnderTest, Subject

_GIVE_UP_SECONDS = 300.0
_TICKS = os.sysconf("SC_CLK_TCK")


class Look(NamedTuple):
    """How far a subject is: seconds of a monotonic clock, wall-clock ns, pairs done, ns of CPU used."""

    at: float
    at_ns: int
    done: int
    cpu_ns: int


@dataclass(frozen=True, slots=True)
class Window:
    """
    A load and what was seen of it, from just before the first request until all of it was done.

    Args:
        sent: what the sender says.
        waits: seconds at the end in which the subject waits on purpose.
        core_busy: seconds in which the subject's core worked, for whomever.
    """

    sent: dict[str, Any]
    looks: list[Look]
    waits: float
    core_busy: float

    @property
    def pairs(self) -> int:
        """Pairs that were taken in and done."""
        return self.looks[-1].done - self.looks[0].done

    @property
    def seconds(self) -> float:
        """From the first request until everything was done, less what was waited on purpose and without work."""
        seconds = self.looks[-1].at - self.looks[0].at
        return seconds - min(self.waits, max(seconds - self.cpu_seconds, 0.0))

    @property
    def cpu_seconds(self) -> float:
        """CPU time of the subject, all threads."""
        return (self.looks[-1].cpu_ns - self.looks[0].cpu_ns) / 1e9

    def figures(self) -> dict[str, Any]:
        """Return what everything is reported by; nothing of it is a judgement."""
        return {
            "pairs": self.pairs,
            "seconds": round(self.seconds, 2),
            "pairs_per_s": round(self.pairs / self.seconds),
            "cpu_us_per_pair": round(self.cpu_seconds / self.pairs * 1e6, 1),
            "busy": round(self.cpu_seconds / self.seconds, 3),
            "others_on_core": round(max(self.core_busy - self.cpu_seconds, 0) / self.seconds, 3),
            "load_busy": round(self.sent["busy"], 3),
            "refused": self.sent["refused"],
            "failed": self.sent["failed"],
        }


def measure(subject: Subject, load: Child, core: int, *, seconds: float = 0.0, **question: Any) -> Window:
    """
    Put a load on a subject and look on until everything is done.

    Raises:
        RuntimeError: it is not done five minutes later, or some requests failed.
    """
    asked = {"rate": None, "senders": 8, "requests": None, "only_live": False, "seconds": seconds, **question}
    looks, busy = [_look(subject)], _core_busy(core)
    deadline = time.monotonic() + seconds + _GIVE_UP_SECONDS
    pool = ThreadPoolExecutor(1)
    try:
        answer: Future[dict[str, Any]] = pool.submit(
            load.ask, within=seconds + _GIVE_UP_SECONDS, port=subject.otlp_grpc, **asked
        )
        while not answer.done() or looks[-1].done < looks[0].done + _due(answer.result(), asked):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{subject.name} has done {looks[-1].done - looks[0].done} pairs and no more")
            time.sleep(subject.look_seconds)
            looks.append(_look(subject))
    finally:
        # Whoever is interrupted here ends the sender next, and with it the thread that asks.
        pool.shutdown(wait=False)
    sent = answer.result()
    if sent["failed"]:
        raise RuntimeError(f"{subject.name} refused {sent['failed']} requests for good")
    return Window(sent, looks, subject.waits, _core_busy(core) - busy)


def _due(sent: dict[str, Any], asked: dict[str, Any]) -> int:
    """Return how many pairs must be done; legs whose other half is not sent wait for it."""
    return 0 if asked["only_live"] else int(sent["pairs"])


def lags(processor: ProcessorUnderTest, window: Window) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return how many seconds after the end of its later leg each pair of a window was seen to be stored."""
    first, last = window.looks[0].done + 1, window.looks[-1].done
    return lags_of(window.looks, first, processor.ended(first, last))


def lags_of(looks: list[Look], first: int, ended: list[int]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the seconds from the end of each pair, numbered from ``first`` on, to the first look that saw it done."""
    done, at = np.array([look.done for look in looks]), np.array([look.at_ns for look in looks])
    seen = at[np.searchsorted(done, first + np.arange(len(ended)))]
    return np.asarray((seen - np.array(ended)) / 1e9)


def _look(subject: Subject) -> Look:
    return Look(time.monotonic(), time.time_ns(), subject.done(), cpu_ns(subject.pid))


def _core_busy(core: int) -> float:
    """Return how many seconds the core has worked, for whomever."""
    for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
        name, *ticks = line.split()
        if name == f"cpu{core}":
            user, nice, system, _, _, hard, soft, stolen = map(int, ticks[:8])
            return (user + nice + system + hard + soft + stolen) / _TICKS
    return 0.0

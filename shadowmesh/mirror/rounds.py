"""One thread that looks after what changes slowly: nothing of it has a place in a live call, or in the engine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from shadowmesh.telemetry.faults import Faults


class Round(NamedTuple):
    """
    A job and how often it is done, seconds; ``work`` returns in how many seconds it wants to be done again, ``None``
    for the next time as usual.
    """

    every: float
    work: Callable[[], float | None]


class Rounds:
    """
    Does each job once its interval has passed, and ends when told to, or when nobody needs it any more.

    Args:
        needed: asked before each job; the thread ends when it says no.
    """

    def __init__(self, rounds: tuple[Round, ...], *, faults: Faults, needed: Callable[[], bool]) -> None:
        self._rounds = rounds
        self._faults = faults
        self._needed = needed
        self._changing = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()

    def start(self) -> None:
        """Start the thread; more than once is safe, from any thread."""
        with self._changing:
            if self._thread is None and self._rounds and not self._stopped.is_set():
                thread = threading.Thread(target=self._run, name="shadowmesh-rounds", daemon=True)
                thread.start()
                # Not before: one that is told to end at this moment is waited for, and must have begun.
                self._thread = thread

    @property
    def started(self) -> bool:
        """Whether the thread was started and not told to end."""
        return self._thread is not None and not self._stopped.is_set()

    def stop(self) -> None:
        """End it, and wait for the job it is at; more than once is safe, from any thread."""
        with self._changing:
            self._stopped.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def forget(self) -> None:
        """Begin anew in a forked process, where the thread did not come along."""
        self._changing = threading.Lock()
        self._thread = None
        self._stopped = threading.Event()

    def _run(self) -> None:
        due = [time.monotonic() + one.every for one in self._rounds]
        while not self._stopped.wait(max(min(due) - time.monotonic(), 0)):
            if not self._needed():
                return
            for place, one in enumerate(self._rounds):
                if due[place] <= time.monotonic():
                    due[place] = time.monotonic() + self._done(one)

    def _done(self, one: Round) -> float:
        """Do a job; return when it is due again."""
        try:
            return one.work() or one.every
        except Exception as error:
            self._faults.report("rounds", error)
            return one.every

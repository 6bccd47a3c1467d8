"""
What is looked after beside the calls: whether the experiments measure what they mean to, and the configuration file.

One thread does it, every few seconds. It keeps nothing alive: a mesh that nobody holds is looked after no more.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable

from shadowmesh.mirror.file_watch import AGAIN_SECONDS, FileWatch
from shadowmesh.mirror.live import LiveSide
from shadowmesh.mirror.rounds import Round, Rounds
from shadowmesh.names import ReloadResult
from shadowmesh.policy.experiment import ExperimentSettings
from shadowmesh.policy.self_check import Finding, SelfCheck

_SELF_CHECK_SECONDS = 10.0


class Upkeep:
    """
    Looks after one mesh, from :meth:`start` to :meth:`stop`.

    Attributes:
        file: the configuration file, ``None`` where none is followed.
        findings: what the self-check has found, oldest first.
    """

    def __init__(self, live: LiveSide) -> None:
        self.file: FileWatch | None = None
        self.findings: list[Finding] = []
        self._live = live
        self._self_check = SelfCheck()
        live.on_shadow(self._self_check.shadow_arrived)
        self._check = Round(_SELF_CHECK_SECONDS, _weakly(self.check))
        self._rounds = self._make_rounds(self._check)

    def watch(self, experiments: Iterable[ExperimentSettings]) -> None:
        """Check these experiments from now on."""
        self._self_check.watch(experiments)

    def follow(self, file: FileWatch, *, every: float) -> None:
        """Look at the configuration file as well, every so many seconds; to be said before the start."""
        self.file = file
        self._again = min(AGAIN_SECONDS, every)
        self._rounds = self._make_rounds(self._check, Round(every, _weakly(self._look)))

    @property
    def started(self) -> bool:
        """Whether it goes on."""
        return self._rounds.started

    def start(self) -> None:
        """Begin; more than once is safe, from any thread, and after the end it does nothing."""
        self._rounds.start()

    def stop(self) -> None:
        """End, and wait for what is being looked at; more than once is safe, from any thread."""
        self._rounds.stop()

    def forked(self) -> None:
        """Begin anew in a forked process, if it had begun in its parent."""
        started = self._rounds.started
        self._rounds.forget()
        if started:
            self._rounds.start()

    def check(self) -> None:
        """Look whether the experiments measure what they mean to; what is new is a fault of its own."""
        for finding in self._self_check.look(self._live.figures.funnel().items(), self._live.clock()):
            self.findings.append(finding)
            self._live.faults.report("self-check", f"{finding.experiment}/{finding.target} {finding.detail}")

    def reload_results(self) -> dict[ReloadResult, int]:
        """Return how many changed configurations took the place of the one before, and how many did not."""
        refused = self.file.refused if self.file is not None else 0
        return {ReloadResult.APPLIED: self._live.reloads, ReloadResult.REFUSED: refused}

    def _look(self) -> float | None:
        return self._again if self.file is not None and self.file.look() else None

    def _make_rounds(self, *rounds: Round) -> Rounds:
        needed = weakref.ref(self)
        return Rounds(rounds, faults=self._live.faults, needed=lambda: needed() is not None)


def _weakly(method: Callable[[], float | None]) -> Callable[[], float | None]:
    """Return a job that does what ``method`` does, and does not keep its object alive."""
    held = weakref.WeakMethod(method)

    def work() -> float | None:
        found = held()
        return None if found is None else found()

    return work

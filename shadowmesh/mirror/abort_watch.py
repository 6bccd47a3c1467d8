"""
The live side's part in aborts: which methods end others, what their clients asked, and what came of it.

Only methods that a protocol map names are looked at, and only where calls that they end are mirrored. The request of a
client goes to every engine as it is, once its server has answered: a call that it was to end may have begun a moment
before it, and what that server knows of has been handed over by then. One that the server refused ended nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from shadowmesh.mirror.carrier import Carrier
from shadowmesh.mirror.frames import Abort, Aborted
from shadowmesh.mirror.tap import Room
from shadowmesh.policy.experiment import ExperimentSettings
from shadowmesh.policy.routes import matches
from shadowmesh.protocols.protocol_map import MethodMap
from shadowmesh.telemetry.counters import Tally
from shadowmesh.telemetry.faults import Faults

Mapped = Callable[[str | None], Mapping[str, MethodMap]]
"""Returns every method that has a map under a protocol."""

MOST_BYTES = 64 * 1024
"""Of a request: no credit is taken for it, and the ids of a thousand calls are less."""


class AbortWatch:
    """One per live side; ``methods`` are those that end calls that may be mirrored."""

    def __init__(self, mapped: Mapped, faults: Faults) -> None:
        self.methods: frozenset[str] = frozenset()
        self._mapped = mapped
        self._faults = faults
        self._in_force: frozenset[str] = frozenset()
        self._carrier: Carrier | None = None
        self._results: Tally[tuple[str, str, str]] = Tally()

    def rule(self, experiments: Iterable[ExperimentSettings]) -> None:
        """Look at what ends calls of these experiments, and of those before: such calls may still be under way."""
        before, self._in_force = self._in_force, frozenset(_ending(experiments, self._mapped))
        self.methods = self._in_force | before

    def attach(self, carrier: Carrier) -> None:
        """Set what carries the frames."""
        self._carrier = carrier

    def tell(self, method: str, request: bytes, at_ns: int) -> None:
        """A client has had calls ended, by what it asked at ``at_ns``; from any thread, and nothing is raised."""
        try:
            carrier = self._carrier
            if carrier is None or not carrier.bound:
                # Nothing was ever mirrored.
                return
            if len(request) > MOST_BYTES or not carrier.offer(Abort(0, at_ns, method, request), Room.MORE):
                self._faults.report("abort", "a client's was not handed over")
        except Exception as error:
            self._faults.report("abort", error)

    def hear(self, frame: Aborted) -> None:
        """Count what came of it."""
        self._results.add((frame.experiment, frame.target, frame.result), frame.times)

    def totals(self) -> dict[tuple[str, str, str], int]:
        """Return how many shadows were ended so, by experiment, target and result."""
        return self._results.totals()


def _ending(experiments: Iterable[ExperimentSettings], mapped: Mapped) -> Iterator[str]:
    for experiment in experiments:
        for method, method_map in mapped(experiment.protocol).items():
            abort = method_map.abort
            if abort is not None and any(matches(pattern, method) for pattern in experiment.methods):
                yield abort.method

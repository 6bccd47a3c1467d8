"""
Captures the live calls of one process: a live side of its own, and in a thread of its own what writes.

It stands beside a mesh, or alone. It decides, takes credit and sheds for itself, so mirroring and capturing have no
part in each other's bounds, and whichever carrier mirrors, a slow disk holds up nothing but this thread. The bytes are
those that the taps hand over already; they are not copied.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from shadowmesh.mirror.capture_files import CaptureFiles, check_directory
from shadowmesh.mirror.capture_settings import CaptureSettings
from shadowmesh.mirror.capturing import Capturing
from shadowmesh.mirror.carrier import MirrorSettings, Receive
from shadowmesh.mirror.frames import Reload
from shadowmesh.mirror.live import LiveSide
from shadowmesh.mirror.thread import ThreadCarrier
from shadowmesh.names import CaptureResult, Decision
from shadowmesh.policy.experiment import ExperimentSettings
from shadowmesh.telemetry.faults import Faults

_PATIENCE = 5.0
_MOST_OPEN = 10_000
_RELOADED = frozenset({"methods", "rate", "metadata"})


class Capture:
    """
    One per process and mesh; its ``live`` is given to the interceptor.

    Args:
        faults: where errors are counted; the disk's are never a live call's.
        begin: called when capturing begins in a process, at its first covered call.
        wall: the time of day, seconds since 1970.
        patience: how many seconds longer than its calls a drain waits for the disk, which may never answer.
    """

    def __init__(
        self,
        settings: CaptureSettings,
        *,
        faults: Faults,
        begin: Callable[[], object] = lambda: None,
        wall: Callable[[], float] = time.time,
        patience: float = _PATIENCE,
    ) -> None:
        """
        Start nothing yet.

        Raises:
            StartError: nothing can be written to the directory.
        """
        check_directory(settings)
        self.settings = settings
        self._faults = faults
        self._begin = begin
        self._wall = wall
        self._patience = patience
        self._given_up = False
        self._ended = False
        self.live = LiveSide((_experiment(settings),), _bounds(settings), faults=faults)
        self._attach()

    def reload(self, settings: CaptureSettings | None) -> None:
        """Capture by other settings from now on, ``None`` nothing; those of the files need a restart."""
        self.live.accepting = settings is not None and not self._ended
        if settings is None or settings == self.settings:
            return
        self.live.reload((_experiment(settings),))
        if settings.model_dump(exclude=set(_RELOADED)) != self.settings.model_dump(exclude=set(_RELOADED)):
            self._faults.report("reload", "capture: methods, rate and metadata are reloaded, the rest needs a restart")
        self.settings = self.settings.model_copy(update={name: getattr(settings, name) for name in _RELOADED})

    def stop(self) -> None:
        """Capture no call that begins later."""
        self._ended = True
        self.live.accepting = False

    async def drain(self, grace: float) -> None:
        """Give open calls ``grace`` seconds to end, then write them as they stand; from any event loop."""
        self.stop()
        try:
            if not self._given_up:
                await self._carrier.drain(grace)
        except TimeoutError:
            self._give_up()

    def drain_blocking(self, grace: float) -> None:
        """Do what :meth:`drain` does, from a thread without a loop."""
        self.stop()
        try:
            if not self._given_up:
                self._carrier.drain_blocking(grace)
        except TimeoutError:
            self._give_up()

    def forked(self) -> None:
        """Begin anew in a forked process, with files of its own: what is open is the parent's."""
        self.live.forked()
        if self._capturing is not None:
            self._capturing.forget()
        self._attach()

    def totals(self) -> dict[tuple[str, str], int]:
        """Return what became of this process's calls that were to be captured, by result and, of those shed, reason."""
        counts = {
            (CaptureResult.SHED.value, key.drop_reason): count
            for key, count in self.live.figures.funnel().items()
            if key.decision == Decision.DROPPED
        }
        if self._capturing is not None:
            # Copied in one step: its thread may add to it meanwhile.
            for result, count in tuple(self._capturing.results.items()):
                counts[result.value, ""] = count
        return counts

    @property
    def held_bytes(self) -> int:
        """How many bytes are held of calls that are open or wait for the disk, in whole pages."""
        return self.live.credit_taken()

    def _give_up(self) -> None:
        self._given_up = True
        self._faults.report("capture", "the disk does not answer, and what it has not taken is let go")

    def _attach(self) -> None:
        self._capturing: Capturing | None = None
        self._carrier = ThreadCarrier(
            self._make,
            self.live.receive,
            # Nothing to know: the first frame only says that the loop runs.
            first=(Reload(0, b""),),
            queue_items=self.settings.queue_items,
            admit=self.live.admit,
            patience=self._patience,
        )
        self.live.attach(self._carrier)

    def _make(self, reply: Receive) -> Capturing:
        self._begin()
        self._capturing = Capturing(reply, CaptureFiles(self.settings, wall=self._wall), self._faults)
        return self._capturing


def _experiment(settings: CaptureSettings) -> ExperimentSettings:
    """Return an experiment whose one target is a file; nobody connects to its address."""
    target = {
        "name": "file",
        "address": "unix:capture",
        "rate": settings.rate,
        "max_in_flight": _MOST_OPEN,
        "metadata": settings.metadata,
    }
    return ExperimentSettings.model_validate(
        {"name": "capture", "methods": settings.methods, "protocol": "raw", "targets": [target]}
    )


def _bounds(settings: CaptureSettings) -> MirrorSettings:
    return MirrorSettings.model_validate(
        {
            "queue_items": settings.queue_items,
            "capture_bytes": settings.queue_bytes,
            "max_message_bytes": settings.max_message_bytes,
            "max_call_bytes": settings.max_call_bytes,
            # Nothing is called, so there are no slots without calls to compare with.
            "harm_guard": {"enabled": False},
        }
    )

"""
The engines of a mesh: which carrier they run behind, what they are made of, and which experiments they know.

Beside them stands what captures calls to files, where that is asked for.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Literal

from shadowmesh.catalog.catalog import Catalog
from shadowmesh.mirror.assembly import WorkerSetup, make_engine
from shadowmesh.mirror.capture import Capture
from shadowmesh.mirror.capture_settings import CaptureSettings
from shadowmesh.mirror.carrier import Carrier, Consumer, MakeCarrier, MirrorSettings, Receive
from shadowmesh.mirror.engine import EXPERIMENTS
from shadowmesh.mirror.frames import Reload
from shadowmesh.mirror.judged_experiment import JudgedExperimentSettings
from shadowmesh.mirror.live import LiveSide
from shadowmesh.mirror.loop import LoopCarrier
from shadowmesh.mirror.process import ProcessCarrier
from shadowmesh.mirror.publication import Publication
from shadowmesh.mirror.thread import ThreadCarrier
from shadowmesh.mirror.upkeep import Upkeep
from shadowmesh.policy.experiment import in_force

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource


class Engines:
    """
    One per mesh. None runs before the carrier starts, at the first covered call of a process.

    Args:
        experiments: those of the configuration, switched off or not.
        catalog: how calls are read.
        make_carrier: makes the carrier, instead of what the settings say.
        capture: where calls are captured to; ``None`` where none are.

    Attributes:
        carrier: ``None`` before one is chosen.
        capture: what captures; ``None`` where nothing does.

    Raises:
        StartError: nothing can be captured there.
    """

    def __init__(
        self,
        live: LiveSide,
        publication: Publication,
        upkeep: Upkeep,
        settings: MirrorSettings,
        *,
        experiments: tuple[JudgedExperimentSettings, ...],
        catalog: Catalog,
        make_carrier: MakeCarrier | None,
        capture: CaptureSettings | None,
    ) -> None:
        self.carrier: Carrier | None = None
        self._live = live
        self._publication = publication
        self._upkeep = upkeep
        self._settings = settings
        self._known = _known(experiments)
        self._catalog = catalog
        self._make_carrier = make_carrier
        self.capture = None if capture is None else Capture(capture, faults=live.faults, begin=self._begin)

    @property
    def sides(self) -> tuple[LiveSide, ...]:
        """The live sides that an interceptor taps for, the mesh's own first."""
        return (self._live,) if self.capture is None else (self._live, self.capture.live)

    def choose(self, natural: Literal["loop", "thread"]) -> Carrier:
        """Settle on a carrier, the first time; ``natural`` is what the settings call ``auto``."""
        if self.carrier is None:
            if self._make_carrier is None:
                wanted = self._settings.carrier
                self._make_carrier = self._ours(natural if wanted == "auto" else wanted)
            self.carrier = self._attached(self._make_carrier)
        return self.carrier

    def reload(self, experiments: tuple[JudgedExperimentSettings, ...]) -> None:
        """Let every engine know other experiments, before calls that begin later."""
        self._known = _known(experiments)
        if self.carrier is not None:
            self.carrier.reload(self._known)

    async def drain(self, grace: float) -> None:
        """Let them finish within ``grace`` seconds, then end them; from any event loop, more than once is safe."""
        capture, carrier = self.capture, self.carrier
        await asyncio.gather(*(one.drain(grace) for one in (carrier, capture) if one is not None))

    def drain_blocking(self, grace: float) -> None:
        """
        The same, from a thread without a loop.

        Raises:
            LoopError: the engine runs in the calling thread's loop.
        """
        until = time.monotonic() + grace
        if self.carrier is not None:
            self.carrier.drain_blocking(grace)
        if self.capture is not None:
            self.capture.drain_blocking(max(until - time.monotonic(), 0.0))

    def forked(self) -> None:
        """Begin anew, in a forked process, with a carrier of the same kind; the live side has begun anew before."""
        if self.carrier is not None and self._make_carrier is not None:
            self.carrier.forget()
            self.carrier = self._attached(self._make_carrier)
        if self.capture is not None:
            self.capture.forked()

    def _ours(self, name: Literal["loop", "thread", "process"]) -> MakeCarrier:
        if name == "process":
            workers, faults = self._settings.workers, self._live.faults
            return partial(ProcessCarrier, setup=self._worker_setup, workers=workers, faults=faults)
        return LoopCarrier if name == "loop" else ThreadCarrier

    def _attached(self, make_carrier: MakeCarrier) -> Carrier:
        live = self._live
        queue_items = self._settings.queue_items
        carrier = make_carrier(
            self._make, live.receive, first=(self._known,), queue_items=queue_items, admit=live.admit
        )
        live.attach(carrier)
        return carrier

    def _make(self, reply: Receive) -> Consumer:
        """Make the engine: called by the carrier when it starts, in the process it runs in."""
        resource = self._begin()
        pairs = self._publication.export_pairs()
        return make_engine(reply, pairs, resource, self._settings, self._live.faults, self._catalog)

    def _worker_setup(self) -> bytes:
        """Likewise for the carrier ``process``, whose workers make the engine and the exporter themselves."""
        setup = WorkerSetup.of(self._settings, self._publication.settings, self._begin(), self._catalog.given)
        return setup.model_dump_json().encode()

    def _begin(self) -> Resource:
        """Begin all that goes on beside the engines, and return what this process is called."""
        resource = self._publication.begin()
        self._upkeep.start()
        return resource


def _known(experiments: tuple[JudgedExperimentSettings, ...]) -> Reload:
    """Return the frame that tells an engine its experiments."""
    return Reload(0, EXPERIMENTS.dump_json(in_force(experiments)))

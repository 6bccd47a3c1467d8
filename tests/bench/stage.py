"""The processes of one run: started, pinned, renewed and ended."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from bench import envoy
from bench.control import Child
from bench.modes import Mode
from bench.pace import Meter, Pace
from bench.pinning import Cores
from bench.plan import Shape
from bench.process import END_WITHIN, Process, pin
from bench.proxy_process import Proxy
from bench.shadows import Shadows

AnyProcess = TypeVar("AnyProcess", bound=Process)


class Stage:
    """A context manager; leaving it ends every process it started."""

    sink: Child
    load: Child

    def __init__(self, modes: tuple[Mode, ...]) -> None:
        self.modes = modes
        self.shadows = Shadows({mode.shadow for mode in modes})
        self.cores = Cores.usable()
        self._processes: list[Process] = [*self.shadows.processes]
        self._live: dict[str, Child] = {}
        self._hops: dict[str, envoy.Envoy | Proxy] = {}
        self._paces: dict[int, Pace] = {}
        self._files = tempfile.TemporaryDirectory(prefix="shadowmesh-bench-")

    def __enter__(self) -> Self:
        try:
            self.sink, self.load = self._start(Child("bench.sink")), self._start(Child("bench.load"))
            for child in (self.sink, self.load, *self.shadows.processes):
                child.wait_until_ready()
                child.pin(self.cores.rest)
            for core in {self.cores.live[0], self.cores.beside[0]}:
                self._paces[core] = Pace(self._start(Meter(core, Path(self._files.name))))
                self._paces[core].learn()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # The load first, perhaps in the middle of a window; then the live servers, which have telemetry to send.
        self._end([self.load], grace=0.2)
        self._end([*self._hops.values(), *self._live.values()])
        self._leave()

    def live(self, mode: Mode) -> Child:
        """Return the live server of a mode."""
        return self._live[mode.name]

    def hop(self, mode: Mode) -> Process | None:
        """Return the Envoy or the proxy before the live server, if the mode has one."""
        return self._hops.get(mode.name)

    def ports(self, mode: Mode) -> list[int]:
        """Return where a mode's clients go, in equal parts."""
        return self._hops[mode.name].ports if mode.hop else [self._live[mode.name].port]

    def paces(self, mode: Mode) -> list[Pace]:
        """Return the pace of the live core, which comes first, and of the hop's if the mode has one."""
        return [self._paces[cores[0]] for cores in (self.cores.live, *([self.cores.beside] if mode.hop else []))]

    def set_up(self, shape: Shape) -> None:
        """Make every server the model that the shape is about."""
        for child in (*self._live.values(), self.shadows.healthy):
            child.ask(delay=shape.model_seconds)

    def renew(self) -> None:
        """
        Start the live servers anew, one process per mode: two runs of one program differ a little for their whole
        life (memory layout, hash seed), and only new processes make that part of the spread.
        """
        os.sched_setaffinity(0, self.cores.all)
        self._end([*self._hops.values(), *self._live.values()])
        files = Path(self._files.name)
        self._live = {
            mode.name: self._start(
                Child("bench.server", *mode.arguments(self.shadows.ports[mode.shadow], self.sink.port, files))
            )
            for mode in self.modes
        }
        for child in self._live.values():
            child.wait_until_ready()
            child.pin(self.cores.live)
        self._hops = {mode.name: self._start(self._hop(mode)) for mode in self.modes if mode.hop}
        for mode in self.modes:
            if mode.hop:
                hop = self._hops[mode.name]
                hop.wait_until_ready()
                hop.pin(self.cores.of_hop(mode.workers))
        os.sched_setaffinity(0, self.cores.rest)

    def pin_children(self, mode: Mode) -> bool:
        """Move the children of a live server off its core, which they have inherited; say whether there are any."""
        children = self.live(mode).children()
        for child in children:
            pin(child, self.cores.beside)
        return bool(children)

    def _hop(self, mode: Mode) -> envoy.Envoy | Proxy:
        if mode.hop == "proxy":
            return Proxy(self._live[mode.name].port, mode.workers, apart=mode.apart)
        shadow_port = self.shadows.ports[mode.shadow] if mode.hop == "mirror" else None
        bootstrap = envoy.configuration(self._live[mode.name].port, shadow_port)
        return envoy.Envoy(envoy.write(Path(self._files.name), mode.name, bootstrap))

    def _start(self, process: AnyProcess) -> AnyProcess:
        self._processes.append(process)
        return process

    def _leave(self) -> None:
        self._end(self._processes)
        self.shadows.close()
        self._files.cleanup()

    def _end(self, processes: Sequence[Process], grace: float = END_WITHIN) -> None:
        for process in processes:
            process.dismiss()
        for process in tuple(processes):
            process.end(grace)
            if process in self._processes:
                self._processes.remove(process)

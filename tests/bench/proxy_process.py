"""``shadowmesh proxy`` as a hop before a bare server: the real command, without a mesh, or two that share nothing."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterable
from itertools import cycle

from bench.control import environment, python
from bench.process import Process, children_cpu_ns, die_with_the_benchmark, pin

_START_WITHIN = 60.0


class Proxy(Process):
    """One proxy, of one worker or several, or ``apart`` as many proxies of one; they listen on :attr:`ports`."""

    def __init__(self, live_port: int, workers: int, *, apart: bool) -> None:
        each, many = (1, workers) if apart else (workers, 1)
        super().__init__("proxy", python("bench.proxy_process", *map(str, (live_port, each, many))), environment())
        self.ports: list[int] = []
        self._many = many

    def wait_until_ready(self) -> None:
        """
        Wait until it says where it listens.

        Raises:
            RuntimeError: it does not.
        """
        assert self._process.stdout is not None
        said = b""
        while said.count(b"\n") < self._many:
            ready = select.select([self._process.stdout], [], [], _START_WITHIN)[0]
            more = os.read(self._process.stdout.fileno(), 4096) if ready else b""
            if not more:
                raise RuntimeError(f"the proxy does not listen (exit code {self._process.poll()})")
            said += more
        # The third word is the address it listens on.
        self.ports = [int(line.split()[2].rpartition(b":")[2]) for line in said.splitlines()]

    def cpu_ns(self) -> int:
        """Return the CPU time of all its processes."""
        return super().cpu_ns() + sum(children_cpu_ns([self]).values())

    def pin(self, cores: Iterable[int]) -> None:
        """Give every worker one of ``cores``."""
        for core, pid in zip(cycle(cores), self.children() or [self.pid], strict=False):
            pin(pid, [core])

    def dismiss(self) -> None:
        """Tell it to end, without waiting."""
        self._process.terminate()
        super().dismiss()


def _become_proxies(live_port: str, workers: str, many: str) -> None:
    die_with_the_benchmark()
    arguments = ("--listen", "127.0.0.1:0", "--live", f"127.0.0.1:{live_port}", "--workers", workers)
    if many == "1":
        os.execv(sys.executable, python("shadowmesh", "proxy", *arguments))
    started = [subprocess.Popen(python("bench.proxy_process", live_port, workers, "1")) for _ in range(int(many))]
    for process in started:
        process.wait()


if __name__ == "__main__":
    _become_proxies(*sys.argv[1:])

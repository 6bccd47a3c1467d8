"""``shadowmesh proxy`` as a hop before a bare server: the real command, without a mesh."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterable
from itertools import cycle

from bench.control import environment, python
from bench.process import Process, children_cpu_ns, die_with_the_benchmark, pin

_START_WITHIN = 60.0


class Proxy(Process):
    """One proxy, of one worker or several, which listens on :attr:`port`."""

    def __init__(self, live_port: int, workers: int) -> None:
        super().__init__("proxy", python("bench.proxy_process", str(live_port), str(workers)), environment())
        self.port = 0

    def wait_until_ready(self) -> None:
        """
        Wait until it says where it listens.

        Raises:
            RuntimeError: it does not.
        """
        assert self._process.stdout is not None
        said = b""
        if select.select([self._process.stdout], [], [], _START_WITHIN)[0]:
            # The third word is the address it listens on.
            said = self._process.stdout.readline()
        if not said:
            raise RuntimeError(f"the proxy does not listen (exit code {self._process.poll()})")
        self.port = int(said.split()[2].rpartition(b":")[2])

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


def _become_proxy(live_port: str, workers: str) -> None:
    die_with_the_benchmark()
    arguments = ("--listen", "127.0.0.1:0", "--live", f"127.0.0.1:{live_port}", "--workers", workers)
    os.execv(sys.executable, python("shadowmesh", "proxy", *arguments))


if __name__ == "__main__":
    _become_proxy(*sys.argv[1:])

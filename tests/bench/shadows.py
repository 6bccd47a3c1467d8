"""The shadow backends: one that does as the live server does, and three that are in trouble."""

from __future__ import annotations

import socket
from collections.abc import Set as AbstractSet

from bench.control import Child
from bench.modes import SLOW_SECONDS, Shadow

_FOR_EVER = 86_400.0


class Shadows:
    """Starts those that are named, and the healthy one; :attr:`ports` says where each listens."""

    def __init__(self, kinds: AbstractSet[Shadow]) -> None:
        delays: dict[Shadow, float] = {"healthy": 0.0, "slow": SLOW_SECONDS, "hanging": _FOR_EVER}
        self._running: dict[Shadow, Child] = {
            kind: Child("bench.server", "--delay", str(delay))
            for kind, delay in delays.items()
            if kind in kinds | {"healthy"}
        }
        # Bound and not listening: the kernel refuses what comes, and nobody else can take the port.
        self._dead = socket.socket()
        self._dead.bind(("127.0.0.1", 0))

    @property
    def processes(self) -> list[Child]:
        """Those that run."""
        return list(self._running.values())

    @property
    def healthy(self) -> Child:
        """The one that answers at once, or like the model a shape is about."""
        return self._running["healthy"]

    @property
    def ports(self) -> dict[Shadow, int]:
        """The port of each."""
        ports = {kind: child.port for kind, child in self._running.items()}
        return {**ports, "dead": int(self._dead.getsockname()[1])}

    def calls(self, kind: Shadow) -> int:
        """Return how many calls have reached one."""
        return int(self._running[kind].ask()["calls"]) if kind in self._running else 0

    def close(self) -> None:
        """Let the dead one's port go; the processes are the stage's to end."""
        self._dead.close()

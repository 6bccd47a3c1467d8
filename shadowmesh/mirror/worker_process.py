"""The processes of one worker, one after another: each with a socket of its own, and a pause after one that fell."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

_FIRST_BACK_OFF = 0.5
_MOST_BACK_OFF = 30.0
# A worker that has lived so long was not killed by what it does at its start.
_STABLE_SECONDS = 60.0


class WorkerProcess:
    """
    At most one runs.

    Attributes:
        socket: the way to the one that runs, non-blocking.
        restarts: how many have fallen.
        due: when the next one may start, on ``clock``.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.socket: socket.socket | None = None
        self.restarts = 0
        self.due = 0.0
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._failures = 0

    @property
    def pid(self) -> int | None:
        """The process id of the one that runs."""
        return None if self._process is None else self._process.pid

    @property
    def running(self) -> bool:
        """Whether one runs, or has ended and is not buried."""
        return self._process is not None

    @property
    def ended(self) -> bool:
        """Whether one has ended and is not buried."""
        return self._process is not None and self._process.poll() is not None

    def start(self) -> bool:
        """
        Start one if none runs and the pause is over; return whether it was started.

        Raises:
            OSError: there is no descriptor, or no process, to be had.
        """
        if self._process is not None or self._clock() < self.due:
            return False
        ours, theirs = socket.socketpair()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "shadowmesh.worker", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                # Whoever reads the live process's output to its end does not wait for ours.
                stdout=subprocess.DEVNULL,
                env=_environment(),
                # A signal for the group of the live process is its business: it drains, and tells us.
                process_group=0,
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        self.socket = ours
        self._started = self._clock()
        return True

    def kill(self) -> None:
        """End the one that runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()

    def bury(self, hear_the_rest: Callable[[], None]) -> int | None:
        """
        Wait for the one that is ending, let everything be read that it has said, and close its socket.

        Returns:
            Its exit code, ``None`` where there was none.
        """
        code = None if self._process is None else self._process.wait()
        self._process = None
        hear_the_rest()
        self.close()
        return code

    def put_off(self) -> None:
        """One has fallen: start no other before a while has passed, which doubles as long as they fall early."""
        now = self._clock()
        self._failures = 0 if now - self._started > _STABLE_SECONDS else self._failures + 1
        self.due = now + min(_FIRST_BACK_OFF * 2 ** max(self._failures - 1, 0), _MOST_BACK_OFF)
        self.restarts += 1

    def close(self) -> None:
        """Close the socket; more than once is safe."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None


def _environment() -> dict[str, str]:
    """The worker must find the same package, however this process came by it."""
    ours = str(Path(__file__).resolve().parents[2])
    path = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*path, *([] if ours in path else [ours])])}

"""A program of the stack while a test runs it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from stack.loopback import get
from support.resources import until

_END_WITHIN = 10.0
_LINES_OF_A_LOG = 40


class Running:
    """
    A process that is started, stopped and started again on the same ports, with its log in one file.

    As a context manager it is started on entry, which waits until it is ready, and stopped on exit. It does not outlive
    the thread that started it, so start it from the test's own.
    """

    ready_within = 30.0
    """Seconds."""

    def __init__(
        self, command: Sequence[str], directory: Path, *, health: tuple[int, str], environment: Mapping[str, str]
    ) -> None:
        """
        Prepare, without starting.

        Args:
            command: the program, by its path, and its arguments.
            directory: where it runs and where its log goes; it is made where it is missing.
            health: port and path that answer 200 when it is ready.
            environment: what its configuration reads, in addition to the test's own.
        """
        directory.mkdir(parents=True, exist_ok=True)
        self.name = Path(command[0]).name
        self.directory = directory
        self.log = directory / f"{self.name}.log"
        self._command = [*_ends_with_its_parent(), *command]
        self._environment = dict(environment)
        self._health = health
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id of the one that runs."""
        assert self._process is not None, f"{self.name} is not running"
        return self._process.pid

    def start(self) -> None:
        """
        Start it and wait until it is ready.

        Raises:
            RuntimeError: it has ended, or is not ready within ``ready_within``; the message ends with its log.
        """
        assert self._process is None, f"{self.name} is running"
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                self._command,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | self._environment,
                # Ctrl-C goes to the tests alone, which stop it.
                process_group=0,
            )
        self._process = process
        settled = until(lambda: process.poll() is not None or self.is_ready(), self.ready_within)
        if settled and process.returncode is None:
            return
        self.kill()
        what = f"ended with {process.returncode}" if settled else f"was not ready within {self.ready_within:.0f} s"
        raise RuntimeError(f"{self.name} {what}:\n{self.last_lines()}")

    def is_ready(self) -> bool:
        """Return whether it says that it is."""
        try:
            return get(*self._health).status == 200
        except OSError:
            return False

    def stop(self, grace: float = _END_WITHIN) -> int | None:
        """Ask it to end, and after ``grace`` seconds no longer ask; return its exit code, nothing if it did not run."""
        process, self._process = self._process, None
        if process is None:
            return None
        process.terminate()
        try:
            return process.wait(grace)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def kill(self) -> None:
        """End it as a crash would."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def last_lines(self, count: int = _LINES_OF_A_LOG) -> str:
        """Return the end of its log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(lines[-count:])

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


def _ends_with_its_parent() -> tuple[str, ...]:
    """Return a prefix by which Linux ends a program with tests that are killed; there is no other way to see to it."""
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", "KILL", "--") if setpriv else ()

"""
A listening socket on a local address.

A unix socket's file outlives a process that was killed. It is replaced if nobody listens behind it any more, and
never otherwise; a file that is no socket is never touched.
"""

from __future__ import annotations

import os
import socket
import stat
import time
from contextlib import suppress
from pathlib import Path

from shadowmesh.errors import StartError
from shadowmesh.telemetry.local_address import LocalAddress

_PROBE_SECONDS = 0.25
# Between binding and listening another process refuses connections too.
_SECOND_LOOK_SECONDS = 0.05
_TRIES = 5

_Identity = tuple[int, int, int]


class LocalListener:
    """
    Listens from construction on. Its socket is non-blocking.

    Raises:
        StartError: the address is in use, or cannot be used.
    """

    def __init__(self, address: LocalAddress, *, backlog: int) -> None:
        self.socket = socket.socket(address.family, socket.SOCK_STREAM)
        self.address = address
        self._path = Path(address.path) if address.path else None
        self._identity: _Identity | None = None
        try:
            if self._path is None:
                # A port whose last owner has just ended is free.
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                self.socket.bind(address.place)
                self.address = address._replace(port=self.socket.getsockname()[1])
            else:
                self._bind(self._path)
            self.socket.listen(backlog)
            self.socket.setblocking(False)
        except OSError as error:
            self.close()
            raise StartError(f"cannot listen on {address}: {error.strerror or error}") from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop listening and remove the file, if it is still ours; more than once is safe."""
        self.socket.close()
        if self._path is not None and self._identity is not None:
            if _identity(self._path) == self._identity:
                with suppress(OSError):
                    self._path.unlink()
            self._identity = None

    def abandon(self) -> None:
        """Let go of the socket in a forked child, where it was inherited: the file is the parent's."""
        self._identity = None
        self.socket.close()

    def _bind(self, path: Path) -> None:
        for _ in range(_TRIES):
            before = _identity(path)
            if before is not None:
                if not stat.S_ISSOCK(os.lstat(path).st_mode):
                    raise StartError(f"cannot listen on {self.address}: there is a file that is no socket")
                if _listens(path):
                    raise StartError(f"cannot listen on {self.address}: another process does")
                if _identity(path) != before:
                    continue
                path.unlink(missing_ok=True)
            try:
                self.socket.bind(str(path))
            except OSError:
                if _identity(path) is None:
                    raise
                continue
            self._identity = _identity(path)
            # Before anybody can connect, which takes a socket that listens. The umask is the whole process's.
            path.chmod(0o600)
            return
        raise StartError(f"cannot listen on {self.address}: other processes keep taking it")


def _identity(path: Path) -> _Identity | None:
    """Return what tells this file from another one at the same path; its mode and owner may be changed."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns


def _listens(path: Path) -> bool:
    if _connects(path):
        return True
    time.sleep(_SECOND_LOOK_SECONDS)
    return _connects(path)


def _connects(path: Path) -> bool:
    """Return whether somebody listens; one who is too busy to accept does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_SECONDS)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True
        return True

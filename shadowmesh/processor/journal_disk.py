"""The few things the journal asks of the operating system; each blocks, and raises OSError."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from shadowmesh.errors import StartError

# POSIX promises 16; Linux and the BSDs have 1024.
_MOST_BUFFERS = 1024
# What macOS has instead.
_sync_data = getattr(os, "fdatasync", os.fsync)


class Disk:
    """
    The real disk; a test may stand in for it to count, or to fail.

    Args:
        write_some: writes what it can of some buffers to an open file and returns how many bytes that were.
    """

    def __init__(self, write_some: Callable[[int, list[bytes]], int] = os.writev) -> None:
        self._write_some = write_some

    def create(self, path: Path) -> int:
        """Create a file that must not exist and return it open for writing, readable by this user only."""
        return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)

    def write(self, file: int, buffers: Sequence[bytes]) -> None:
        """Write all of it, one after the other."""
        left = list(buffers)
        while left:
            written = self._write_some(file, left[:_MOST_BUFFERS])
            done = 0
            while done < len(left) and written >= len(left[done]):
                written -= len(left[done])
                done += 1
            del left[:done]
            if written:
                left[0] = left[0][written:]

    def sync(self, file: int) -> None:
        """Return when what was written survives a power cut."""
        _sync_data(file)

    def cut(self, file: int, size: int) -> None:
        """Take away what stands behind ``size`` and go on writing there."""
        os.ftruncate(file, size)
        os.lseek(file, size, os.SEEK_SET)

    def sync_directory(self, directory: Path) -> None:
        """Return when the names in the directory survive a power cut."""
        file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(file)
        finally:
            os.close(file)


class DirectoryLock:
    """
    Keeps a directory for one process; the kernel gives it back when that ends, however it ends.

    Raises:
        StartError: another process has it.
        OSError: the file cannot be made.
    """

    def __init__(self, directory: Path) -> None:
        path = directory / "lock"
        self._file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._file, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._file)
            raise StartError(f"the journal in {directory} belongs to process {holder}, which holds {path}") from error
        except BaseException:
            os.close(self._file)
            raise
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let others have it; safe to call twice."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

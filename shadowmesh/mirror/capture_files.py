"""Writes and reads the files of captured calls; see :mod:`shadowmesh.mirror.capture_format`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path

from shadowmesh.errors import DecodeError, StartError
from shadowmesh.mirror.capture_format import HEADER, CapturedCall, decoded, pieces
from shadowmesh.mirror.capture_settings import CaptureSettings

_PATTERN = "calls-*.jsonl"
_FILE_SECONDS = 3600.0
"""A file is followed by another one when it is so old, because calls are deleted by whole files."""
_MOST_NAMES = 1000


def check_directory(settings: CaptureSettings) -> None:
    """
    Make the directory, and see whether files can be written there.

    Raises:
        StartError: they cannot.
    """
    try:
        Path(settings.to).mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=settings.to):
            pass
    except OSError as error:
        said = f"capture.to: {settings.to}: {error.strerror or error}: no calls can be written there"
        raise StartError(said) from error


class CaptureFiles:
    """
    Appends calls to files of its own in one directory; used by one thread of one process.

    What is in files of other processes, also of such that ended, counts and ages as its own does.

    Args:
        wall: the time of day, seconds since 1970.
    """

    def __init__(self, settings: CaptureSettings, *, wall: Callable[[], float]) -> None:
        self.settings = settings
        self._wall = wall
        self._folder = Path(settings.to)
        self._path: Path | None = None
        self._file: FileIO | None = None
        self._opened = 0.0
        self._size = 0
        self._number = 0

    def write(self, call: CapturedCall) -> None:
        """
        Append a call.

        Raises:
            OSError: the disk did not take it; nothing of it is left.
        """
        line = tuple(pieces(call))
        size = sum(map(len, line))
        if self._gone() or (self._size > len(HEADER) and self._size + size > self.settings.file_bytes):
            self._open()
            self._delete()
        self._append(line)

    def tidy(self) -> None:
        """Delete what is too old or too much, the oldest first; to be called every minute or so."""
        if self._file is not None and self._wall() - self._opened > _FILE_SECONDS:
            self._close()
        self._delete()

    def close(self) -> None:
        """Close the file; safe to call twice."""
        self._close()

    def _gone(self) -> bool:
        """Whether there is no file, or none any more: another process may have found it too old, or one too many."""
        return self._file is None or os.fstat(self._file.fileno()).st_nlink == 0

    def _close(self) -> None:
        file, self._file, self._path = self._file, None, None
        if file is not None:
            file.close()

    def _delete(self) -> None:
        oldest, kept = self._wall() - self.settings.max_age, 0
        for found in sorted(self._folder.glob(_PATTERN), reverse=True):
            with suppress(OSError):
                about = found.stat()
                kept += about.st_size
                # Never what is written to now.
                if found != self._path and (kept > self.settings.max_bytes or about.st_mtime < oldest):
                    found.unlink()
                    kept -= about.st_size

    def _open(self) -> None:
        self._close()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._opened = self._wall()
        self._path, descriptor = self._new()
        # Unbuffered: a call is in its file when it is written, or an error says that it is not.
        self._file = FileIO(descriptor, "w")
        self._size = 0
        try:
            self._append((HEADER,))
        except OSError:
            with suppress(OSError):
                self._path.unlink()
            self._close()
            raise

    def _new(self) -> tuple[Path, int]:
        for _ in range(_MOST_NAMES):
            self._number += 1
            # The name sorts by age, over processes too.
            path = self._folder / f"calls-{int(self._opened * 1000):014d}-{os.getpid()}-{self._number}.jsonl"
            # Containers that share a directory may have the same process ids.
            with suppress(FileExistsError):
                return path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        raise FileExistsError("no name is left for another file")

    def _append(self, line: Sequence[bytes]) -> None:
        file = self._file
        if file is None:
            return
        try:
            for piece in line:
                if file.write(piece) != len(piece):
                    raise OSError("the disk took a part of a call")
        except OSError:
            self._undo(file)
            raise
        self._size += sum(map(len, line))

    def _undo(self, file: FileIO) -> None:
        """Take back what was written of a call: only the last line of a file may be torn."""
        try:
            os.ftruncate(file.fileno(), self._size)
        except OSError:
            self._close()


def read_calls(path: str | Path) -> Iterator[CapturedCall]:
    """
    Yield the calls of a file, or of all files of a directory, the oldest first.

    Raises:
        DecodeError: it cannot be read, or is none of ours; names the file.
    """
    place = Path(path)
    files = sorted(place.glob(_PATTERN)) if place.is_dir() else [place]
    if not files:
        raise DecodeError(f"{path}: no captured calls")
    for file in files:
        try:
            with file.open("rb") as opened:
                yield from decoded(opened)
        except OSError as error:
            if isinstance(error, FileNotFoundError) and file is not place:
                # Too old meanwhile, or one too many, for a process that captures.
                continue
            raise DecodeError(f"{file}: {error.strerror or 'cannot be read'}") from error
        except DecodeError as error:
            raise DecodeError(f"{file}: {error}") from error

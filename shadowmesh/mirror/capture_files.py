"""Writes and reads the files of captured calls; see :mod:`shadowmesh.mirror.capture_format`."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from shadowmesh.errors import DecodeError, StartError
from shadowmesh.mirror.capture_format import HEADER, CapturedCall, decoded, encoded
from shadowmesh.policy.credentials import FileName
from shadowmesh.policy.headers import refuse_secret
from shadowmesh.settings import ByteSize, Seconds, Settings

_PATTERN = "calls-*.jsonl"
_FILE_SECONDS = 3600.0
"""A file is followed by another one when it is so old, because calls are deleted by whole files."""


class CaptureSettings(Settings):
    """
    Where captured calls are written, and how much of them is kept.

    Args:
        to: a directory, made where it is not there; its files are its owner's alone.
        metadata: keys of inbound metadata that are written: exact, or a prefix followed by ``*``. Never credentials.
        file_bytes: a file that has grown so large is followed by another one.
        max_bytes: of all files together; beyond, the oldest are deleted.
        max_age: a file is deleted when it was last written so long ago; none is written to for more than an hour.
    """

    to: FileName
    metadata: tuple[str, ...] = ()
    file_bytes: Annotated[ByteSize, Field(ge=4096)] = 64 * 1024 * 1024
    max_bytes: Annotated[ByteSize, Field(ge=4096)] = 1024 * 1024 * 1024
    max_age: Seconds = 86400.0

    @field_validator("metadata")
    @classmethod
    def _no_secrets(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        for key in keys:
            refuse_secret(key)
        return tuple(key.lower() for key in keys)

    @model_validator(mode="after")
    def _room(self) -> CaptureSettings:
        if self.file_bytes > self.max_bytes:
            raise ValueError("file_bytes of one file are more than max_bytes of all")
        return self


class CaptureFiles:
    """
    Appends calls to the files of one directory, from any thread.

    What is in files of processes that ended counts and ages as its own does.

    Args:
        wall: the time of day, seconds since 1970.
    """

    def __init__(self, settings: CaptureSettings, *, wall: Callable[[], float]) -> None:
        """
        Make the directory.

        Raises:
            StartError: it cannot be made, or nothing can be written there.
        """
        self.settings = settings
        self._wall = wall
        self._folder = Path(settings.to)
        self._lock = threading.Lock()
        self._file: FileIO | None = None
        self._size = 0
        self._number = 0
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._open()
        except OSError as error:
            raise StartError(f"{settings.to}: {error.strerror or error}: no calls can be written there") from error
        self.tidy()

    def write(self, call: CapturedCall) -> None:
        """
        Append a call.

        Raises:
            OSError: the disk did not take it.
        """
        line = encoded(call)
        with self._lock:
            if self._file is None or (self._size > len(HEADER) and self._size + len(line) > self.settings.file_bytes):
                self._open()
                self._delete()
            self._append(line)

    def tidy(self) -> None:
        """Delete what is too old or too much, the oldest first; to be called every minute or so."""
        with self._lock, suppress(OSError):
            if self._file is not None and self._size > len(HEADER) and self._wall() - self._opened > _FILE_SECONDS:
                self._open()
            self._delete()

    def close(self) -> None:
        """Write nothing more; safe to call twice."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        file, self._file = self._file, None
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
        self._opened = self._wall()
        # The name sorts by age, over processes too.
        self._path = self._folder / f"calls-{int(self._opened * 1000):014d}-{os.getpid()}-{self._number}.jsonl"
        self._number += 1
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        # Unbuffered: a call is in its file when it is written, or an error says that it is not.
        self._file = FileIO(os.open(self._path, flags, 0o600), "w")
        self._size = 0
        self._append(HEADER)

    def _append(self, line: bytes) -> None:
        file = self._file
        if file is None:
            return
        written = file.write(line)
        self._size += written
        if written != len(line):
            # Only the last line of a file may be torn.
            self._close()
            raise OSError("the disk took a part of a call")


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
            raise DecodeError(f"{file}: {error.strerror or 'cannot be read'}") from error
        except DecodeError as error:
            raise DecodeError(f"{file}: {error}") from error

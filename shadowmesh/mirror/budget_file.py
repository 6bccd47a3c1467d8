"""
What was spent, over restarts: one small file per engine of this machine, in one directory.

- **One writer per file.** An engine takes the first file that nobody holds (a lock the kernel gives back when its
  process ends, however it ends), so a restarted process goes on where one before it ended. There are as many files as
  engines were configured for: one more than those finds none, and mirrors nothing until there is one.
- **Replaced, never changed.** The new content is written beside the old one, flushed to the disk and renamed over it,
  so that a crash or a power cut leaves one or the other. The flush costs milliseconds, in a thread, at most once a
  second. The directory is not flushed: a power cut may bring back the content before.
- **Calls in flight are written as spent**, so a crash forgets what was admitted since the last write: a second's calls.
- **A damaged file is no empty one.** It stops the start; found later, it stops what it accounts for.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import IO, Annotated, Any

from pydantic import Field

from shadowmesh.errors import ConfigError
from shadowmesh.settings import Settings

_SCHEMA = "shadowmesh.budget/1"
_KEY = "mirror.budget.state"
_MOST_BYTES = 16 * 1024 * 1024


class BudgetShareSettings(Settings):
    """
    Which part of every budget, and of ``time_box.pairs``, is this machine's, and where its accounts outlive a restart.

    Args:
        share: the part of this replica: 0.25 on each of four.
        processes: server processes on this machine that mirror by this configuration; each has an equal part of the
            share, and so has each worker of the carrier ``process``.
        state: a directory for the accounts; without one a restart begins with nothing spent.
    """

    share: Annotated[float, Field(strict=True, gt=0, le=1, allow_inf_nan=False)] = 1.0
    processes: Annotated[int, Field(strict=True, ge=1, le=1024)] = 1
    state: Annotated[str, Field(min_length=1, max_length=1024)] | None = None


class BudgetFile:
    """The account of one engine; all methods block for as long as the disk takes."""

    def __init__(self, directory: str, slots: int) -> None:
        self._directory = Path(directory)
        self._slots = slots
        self._lock: IO[bytes] | None = None
        self._path: Path | None = None

    def take(self) -> dict[str, Any] | None:
        """
        Take a file and return what is in it; ``None`` where others hold them all.

        Raises:
            OSError: the directory cannot be used.
            ValueError: a file is damaged; it is not held then.
        """
        for slot in range(self._slots):
            lock = (self._directory / f"budget-{slot}.lock").open("ab")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                continue
            try:
                path = self._directory / f"budget-{slot}.json"
                accounts = _read(path)
            except BaseException:
                lock.close()
                raise
            self._lock, self._path = lock, path
            return accounts
        return None

    def write(self, accounts: dict[str, Any]) -> None:
        """
        Put other content in place of what is there.

        Raises:
            OSError: it could not be written; what was there still is.
        """
        if self._path is None:
            return
        beside = self._path.with_suffix(".new")
        with beside.open("w", encoding="utf-8") as file:
            json.dump({"schema": _SCHEMA, "accounts": accounts}, file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path)

    def release(self) -> None:
        """Let others have the file; more than once is safe."""
        if self._lock is not None:
            self._lock.close()
        self._lock = self._path = None


def check(settings: BudgetShareSettings) -> None:
    """
    Make the directory if there is none, and see that it can be used.

    Raises:
        ConfigError: it cannot, or a file in it is damaged.
    """
    if settings.state is None:
        return
    directory = Path(settings.state)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in directory.glob("budget-*.json"):
            _read(path)
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}", key=_KEY) from error
    except ValueError as error:
        raise ConfigError(str(error), key=_KEY) from error
    if not os.access(directory, os.W_OK | os.X_OK):
        raise ConfigError(f"{directory}: nothing can be written there", key=_KEY)


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = json.loads(file.read(_MOST_BYTES))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ValueError(f"{path} is damaged: repair it, or remove it to begin with nothing spent") from error
    if (
        not isinstance(content, dict)
        or content.get("schema") != _SCHEMA
        or not isinstance(content.get("accounts"), dict)
    ):
        raise ValueError(f"{path} is no {_SCHEMA}")
    accounts: dict[str, Any] = content["accounts"]
    return accounts

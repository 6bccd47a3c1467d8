"""
The configuration file while the process runs: a changed one takes the place of the one before, if it is good.

The file is read at intervals, and what is in it decides, not its times or its inode: a file replaced by another
(editors, ``mv``), a Kubernetes ConfigMap, whose directory is swapped behind a symlink, and one written in place are all
the same then, on every file system. It is a few KiB. Content counts when two looks in a row have found it, because one
that is written in place may be read half-way, and half of a file can be a good one.

One that is wrong, or gone, changes nothing and is said: a file that was deleted by mistake must not end an experiment.
To stop mirroring, take the experiments out of the file.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Annotated

from pydantic import Field

from shadowmesh.errors import ConfigError
from shadowmesh.settings import Seconds, Settings

_LOG = logging.getLogger("shadowmesh")
_MOST_BYTES = 16 * 1024 * 1024
AGAIN_SECONDS = 0.5
"""How soon content that is new is looked at for the second time."""


class ReloadSettings(Settings):
    """
    Whether a changed file takes effect without a restart.

    It does by default: who takes a target out of a file means it, and a file that is wrong is refused.

    Args:
        watch: whether the file is looked at; only a mesh made with ``Mesh.from_file`` has one.
        every: how often. A change takes effect half a second after it was first seen.
    """

    watch: bool = True
    every: Annotated[Seconds, Field(ge=0.1, le=3600)] = 5.0


class FileWatch:
    """
    Looks at one file; called by one thread.

    Args:
        known: what the file held when it was last accepted.
        accept: puts new content in force, or raises ``ConfigError`` and changes nothing.

    Attributes:
        applied: how many contents took the place of the one before.
        refused: how many did not.
        problem: why the content that is there now is not in force; empty where it is.
    """

    def __init__(self, path: Path, known: bytes, accept: Callable[[str], None]) -> None:
        self.path = path
        self.applied = 0
        self.refused = 0
        self.problem = ""
        self._accept = accept
        self._settled = _digest(known)
        self._seen = self._settled

    def look(self) -> bool:
        """Look once; return whether what was found has to be looked at again, soon."""
        try:
            with self.path.open("rb") as file:
                content = file.read(_MOST_BYTES)
            digest, failure = _digest(content), ""
        except OSError as error:
            content, failure = b"", error.strerror or type(error).__name__
            digest = failure.encode()
        if digest != self._seen:
            self._seen = digest
            return digest != self._settled
        if digest != self._settled:
            self._settled = digest
            self._take(content, failure)
        return False

    def _take(self, content: bytes, failure: str) -> None:
        try:
            if failure:
                raise ConfigError(failure, source=str(self.path))
            try:
                text = content.decode()
            except UnicodeDecodeError as error:
                raise ConfigError("not UTF-8 text", source=str(self.path)) from error
            self._accept(text)
        except ConfigError as error:
            self.refused += 1
            self.problem = str(error)
            _LOG.warning("%s; the configuration before it stays in force", error)
        else:
            self.applied += 1
            self.problem = ""
            _LOG.info("%s: the changed configuration is in force", self.path)


def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=16).digest()

"""
Who may send: whoever knows one of the tokens.

Tokens are kept as digests, so that comparing them takes the same time whatever was sent, and no repr, log or status can
show one. A file may be replaced while the processor runs: it holds the old token and the new one until every sender has
changed, then the new one only.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from shadowmesh.errors import StartError
from shadowmesh.policy.credentials import FileName
from shadowmesh.settings import Settings
from shadowmesh.telemetry.faults import Faults

_CHECK_NS = 1_000_000_000
_LARGEST = 64 * 1024
_MOST_TOKENS = 64
_SCHEME = "bearer"
_KEY = "processor.bearer_token"


class BearerTokenSettings(Settings):
    """
    Where the tokens are, never what they are: one or several, with white space between them.

    Args:
        file: read again once a second, if there are requests.
        env: the environment variable that holds them.
    """

    file: FileName | None = None
    env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=256)] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.file is None) is (self.env is None):
            raise ValueError("one of file and env says where the tokens are")
        return self


class BearerTokens:
    """
    The tokens that are valid now.

    Args:
        clock: monotonic, nanoseconds.
        faults: where a file that has become unusable is counted; the tokens it held stay valid.

    Raises:
        StartError: there is no token, or the file cannot be read.
    """

    def __init__(self, settings: BearerTokenSettings, *, clock: Callable[[], int], faults: Faults) -> None:
        self._clock = clock
        self._faults = faults
        self._file = None if settings.file is None else Path(settings.file)
        self._looked_ns = clock()
        if self._file is not None:
            self._valid = _read(self._file)
        else:
            variable = settings.env or ""
            text = os.environ.get(variable, "")
            self._valid = _digests(text.encode("utf-8", "surrogateescape").split(), f"{_KEY}.env: {variable}")

    def know(self, authorization: Iterable[str]) -> bool:
        """Return whether a request with these ``authorization`` headers may come in; more than one is none."""
        self._look()
        match list(authorization):
            case [one]:
                scheme, _, token = one.partition(" ")
                given = _digest(token.strip().encode("utf-8", "surrogateescape"))
                # Every one is compared, so that the time does not say which was nearest.
                found = [hmac.compare_digest(given, valid) for valid in self._valid]
                return any(found) and scheme.lower() == _SCHEME
            case _:
                return False

    def _look(self) -> None:
        """Read the file again, once a second at most."""
        now_ns = self._clock()
        if self._file is None or now_ns - self._looked_ns < _CHECK_NS:
            return
        self._looked_ns = now_ns
        try:
            self._valid = _read(self._file)
        except StartError as error:
            self._faults.report("bearer token", error)


def _read(file: Path) -> tuple[bytes, ...]:
    try:
        with file.open("rb") as opened:
            data = opened.read(_LARGEST + 1)
    except OSError as error:
        raise StartError(f"{_KEY}.file: {file}: {error.strerror or 'cannot be read'}") from None
    return _digests(data.split() if len(data) <= _LARGEST else (), f"{_KEY}.file: {file}")


def _digests(tokens: Iterable[bytes], where: str) -> tuple[bytes, ...]:
    digests = tuple(map(_digest, tokens))
    if not 0 < len(digests) <= _MOST_TOKENS:
        raise StartError(f"{where}: not between one and {_MOST_TOKENS} tokens")
    return digests


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()

"""
Settings of the credentials a target is called with: where they are, never what they are.

The configuration travels: to worker processes, into status, into digests. So it holds names of files and of
environment variables only, and values are read where the channel is made (``mirror/credentials.py``).
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from shadowmesh.settings import Settings

_KEY = re.compile(r"[0-9a-z_.-]{1,128}")
_OURS = ("grpc-", "x-shadowmesh-")
_TRANSPORT = frozenset({"te", "content-type", "user-agent", "traceparent", "tracestate"})
_LOCAL = re.compile(r"(?:unix|unix-abstract|vsock):.*|(?:dns:/{0,3}|ipv4:|ipv6:)?(?:localhost|127\.[\d.]+|\[::1\]):\d+")

FileName = Annotated[str, Field(min_length=1, max_length=1024)]
"""A file that is read where the channel is made."""


class TlsSettings(Settings):
    """
    How a target is connected to. ``tls: true`` is TLS with the system's roots, a mapping switches TLS on too.

    Args:
        enabled: whether to connect with TLS at all.
        roots: file of PEM certificates to trust, instead of the system's.
        certificate: file of our certificate chain, PEM, for mutual TLS; with ``key``.
        key: file of its private key, PEM.
        server_name: the name to expect in the server's certificate and to ask for, instead of the address's.
    """

    enabled: bool = True
    roots: FileName | None = None
    certificate: FileName | None = None
    key: FileName | None = None
    server_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,253}$")] | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.certificate is None) is not (self.key is None):
            raise ValueError("certificate and key belong together")
        if not self.enabled and any((self.roots, self.certificate, self.server_name)):
            raise ValueError("TLS is switched off, but set up")
        return self

    def __bool__(self) -> bool:
        return self.enabled


def _tls(value: Any) -> Any:
    return {"enabled": value} if isinstance(value, bool) else value


Tls = Annotated[TlsSettings, BeforeValidator(_tls)]
"""``true``, ``false``, or the settings."""
NO_TLS = TlsSettings(enabled=False)


class CredentialSettings(Settings):
    """
    One metadata entry that every shadow call of a target carries, its value out of a file or the environment.

    Args:
        key: of the metadata; with ``-bin`` the value is the file's bytes as they are.
        file: holds the value; white space around it is not part of it. Read again when it changes.
        env: the environment variable that holds the value.
        prefix: stands before the value: ``"Bearer "``.
        plaintext: send it even though the connection is neither TLS nor local.
    """

    key: str
    file: FileName | None = None
    env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=256)] | None = None
    prefix: Annotated[str, Field(pattern=r"^[ -~]*$", max_length=64)] = ""
    plaintext: bool = False

    @field_validator("key")
    @classmethod
    def _ours(cls, key: str) -> str:
        lowered = key.lower()
        if _KEY.fullmatch(lowered) is None or lowered in _TRANSPORT or lowered.startswith(_OURS):
            raise ValueError("not a metadata key a call may carry")
        return lowered

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.file is None) is (self.env is None):
            raise ValueError("one of file and env says where the value is")
        if self.prefix and self.key.endswith("-bin"):
            raise ValueError("a binary value has no prefix")
        return self


def check_exposure(credentials: tuple[CredentialSettings, ...], address: str, tls: TlsSettings) -> None:
    """Raise ``ValueError`` for credentials that would cross a network in the clear without that being wanted."""
    if tls or _LOCAL.fullmatch(address):
        return
    for one in credentials:
        if not one.plaintext:
            raise ValueError(f"{one.key} would be sent in the clear: set tls, or plaintext on it")

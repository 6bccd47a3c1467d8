"""
The credentials a target is called with, read from files and the environment where its channel is made.

Values are kept in this module's objects only. They reach the channel, and no repr, log, span, status or frame; what is
said when one is wrong names its key in the configuration, not what was found there.
"""

from __future__ import annotations

import os
import ssl
import string
from collections.abc import Callable
from pathlib import Path

import grpc

from shadowmesh.catalog.reflection import Described
from shadowmesh.errors import ConfigError, StartError
from shadowmesh.model import Metadata
from shadowmesh.policy.credentials import CredentialSettings, TlsSettings
from shadowmesh.policy.experiment import ExperimentSettings
from shadowmesh.telemetry.faults import Faults

_CHECK_NS = 1_000_000_000
_PRINTABLE = frozenset(string.printable) - frozenset("\t\n\r\v\f")
_LARGEST = 1 << 20


class CredentialError(StartError):
    """A credential is missing or cannot be used; ``key`` is its place within the target's settings."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}")
        self.key = key
        self.problem = problem


def channel_credentials(tls: TlsSettings) -> grpc.ChannelCredentials:
    """
    Return what a secure channel is made with.

    Raises:
        CredentialError: a file cannot be read.
    """
    roots, key, certificate = tls_files(tls)
    return grpc.ssl_channel_credentials(root_certificates=roots, private_key=key, certificate_chain=certificate)


def tls_files(tls: TlsSettings) -> tuple[bytes | None, bytes | None, bytes | None]:
    """
    Return what the files of the settings hold now, ``None`` for those that are not set.

    Raises:
        CredentialError: one cannot be read.
    """
    if not tls:
        return None, None, None
    return _read("tls.roots", tls.roots), _read("tls.key", tls.key), _read("tls.certificate", tls.certificate)


def connect(server: Described) -> tuple[grpc.Channel, Metadata]:
    """
    Return a channel for a few calls at the start, and the metadata they bear; see :data:`reflection.Connect`.

    Raises:
        ConfigError: a file or variable is missing or cannot be used; the key is its place within the settings.
    """
    tls = server.tls
    try:
        check_tls(tls)
        entries = [_Entry(f"credentials[{place}]", one) for place, one in enumerate(server.credentials)]
        metadata = tuple((entry.key, entry.read()) for entry in entries)
        if not tls:
            return grpc.insecure_channel(server.address), metadata
        name = tls.server_name
        options = () if name is None else (("grpc.ssl_target_name_override", name),)
        return grpc.secure_channel(server.address, channel_credentials(tls), options=options), metadata
    except CredentialError as error:
        raise ConfigError(error.problem, key=error.key) from error


class CallCredentials:
    """The metadata entries of :class:`CredentialSettings`; a file is looked at again once a second, if it is used."""

    def __init__(self, settings: tuple[CredentialSettings, ...], *, clock: Callable[[], int], faults: Faults) -> None:
        self._clock = clock
        self._faults = faults
        self._entries = [_Entry(f"credentials[{place}]", one) for place, one in enumerate(settings)]
        self._metadata: Metadata = ()
        self._looked_ns: int | None = None

    def metadata(self) -> Metadata:
        """
        Return the entries as they are now. A file that has become unreadable is a fault, and its last value goes on:
        whoever replaces a file may leave none for a moment.

        Raises:
            CredentialError: there has not been a value yet.
        """
        if not self._entries:
            return ()
        now_ns = self._clock()
        if self._looked_ns is None or now_ns - self._looked_ns >= _CHECK_NS:
            self._metadata = tuple((entry.key, self._value(entry)) for entry in self._entries)
            self._looked_ns = now_ns
        return self._metadata

    def _value(self, entry: _Entry) -> str | bytes:
        try:
            return entry.read()
        except CredentialError as error:
            if entry.last is None:
                raise
            self._faults.report("credentials", error)
            return entry.last


class _Entry:
    """One metadata entry, and its last good value."""

    def __init__(self, place: str, settings: CredentialSettings) -> None:
        self.key = settings.key
        self.last: str | bytes | None = None
        self._place = place
        self._settings = settings
        self._version: tuple[int, ...] = ()

    def read(self) -> str | bytes:
        """Return the value, from its file only if that has changed."""
        settings = self._settings
        if settings.env is not None:
            if self.last is None:
                self.last = self._checked(os.environ.get(settings.env, "").encode("utf-8", "surrogateescape"), "env")
            return self.last
        version = self._stat()
        if self.last is None or version != self._version:
            data = _read(f"{self._place}.file", settings.file) or b""
            self.last, self._version = self._checked(data, "file"), version
        return self.last

    def _stat(self) -> tuple[int, ...]:
        try:
            found = Path(self._settings.file or "").stat()
        except OSError as error:
            raise CredentialError(f"{self._place}.file", error.strerror or "cannot be read") from None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _checked(self, data: bytes, source: str) -> str | bytes:
        """Return a value as the metadata carries it; what was found is never said."""
        if self.key.endswith("-bin"):
            if data:
                return data
            raise CredentialError(f"{self._place}.{source}", "there is nothing in it")
        text = data.decode("latin-1").strip()
        if not text:
            raise CredentialError(f"{self._place}.{source}", "there is nothing in it")
        if not _PRINTABLE.issuperset(text):
            raise CredentialError(f"{self._place}.{source}", "not one line of printable ASCII")
        return self._settings.prefix + text


def check(experiments: tuple[ExperimentSettings, ...]) -> tuple[str, str] | None:
    """Return the key path of a credential that this process cannot use, and why; ``None`` if all are there."""
    for number, experiment in enumerate(experiments):
        for place, target in enumerate(experiment.targets):
            try:
                check_tls(target.tls)
                for index, one in enumerate(target.credentials):
                    _Entry(f"credentials[{index}]", one).read()
            except CredentialError as error:
                return f"experiments[{number}].targets[{place}].{error.key}", error.problem
    return None


def check_tls(tls: TlsSettings) -> None:
    """
    Load the files as a TLS library would: gRPC does not say that they are no good, its calls just fail.

    Raises:
        CredentialError: one is; certificate and key are also while only one of them has been renewed.
    """
    if not tls:
        return
    for key, name in (("tls.roots", tls.roots), ("tls.certificate", tls.certificate), ("tls.key", tls.key)):
        _read(key, name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if tls.roots is not None:
            context.load_verify_locations(cafile=tls.roots)
    except (ssl.SSLError, OSError):
        raise CredentialError("tls.roots", "not PEM certificates") from None
    try:
        if tls.certificate is not None:
            context.load_cert_chain(tls.certificate, tls.key, password=lambda: b"")
    except (ssl.SSLError, OSError):
        raise CredentialError("tls.certificate", "not a PEM certificate chain with its unencrypted key") from None


def _read(key: str, name: str | None) -> bytes | None:
    if name is None:
        return None
    try:
        with Path(name).open("rb") as file:
            data = file.read(_LARGEST + 1)
    except (OSError, ValueError) as error:
        raise CredentialError(key, getattr(error, "strerror", None) or "cannot be read") from None
    if len(data) > _LARGEST:
        raise CredentialError(key, f"larger than {_LARGEST} bytes")
    return data

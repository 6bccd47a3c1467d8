"""
TLS of the listening ports, from the same files for gRPC and for HTTP.

Certificates are renewed while a server runs. The files are looked at once a second, and connections that come after
a change meet the new certificate; one that is no good is a fault, and the last good one stays.
"""

from __future__ import annotations

import ssl
from pathlib import Path

import grpc

from shadowmesh.errors import StartError
from shadowmesh.policy.credentials import FileName
from shadowmesh.settings import Settings


class ServerTlsSettings(Settings):
    """
    The files, PEM each.

    Args:
        certificate: our certificate chain; a changed one counts within a second.
        key: its private key, not encrypted.
        client_roots: where it is set clients must show a certificate that one of these has signed; read at the start.
    """

    certificate: FileName
    key: FileName
    client_roots: FileName | None = None


class ServerTls:
    """
    What the ports listen with.

    Args:
        key: of the settings in the configuration file, for what is said of them.

    Attributes:
        credentials: gRPC's.
        context: HTTP's.

    Raises:
        StartError: a file cannot be read, or is not what its key says. gRPC itself would take it and fail every
            handshake.
    """

    def __init__(self, settings: ServerTlsSettings, *, key: str) -> None:
        self._settings = settings
        self._key = key
        roots = settings.client_roots
        self._roots = None if roots is None else _read(f"{key}.client_roots", roots)
        self._pair = self._read_pair()
        self.context = _context(settings, key)
        if roots is not None:
            _require_clients(self.context, roots, key)
        self._configuration = self._grpc_configuration()
        self.credentials = grpc.dynamic_ssl_server_credentials(
            self._configuration,
            # Asked at every handshake, in a thread of gRPC's.
            lambda: self._configuration,
            require_client_authentication=self._roots is not None,
        )

    def refresh(self) -> None:
        """
        Take a changed certificate in.

        Raises:
            StartError: it is no good; nothing has changed.
        """
        pair = self._read_pair()
        if pair == self._pair:
            return
        # What cannot be loaded leaves a context half changed, so that is tried with another one.
        _context(self._settings, self._key)
        _load(self.context, self._settings, self._key)
        self._pair = pair
        self._configuration = self._grpc_configuration()

    def _read_pair(self) -> tuple[bytes, bytes]:
        settings, key = self._settings, self._key
        return _read(f"{key}.key", settings.key), _read(f"{key}.certificate", settings.certificate)

    def _grpc_configuration(self) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration([self._pair], root_certificates=self._roots)


def _context(settings: ServerTlsSettings, key: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load(context, settings, key)
    return context


def _load(context: ssl.SSLContext, settings: ServerTlsSettings, key: str) -> None:
    try:
        # Without a password function OpenSSL would ask for one on the terminal.
        context.load_cert_chain(settings.certificate, settings.key, password=lambda: b"")
    except (ssl.SSLError, OSError, ValueError):
        problem = f"{settings.certificate} and {settings.key}: not a certificate chain and its unencrypted key, as PEM"
        raise StartError(f"{key}.certificate, {key}.key: {problem}") from None


def _require_clients(context: ssl.SSLContext, roots: str, key: str) -> None:
    try:
        context.load_verify_locations(cafile=roots)
    except (ssl.SSLError, OSError):
        raise StartError(f"{key}.client_roots: {roots}: no PEM certificates") from None
    context.verify_mode = ssl.CERT_REQUIRED


def _read(key: str, name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "cannot be read"
        raise StartError(f"{key}: {name}: {reason}") from None

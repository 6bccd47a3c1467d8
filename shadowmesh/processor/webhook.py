"""
One alert to one URL: a POST that is signed, and what its receiver said.

Headers and signature are those of Standard Webhooks (standardwebhooks.com, 1.0.0): ``webhook-signature`` is ``v1,`` and
the base64 of HMAC-SHA256 over ``ID.TIMESTAMP.BODY``. The timestamp is of the attempt, so a receiver that refuses old
ones cannot be shown an alert again; the id is the same at each attempt.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from shadowmesh.errors import StartError
from shadowmesh.names import META_WEBHOOK_ID, META_WEBHOOK_SIGNATURE, META_WEBHOOK_TIMESTAMP
from shadowmesh.processor.alert_settings import SecretSettings, WebhookSettings
from shadowmesh.telemetry.faults import Faults

_KEY = "processor.alerts.webhook"
_LARGEST_SECRET = 64 * 1024
_LEAST_SECRET = 16
_ENCODED = b"whsec_"
_PORTS = {"http": 80, "https": 443}
_LONGEST_LINE = 16 * 1024
_MOST_LINES = 256
_INFORMATIONAL = range(100, 200)


class Webhook:
    """
    Posts alerts; belongs to one event loop.

    Args:
        wall_ns: the clock of the timestamps.
        faults: where a secret's file that has become unusable is counted; the secret it held stays in force.

    Raises:
        StartError: there is no secret, or a file cannot be read.
    """

    def __init__(self, settings: WebhookSettings, *, faults: Faults, wall_ns: Callable[[], int]) -> None:
        self._url = urlsplit(settings.url.get_secret_value())
        self._timeout = settings.timeout
        self._source = settings.secret
        self._faults = faults
        self._wall_ns = wall_ns
        self._secret = _secret(settings.secret)
        self._tls = _context(settings.roots) if self._url.scheme == "https" else None

    async def post(self, alert_id: str, body: bytes) -> int:
        """
        Post an alert and return the status of the answer.

        Raises:
            OSError: it could not be delivered, or not in time.
        """
        if self._source.file is not None:
            try:
                self._secret = await asyncio.to_thread(_secret, self._source)
            except StartError as error:
                self._faults.report("webhook secret", error)
        timestamp = str(self._wall_ns() // 1_000_000_000)
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "connection": "close",
            "user-agent": "shadowmesh",
            META_WEBHOOK_ID: alert_id,
            META_WEBHOOK_TIMESTAMP: timestamp,
            META_WEBHOOK_SIGNATURE: signature(self._secret, alert_id, timestamp, body),
        }
        async with asyncio.timeout(self._timeout):
            return await self._answer(_head(self._url, headers) + body)

    async def _answer(self, request: bytes) -> int:
        host, port = self._url.hostname or "", self._url.port or _PORTS[self._url.scheme]
        reader, writer = await asyncio.open_connection(host, port, ssl=self._tls, limit=_LONGEST_LINE)
        try:
            writer.write(request)
            await writer.drain()
            return await _status(reader)
        finally:
            # What follows the status is of no interest, and a peer that keeps talking is not waited for.
            writer.transport.abort()


def signature(secret: bytes, alert_id: str, timestamp: str, body: bytes) -> str:
    """Return the value of the header that says who sent an alert, and when."""
    digest = hmac.new(secret, b".".join([alert_id.encode(), timestamp.encode(), body]), hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def _head(url: SplitResult, headers: dict[str, str]) -> bytes:
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    # As it stands in the URL, with the port if one is there.
    lines = [f"POST {path} HTTP/1.1", f"host: {url.netloc}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("ascii")


async def _status(reader: asyncio.StreamReader) -> int:
    """Return the status of the final answer, after those that only say that one will come."""
    while (status := _status_of(await _line(reader))) in _INFORMATIONAL:
        for _ in range(_MOST_LINES):
            if not (await _line(reader)).strip():
                break
    return status


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readline()
    except ValueError:
        raise ConnectionError("an answer with a line that is too long") from None


def _status_of(line: bytes) -> int:
    version, _, rest = line.partition(b" ")
    if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
        raise ConnectionError("the answer is not HTTP")
    return int(rest[:3])


def _secret(source: SecretSettings) -> bytes:
    if source.file is not None:
        where = f"{_KEY}.secret.file: {source.file}"
        try:
            with Path(source.file).open("rb") as opened:
                secret = opened.read(_LARGEST_SECRET + 1).strip()
        except OSError as error:
            raise StartError(f"{where}: {error.strerror or 'cannot be read'}") from None
    else:
        where = f"{_KEY}.secret.env: {source.env}"
        secret = os.environ.get(source.env or "", "").encode("utf-8", "surrogateescape").strip()
    if secret.startswith(_ENCODED):
        try:
            secret = base64.b64decode(secret.removeprefix(_ENCODED), validate=True)
        except binascii.Error:
            raise StartError(f"{where}: what follows whsec_ is not base64") from None
    if not _LEAST_SECRET <= len(secret) <= _LARGEST_SECRET:
        raise StartError(f"{where}: not between {_LEAST_SECRET} and {_LARGEST_SECRET} bytes")
    return secret


def _context(roots: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=roots)
    except (ssl.SSLError, OSError):
        raise StartError(f"{_KEY}.roots: {roots}: no PEM certificates") from None

"""Asks a running processor for its verdict, over the HTTP port that takes OTLP."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from shadowmesh.errors import StartError, UnknownNameError
from shadowmesh.verdict.document import PATH, SCHEMA, from_document, moment_text
from shadowmesh.verdict.judgement import UNKNOWN, Judgement

# A verdict may have to be made first.
_SECONDS = 60.0
_MOST_BYTES = 16 * 1024 * 1024
_DEFAULT_PORT = 24318


def ask(
    address: str,
    *,
    experiment: str | None = None,
    target: str | None = None,
    since_ns: int | None = None,
    token: Path | None = None,
    roots: Path | None = None,
) -> Judgement:
    """
    Return what the processor says.

    Args:
        since_ns: the first moment of dispatch that counts, in wall-clock nanoseconds.
        address: ``host:port`` or ``http://host:port``; ``https://host:port`` where it has ``tls``.
        token: the file of a bearer token, where it wants one.
        roots: the file of the certificates that its own is checked against; the system's without.

    Raises:
        StartError: nobody answers, or what answers gives no verdict.
        UnknownNameError: it has candidates, and none of these names.
    """
    since = None if since_ns is None else moment_text(since_ns)
    asked = {"experiment": experiment, "target": target, "since": since}
    wanted = {name: value for name, value in asked.items() if value is not None}
    status, body = _get(address, f"{PATH}?{urlencode(wanted)}", _headers(token), roots)
    told = body[:1000].decode("utf-8", "replace").strip()
    if status == http.client.NOT_FOUND and told.startswith(UNKNOWN):
        raise UnknownNameError(told)
    if status != http.client.OK:
        said = told[:200] if status == http.client.SERVICE_UNAVAILABLE else ""
        raise StartError(f"{address} answers {status}: {said or http.client.responses.get(status, 'no reason')}")
    try:
        return from_document(json.loads(body))
    except ValueError as error:
        raise StartError(f"{address} does not answer with {SCHEMA}") from error


def _get(address: str, path: str, headers: Mapping[str, str], roots: Path | None) -> tuple[int, bytes]:
    connection = _connection(address, roots)
    try:
        connection.request("GET", path, headers=dict(headers))
        answer = connection.getresponse()
        body = answer.read(_MOST_BYTES + 1)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise StartError(f"nobody answers at {address}: {reason}") from error
    finally:
        connection.close()
    if len(body) > _MOST_BYTES:
        raise StartError(f"the answer of {address} has no end")
    return answer.status, body


def _connection(address: str, roots: Path | None) -> http.client.HTTPConnection:
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        host, port = parts.hostname, parts.port or _DEFAULT_PORT
    except ValueError as error:
        raise StartError(f"{address}: {error}") from error
    if host is None or parts.scheme not in ("http", "https"):
        raise StartError(f"{address}: neither host:port nor http://host:port nor https://host:port")
    if parts.scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=_SECONDS)
    try:
        context = ssl.create_default_context(cafile=roots)
    except OSError as error:
        raise StartError(f"{roots}: {error.strerror or error}") from error
    return http.client.HTTPSConnection(host, port, timeout=_SECONDS, context=context)


def _headers(token: Path | None) -> dict[str, str]:
    if token is None:
        return {}
    try:
        text = token.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"{token}: {getattr(error, 'strerror', None) or 'no token'}") from error
    if not text:
        raise StartError(f"{token}: no token")
    # Where a file has several, the first is as good as the others.
    return {"authorization": f"Bearer {text[0]}"}

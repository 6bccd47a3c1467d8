"""``shadowmesh status``: asks a running interceptor or processor how it is doing."""

from __future__ import annotations

import json
import socket
import time
from http import HTTPStatus
from typing import Annotated, Any

import typer

from shadowmesh.errors import StartError
from shadowmesh.telemetry.local_address import LocalAddress, parse

_SECONDS = 5.0
_MOST_BYTES = 16 * 1024 * 1024
_CHUNK = 65536


def status(
    address: Annotated[
        str, typer.Argument(metavar="ADDRESS", help="unix:/path or 127.0.0.1:PORT, as in telemetry.status.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as it came.")] = False,
) -> None:
    """Ask an interceptor or a processor for its funnel, targets, buffers and last errors; 69 if nobody answers."""
    try:
        parsed = parse(address)
    except ValueError as error:
        raise typer.BadParameter(f"{address}: {error}") from error
    answer = ask(parsed)

    from shadowmesh.telemetry import status_shape

    try:
        known = status_shape.read(answer)
    except ValueError as error:
        raise StartError(f"{parsed} does not answer with {status_shape.SCHEMA} but with {_schema(answer)}") from error
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return

    from rich.console import Console

    from shadowmesh.report.status import status as drawn

    Console(highlight=False).print(drawn(known))


def ask(address: LocalAddress) -> Any:
    """
    Return the decoded answer of whoever listens.

    Raises:
        StartError: nobody does, or what answers is no status endpoint.
    """
    with socket.socket(address.family, socket.SOCK_STREAM) as sock:
        sock.settimeout(_SECONDS)
        try:
            sock.connect(address.place)
            sock.sendall(b"GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            head, body = _receive(sock)
        except OSError as error:
            raise StartError(f"nobody answers at {address}: {error.strerror or error}") from error
    protocol, _, rest = head.partition(b" ")
    code = rest[:3].decode("latin-1")
    if not protocol.startswith(b"HTTP/1.") or not code.isdecimal():
        raise StartError(f"what listens at {address} is no status endpoint")
    if code != "200":
        reasons = {known.value: known.phrase.lower() for known in HTTPStatus}
        raise StartError(f"{address} answers {code}: {reasons.get(int(code), 'for whatever reason')}")
    try:
        return json.loads(body)
    except ValueError as error:
        raise StartError(f"what {address} answers is no JSON") from error


def _receive(sock: socket.socket) -> tuple[bytes, bytes]:
    """Return head and body of an answer that ends with its connection."""
    deadline = time.monotonic() + _SECONDS
    received = bytearray()
    while data := sock.recv(_CHUNK):
        received += data
        if len(received) > _MOST_BYTES:
            raise OSError("the answer has no end")
        if time.monotonic() > deadline:
            raise TimeoutError("timed out")
    head, _, body = bytes(received).partition(b"\r\n\r\n")
    return head, body


def _schema(answer: Any) -> str:
    schema = answer.get("schema") if isinstance(answer, dict) else None
    return schema if isinstance(schema, str) and schema.isprintable() and len(schema) < 100 else "something else"

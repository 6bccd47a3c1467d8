"""Ports and HTTP on this machine."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

HOST = "127.0.0.1"
_LOWEST = 10_000
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_EPHEMERAL_ELSEWHERE = 32_768
_WITHIN = 10.0


class Answer(NamedTuple):
    """An HTTP response."""

    status: int
    body: str


def free_ports(count: int) -> list[int]:
    """
    Return ports nobody listens on.

    They lie below the range from which the kernel gives ports to outgoing connections and to those who ask for port 0,
    so that a program that is restarted finds its own again.
    """
    with ExitStack() as held:
        ports: list[int] = []
        while len(ports) < count:
            port = random.randrange(_LOWEST, _first_ephemeral())
            candidate = held.enter_context(socket.socket())
            try:
                candidate.bind((HOST, port))
            except OSError:
                continue
            ports.append(port)
        return ports


def get(port: int, path: str, **query: str) -> Answer:
    """
    Send a GET request, past any proxy of the environment.

    Raises:
        OSError: nobody listens, or there was no answer within ten seconds.
    """
    connection = HTTPConnection(HOST, port, timeout=_WITHIN)
    try:
        connection.request("GET", f"{path}?{urlencode(query)}" if query else path)
        response = connection.getresponse()
        return Answer(response.status, response.read().decode())
    except HTTPException as error:
        raise ConnectionError(f"port {port} does not speak HTTP: {error!r}") from error
    finally:
        connection.close()


def _first_ephemeral() -> int:
    try:
        return int(_EPHEMERAL.read_text(encoding="ascii").split()[0])
    except FileNotFoundError:
        return _EPHEMERAL_ELSEWHERE

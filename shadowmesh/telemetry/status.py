"""
The status endpoint: what a running process says of itself, to whoever asks on its own machine.

One daemon thread with plain sockets, because it runs inside somebody's model server. It speaks as much HTTP/1.1 as
``GET /status`` needs, so that curl can ask as well; every answer closes its connection. Nobody can hold it up: a
connection has a few seconds and a few KiB for its question, and when all places are taken the oldest one, which has
been silent longest, makes room.
"""

from __future__ import annotations

import json
import logging
import os
import re
import selectors
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import NamedTuple

from shadowmesh.errors import StartError
from shadowmesh.telemetry.faults import Faults
from shadowmesh.telemetry.local_address import parse
from shadowmesh.telemetry.local_listener import LocalListener

PATH = "/status"

_LOG = logging.getLogger("shadowmesh")
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_HOST = re.compile(rb"(?im)^host:[ \t]*([^\r\n]*?)[ \t]*\r?$")
_CHUNK = 4096
_PAUSE_SECONDS = 1.0
_JOIN_SECONDS = 2.0

Report = Callable[[], Mapping[str, object]]
"""Returns the status as JSON can hold it; called in the endpoint's thread.

Raises:
    TimeoutError: it cannot be had now.
"""


class Limits(NamedTuple):
    """What clients may take: connections at once, seconds for each, bytes of a request."""

    connections: int = 4
    seconds: float = 2.0
    request_bytes: int = 4096


_LIMITS = Limits()


class StatusEndpoint:
    """
    Serves one report on one address, from ``start`` to ``close``.

    Args:
        address: a :data:`~shadowmesh.telemetry.local_address.StatusAddress`.
        faults: where an error of the report is counted.
    """

    def __init__(self, address: str, report: Report, *, faults: Faults, limits: Limits = _LIMITS) -> None:
        self._address = address
        self._report = report
        self._faults = faults
        self._limits = limits
        self._listener: LocalListener | None = None
        self._thread: threading.Thread | None = None
        # A plain flag: the lock of an event could be held by another thread at the moment of a fork.
        self._stopping = False
        # Of two ends that are connected, one is told when to look up.
        self._woken, self._waker = socket.socketpair()
        self._clients: dict[socket.socket, _Client] = {}

    @property
    def address(self) -> str | None:
        """Where it listens, ``None`` while it does not; port 0 has become the port it was given."""
        return None if self._listener is None else str(self._listener.address)

    def open(self) -> None:
        """
        Listen, in the calling thread; connections wait for ``start``.

        Raises:
            StartError: the address is in use, or cannot be used.
        """
        if self._listener is None:
            address = parse(self._address, pid=os.getpid())
            self._listener = LocalListener(address, backlog=self._limits.connections)

    def start(self) -> None:
        """
        Serve from a thread of its own; listen there as well where ``open`` was not called.

        Then whoever starts it waits for nothing, and an address that cannot be had is logged and that is all.
        """
        if self._thread is None and not self._stopping:
            self._thread = threading.Thread(target=self._run, name="shadowmesh-status", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End; safe before the start and more than once."""
        if self._stopping:
            return
        self._stopping = True
        with suppress(OSError):
            self._waker.send(b"x")
        if self._thread is not None:
            self._thread.join(_JOIN_SECONDS)
        if self._thread is None or not self._thread.is_alive():
            self._release()

    def abandon(self) -> None:
        """Let go of what a forked child has inherited; the parent goes on serving."""
        self._stopping = True
        if self._listener is not None:
            self._listener.abandon()
            self._listener = None
        self._release()

    def _run(self) -> None:
        try:
            self.open()
            if self._listener is not None:
                _LOG.info("status: listening on %s", self._listener.address)
                self._serve(self._listener)
        except StartError as error:
            _LOG.warning("status: %s; going on without", error)
        except Exception as error:  # noqa: BLE001 - the one boundary: the server it runs in must not hear of it
            self._faults.report("status endpoint", error)
        finally:
            if self._stopping:
                self._release()

    def _serve(self, listener: LocalListener) -> None:
        # Not epoll, whose set a forked child would share.
        with selectors.PollSelector() as selector:
            selector.register(listener.socket, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while not self._stopping:
                for key, _ in selector.select(self._patience()):
                    if key.fileobj is listener.socket:
                        self._accept(listener, selector)
                    elif isinstance(key.fileobj, socket.socket) and key.fileobj in self._clients:
                        self._advance(key.fileobj, selector)
                now = time.monotonic()
                for late in [sock for sock, client in self._clients.items() if client.deadline <= now]:
                    self._drop(late, selector)

    def _patience(self) -> float | None:
        """Return how long nothing can become due."""
        first = min((client.deadline for client in self._clients.values()), default=None)
        return None if first is None else max(first - time.monotonic(), 0.0)

    def _accept(self, listener: LocalListener, selector: selectors.BaseSelector) -> None:
        try:
            sock, _ = listener.socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            # No descriptors left, most likely, and the connection still waits: not to be asked again at once.
            self._faults.report("status endpoint", error)
            with selectors.PollSelector() as quiet:
                quiet.register(self._woken, selectors.EVENT_READ)
                quiet.select(_PAUSE_SECONDS)
            return
        sock.setblocking(False)
        if len(self._clients) >= self._limits.connections:
            self._drop(next(iter(self._clients)), selector)
        self._clients[sock] = _Client(time.monotonic() + self._limits.seconds)
        selector.register(sock, selectors.EVENT_READ)

    def _advance(self, sock: socket.socket, selector: selectors.BaseSelector) -> None:
        client = self._clients[sock]
        try:
            if not client.answer and not self._listen_to(sock, client):
                return
            client.answer = client.answer[sock.send(client.answer) :]
        except BlockingIOError:
            pass
        except OSError:
            # Gone before it was answered.
            client.answer = b""
        if client.answer:
            selector.modify(sock, selectors.EVENT_WRITE)
        else:
            self._drop(sock, selector)

    def _listen_to(self, sock: socket.socket, client: _Client) -> bool:
        """Read on; return whether the client has had its say, answered or (where it left) not."""
        data = sock.recv(_CHUNK)
        client.request += data
        if not data:
            return True
        local_only = sock.family == socket.AF_UNIX
        if _END_OF_HEAD.search(client.request):
            client.answer = self._answer(bytes(client.request), check_host=not local_only)
        elif len(client.request) > self._limits.request_bytes:
            client.answer = _response(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        return bool(client.answer)

    def _answer(self, request: bytes, *, check_host: bool) -> bytes:
        refusal = _refusal(request, check_host=check_host)
        if refusal is not None:
            return _response(refusal)
        try:
            return _response(HTTPStatus.OK, self._report())
        except TimeoutError:
            return _response(HTTPStatus.SERVICE_UNAVAILABLE)
        except Exception as error:  # noqa: BLE001 - the same boundary, and the next question may be answered
            self._faults.report("status report", error)
            return _response(HTTPStatus.INTERNAL_SERVER_ERROR)

    def _drop(self, sock: socket.socket, selector: selectors.BaseSelector) -> None:
        del self._clients[sock]
        selector.unregister(sock)
        sock.close()

    def _release(self) -> None:
        for sock in tuple(self._clients):
            sock.close()
        self._clients.clear()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self._woken.close()
        self._waker.close()


class _Client:
    """One connection: what it has asked so far, what it has not been told yet, and until when it may stay."""

    __slots__ = ("answer", "deadline", "request")

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.request = bytearray()
        self.answer = b""


def _refusal(request: bytes, *, check_host: bool) -> HTTPStatus | None:
    """Return what is wrong with a request."""
    line, _, _ = request.partition(b"\n")
    method, _, rest = line.strip().partition(b" ")
    target, _, protocol = rest.partition(b" ")
    if not protocol.startswith(b"HTTP/1."):
        return HTTPStatus.BAD_REQUEST
    if check_host and not _is_local(_HOST.search(request)):
        return HTTPStatus.FORBIDDEN
    if target.partition(b"?")[0] != PATH.encode():
        return HTTPStatus.NOT_FOUND
    return None if method == b"GET" else HTTPStatus.METHOD_NOT_ALLOWED


def _is_local(host: re.Match[bytes] | None) -> bool:
    """
    Return whether a request to the loopback interface was meant for it.

    A web page may let its own name resolve to 127.0.0.1 and have a browser ask us; then its name is in the request.
    """
    if host is None:
        return True
    text = host[1].decode("latin-1")
    try:
        parse(text if re.search(r":\d+$", text) else f"{text}:80")
    except ValueError:
        return False
    return True


def _response(status: HTTPStatus, body: Mapping[str, object] | None = None) -> bytes:
    content = json.dumps({"error": status.phrase} if body is None else body).encode() + b"\n"
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n"
        "Cache-Control: no-store\r\n"
        "Allow: GET\r\n"
        "Connection: close\r\n"
        "\r\n"
    )
    return head.encode() + content

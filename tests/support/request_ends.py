"""A TCP relay that reads HTTP/2 frames: by what request streams ended, which no gRPC server tells for certain."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter
from types import TracebackType
from typing import BinaryIO, Self

_PREFACE_BYTES, _HEAD_BYTES = 24, 9
_DATA, _HEADERS, _RESET = 0, 1, 3
_END_STREAM = 1


class RequestEnds:
    """
    Passes bytes on to ``port``; a context manager.

    ``ends`` has how many request streams were ``half-closed`` and how many were ``reset`` before that.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self.ends: Counter[str] = Counter()

    @property
    def address(self) -> str:
        host, port = self._listener.getsockname()
        return f"{host}:{port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._sockets:
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._port))
            self._sockets += [client, server]
            threading.Thread(target=self._forth, args=(client, server), daemon=True).start()
            threading.Thread(target=self._back, args=(server, client), daemon=True).start()

    def _back(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)

    def _forth(self, client: socket.socket, server: socket.socket) -> None:
        ended: set[bytes] = set()
        # An ``OSError`` or the end of the file: over either way.
        with contextlib.suppress(OSError, EOFError), client.makefile("rb") as data:
            server.sendall(_exactly(data, _PREFACE_BYTES))
            while True:
                # Of a frame: length, type, flags and stream.
                head = _exactly(data, _HEAD_BYTES)
                server.sendall(head + _exactly(data, int.from_bytes(head[:3], "big")))
                kind, flags, stream = head[3], head[4], head[5:]
                how = (
                    "half-closed"
                    if kind in (_DATA, _HEADERS) and flags & _END_STREAM
                    else "reset"
                    if kind == _RESET
                    else None
                )
                if how is not None and stream not in ended:
                    ended.add(stream)
                    self.ends[how] += 1


def _exactly(data: BinaryIO, size: int) -> bytes:
    found = data.read(size)
    if len(found) < size:
        raise EOFError
    return found

"""A TCP relay in front of a backend: it says how many connections there are, which no gRPC server tells."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self


class Relay:
    """Passes bytes on to ``port``; a context manager."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._changed = threading.Condition()
        self._sockets: list[socket.socket] = []
        self.accepted = 0
        self.ended = 0

    @property
    def address(self) -> str:
        host, port = self._listener.getsockname()
        return f"{host}:{port}"

    def wait_for_ends(self, count: int, timeout: float = 20.0) -> None:
        """Return once this many connections were closed by their client."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.ended >= count, timeout):
                raise TimeoutError(f"{self.ended} of {count} connections ended after {timeout:g} s")

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
            with self._changed:
                self.accepted += 1
            threading.Thread(target=self._pass_on, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pass_on, args=(server, client, False), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, from_client: bool) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            # Reset, or closed by the end of the test: over either way.
            pass
        finally:
            if from_client:
                with self._changed:
                    self.ended += 1
                    self._changed.notify_all()
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_RDWR)

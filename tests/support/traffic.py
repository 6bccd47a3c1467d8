"""Clients that call a scripted live server in every arity, many at a time, and check every answer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from support.scripts import script
from support.servers import Server

# Request streams are the dearest for client, server and shadow alike: two of twenty will do.
_MIX = ("unary_unary", "unary_stream") * 9 + ("stream_unary", "stream_stream")
_REQUEST = script(["send", "one"], ["read_all"], ["send", "end"])


class Traffic:
    """Calls of every arity in turn: how many were ``made``, and ``failures``, the answers that were not as expected."""

    def __init__(self, server: Server, *, clients: int = 4) -> None:
        self._server = server
        self._clients = clients
        self.made = 0
        self.failures: list[str] = []

    def run(self, calls: int) -> None:
        """Make so many calls and return when all are answered."""
        with ThreadPoolExecutor(self._clients) as pool:
            list(pool.map(self._call, range(calls)))
        self.made += calls

    def _call(self, number: int) -> None:
        arity = _MIX[number % len(_MIX)]
        request: Any = iter((_REQUEST, b"a", b"b")) if arity.startswith("stream") else _REQUEST
        reads = [b"read a", b"read b"] if arity.startswith("stream") else []
        expected = [b"one", *reads, b"end"] if arity.endswith("stream") else [b"end"]
        try:
            answer = self._server.call(arity)(request, timeout=30)
            got = list(answer) if arity.endswith("stream") else [answer]
        except grpc.RpcError as error:
            self.failures.append(f"{arity}: {error.code()}")
            return
        if got != expected:
            self.failures.append(f"{arity}: {got}")

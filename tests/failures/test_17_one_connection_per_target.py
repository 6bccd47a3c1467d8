"""17. Many calls, one connection per target; and a shadow that allows few streams holds up nobody but itself."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import grpc
import pytest
from support import peers
from support.calls import SCENARIOS, see
from support.meshes import target
from support.worlds import LIVE, WORLDS, world

from shadowmesh.names import CallEnd


class Answering(peers.Peer):
    """Answers every call, with few streams at a time if told so, and knows how many were open at once."""

    def __init__(self, *, most: int | None = None, hold: bool = False) -> None:
        super().__init__(self._serve)
        self._most = most
        self._hold = hold
        self._open: set[int] = set()
        self.peak = 0
        self.full = threading.Event()

    def _serve(self, connection: peers.Connection) -> None:
        connection.greet(*(() if self._most is None else ((peers.MAX_CONCURRENT_STREAMS, self._most),)))
        for frame in connection.frames():
            if frame.kind == peers.HEADERS:
                self._open.add(frame.stream)
                self.peak = max(self.peak, len(self._open))
                if self.peak == self._most:
                    self.full.set()
            elif frame.kind == peers.RST_STREAM:
                self._open.discard(frame.stream)
            if frame.ends_stream and not self._hold:
                connection.headers(frame.stream)
                connection.message(frame.stream, b"one")
                self._open.discard(frame.stream)
                connection.trailers(frame.stream)


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_many_calls_to_a_target_use_one_connection(kind: str, carrier: str) -> None:
    calls = 60
    with ExitStack() as stack:
        one, other = stack.enter_context(Answering()), stack.enter_context(Answering())
        it = stack.enter_context(world(kind, carrier, target(one.address, "one"), target(other.address, "other")))
        for number in range(calls):
            see(it.server, ("unary_unary", "unary_stream")[number % 2], SCENARIOS["answers"])
        legs = it.settle(calls, grace=10)
        assert {leg.status for leg in (*legs["one"], *legs["other"])} == {"OK"}
        assert (one.connections, other.connections) == (1, 1)


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_request_streams_use_one_connection_more(kind: str, carrier: str) -> None:
    """They run on the synchronous API (grpc/grpc#36066), whose channel is its own: one more, however many calls."""
    with Answering() as backend, world(kind, carrier, target(backend.address)) as it:
        for arity in ("unary_unary", "stream_unary", "stream_stream") * 10:
            see(it.server, arity, SCENARIOS["answers"])
        it.settle(30, grace=10)
        assert backend.connections == 2


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_a_shadow_at_its_limit_of_streams_holds_up_no_live_call(kind: str, carrier: str) -> None:
    calls = 10
    with Answering(most=2, hold=True) as backend:
        with world(kind, carrier, target(backend.address, deadline="2s")) as it:
            for _ in range(calls):
                assert see(it.server, "unary_unary", SCENARIOS["answers"]).code is grpc.StatusCode.OK
            assert backend.full.wait(10)
            legs = it.settle(calls, grace=10)
        assert backend.peak == 2
        assert backend.connections == 1
        assert {(leg.status, leg.end) for leg in legs["candidate"]} == {("DEADLINE_EXCEEDED", CallEnd.DEADLINE)}
        assert {leg.status for leg in legs[LIVE]} == {"OK"}

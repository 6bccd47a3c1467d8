"""1. The shadow stops reading during a client or bidirectional stream: order and pace of the live call stay."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, suppress
from queue import Full, Queue
from typing import Any

import grpc
import grpc.aio
import pytest
from support import peers
from support.meshes import target
from support.resources import until
from support.scripts import AioScripts, Log, SyncScripts, script
from support.servers import is_aio, live_server
from support.worlds import WORLDS, Conversation, world

from shadowmesh.names import CallEnd, Decision

MESSAGES = [b"%04d" % number + bytes(16 * 1024) for number in range(100)]
"""1.6 MB: many times what the peer's window and the kernel's buffers hold."""
LONGEST_ROUND_TRIP = 2.0
"""Seconds. A live call that waited for the shadow would wait for its deadline, a minute."""
STOPPED: dict[str, Callable[[], AbstractContextManager[str]]] = {
    "never reads": peers.stopped_peer,
    "zero window": lambda: peers.peer(peers.closed_window),
}


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_no_message_of_a_bidirectional_call_waits_for_a_shadow_that_stops_reading(kind: str, carrier: str) -> None:
    with peers.stopped_peer() as deaf, peers.peer(peers.closed_window) as closed:
        targets = (target(deaf, "deaf"), target(closed, "closed"))
        with world(kind, carrier, *targets) as it:
            conversation = Conversation(it.server, len(MESSAGES))
            answers = [conversation.say(message) for message in MESSAGES]
            assert answers == [b"read " + message for message in MESSAGES]
            assert conversation.end() is grpc.StatusCode.OK
            assert conversation.slowest < LONGEST_ROUND_TRIP
            # The live call is over, and neither shadow is: they were never part of its pace.
            assert until(lambda: it.mesh.active() == {("x", "deaf"): 1, ("x", "closed"): 1}), it.mesh.active()
            legs = it.settle(1)
        for shadow in (legs["deaf"][0], legs["closed"][0]):
            assert shadow.end == CallEnd.CUT
            assert shadow.message_count == 0


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_a_client_stream_reaches_its_handler_whole_while_the_shadow_reads_nothing(kind: str, carrier: str) -> None:
    with peers.stopped_peer() as deaf, world(kind, carrier, target(deaf)) as it:
        requests = iter((script(["read_all"]), *MESSAGES))
        answer = it.server.call("stream_unary")(requests, timeout=30)
        assert answer == b"read " + MESSAGES[-1]
        assert it.settle(1)["candidate"][0].end == CallEnd.CUT


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_what_the_tee_cannot_hold_is_cut_from_the_shadow_and_not_from_the_live_call(kind: str, carrier: str) -> None:
    limits = {"max_message_bytes": "64KiB", "max_call_bytes": "256KiB", "capture_bytes": "1MiB"}
    with peers.stopped_peer() as deaf, world(kind, carrier, target(deaf), mirror=limits) as it:
        conversation = Conversation(it.server, len(MESSAGES))
        held = []
        for message in MESSAGES:
            assert conversation.say(message) == b"read " + message
            held.append(it.mesh.captured_bytes())
        assert conversation.end() is grpc.StatusCode.OK
        assert max(held) <= 1024 * 1024
        legs = it.settle(1)
        assert legs["candidate"][0].end == CallEnd.CUT
        assert not legs["candidate"][0].complete
        assert it.decided() == {(Decision.MIRRORED, ""): 1}


class SyncCoupled(SyncScripts):
    """The mistake this guards against: a handler's messages go on only when the shadow has taken them."""

    def __init__(self, address: str) -> None:
        super().__init__(Log())
        self._address = address

    def _stream(self, request: Any, context: Any) -> Iterator[bytes]:
        queue: Queue[bytes] = Queue(8)
        with grpc.insecure_channel(self._address) as channel:
            shadow: Any = channel.stream_stream("/a.B/c")
            call = shadow(iter(queue.get, None))

            def coupled() -> Iterator[bytes]:
                for message in request:
                    while context.is_active():
                        with suppress(Full):
                            queue.put(message, timeout=0.05)
                            break
                    yield message

            try:
                yield from super()._stream(coupled(), context)
            finally:
                call.cancel()


class AioCoupled(AioScripts):
    """The same mistake on an asyncio server."""

    def __init__(self, address: str) -> None:
        super().__init__(Log())
        self._address = address

    async def _stream(self, request: Any, context: Any) -> AsyncIterator[bytes]:
        async with grpc.aio.insecure_channel(self._address) as channel:
            shadow: Any = channel.stream_stream("/a.B/c")
            call = shadow()

            async def coupled() -> AsyncIterator[bytes]:
                async for message in request:
                    await call.write(message)
                    yield message

            try:
                async for message in super()._stream(coupled(), context):
                    yield message
            finally:
                call.cancel()


@pytest.mark.parametrize("stopped", STOPPED)
@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_the_conversation_above_would_end_if_the_live_call_waited_for_the_shadow(kind: str, stopped: str) -> None:
    """The control: the same conversation, with a handler that couples the two legs on purpose."""
    with STOPPED[stopped]() as address:
        handler = AioCoupled(address) if is_aio(kind) else SyncCoupled(address)
        with live_server(kind, handler=handler) as server:
            conversation = Conversation(server, len(MESSAGES), timeout=1.0)
            with pytest.raises(grpc.RpcError) as ended:
                list(map(conversation.say, MESSAGES))
            assert ended.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED

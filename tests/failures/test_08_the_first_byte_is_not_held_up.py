"""8. No tee on the first-byte path: handler and client have the first message before the body is complete."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from queue import SimpleQueue
from typing import Any

import grpc
import pytest
from support import peers
from support.meshes import target
from support.scripts import script
from support.servers import is_aio
from support.worlds import WORLDS, Conversation, world


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_the_handler_has_each_request_message_before_the_next_one_is_written(kind: str, carrier: str) -> None:
    with peers.black_hole() as hole, world(kind, carrier, target(hole)) as it:
        conversation = Conversation(it.server, 3)
        for word in (b"first", b"second", b"third"):
            assert conversation.say(word) == b"read " + word
        assert conversation.end() is grpc.StatusCode.OK
        it.settle(1)


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_the_client_has_the_first_answer_while_the_handler_is_still_at_work(kind: str, carrier: str) -> None:
    with peers.black_hole() as hole, world(kind, carrier, target(hole)) as it:
        outbox: SimpleQueue[bytes | None] = SimpleQueue()
        outbox.put(script(["send", "first"], ["read"]))
        call = it.server.call("stream_stream")(iter(outbox.get, None), timeout=20)
        # The handler goes on only when it is given the message that is sent after its first answer was seen.
        assert next(call) == b"first"
        outbox.put(b"go on")
        assert next(call) == b"read go on"
        outbox.put(None)
        assert list(call) == []
        it.settle(1)


class Listening(grpc.GenericRpcHandler):
    """Tells of each message when it has it, and answers at the end."""

    def __init__(self, kind: str) -> None:
        self.heard: SimpleQueue[bytes] = SimpleQueue()
        behaviour: Any = self._aio if is_aio(kind) else self._sync
        self._handler: Any = grpc.stream_unary_rpc_method_handler(behaviour)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return self._handler

    def _sync(self, requests: Iterator[bytes], context: Any) -> bytes:
        for message in requests:
            self.heard.put(message)
        return b"done"

    async def _aio(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        async for message in requests:
            self.heard.put(message)
        return b"done"


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_the_handler_of_a_client_stream_is_at_work_before_the_stream_has_ended(kind: str, carrier: str) -> None:
    handler = Listening(kind)
    with peers.black_hole() as hole, world(kind, carrier, target(hole), handler=handler) as it:
        outbox: SimpleQueue[bytes | None] = SimpleQueue()
        call = it.server.call("stream_unary").future(iter(outbox.get, None), timeout=20)
        for word in (b"one", b"two"):
            outbox.put(word)
            assert handler.heard.get(timeout=10) == word
        outbox.put(None)
        assert call.result() == b"done"
        it.settle(1)

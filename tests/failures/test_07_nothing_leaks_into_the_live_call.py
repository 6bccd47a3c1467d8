"""7. What belongs to the mirror never shows in the live call, and what belongs to the live call is never shared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from support.meshes import target
from support.servers import is_aio, live_server
from support.worlds import LIVE, WORLDS, world

from shadowmesh.names import META_ROLE, META_TRACEPARENT
from shadowmesh.testing import Backend, ReceivedCall

SENT = (("x-tenant", "a"), ("x-raw-bin", b"\x00\xff"), (META_TRACEPARENT, "00-" + "1" * 32 + "-" + "2" * 16 + "-01"))


def leaking(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    """A shadow that sends everything a server can send beside messages."""
    context.send_initial_metadata((("x-shadow-initial", "leak"), (META_ROLE, "shadow")))
    context.set_trailing_metadata((("x-shadow-trailing", "leak"), ("grpc-retry-pushback-ms", "1")))
    context.set_compression(grpc.Compression.Gzip)
    yield b"".join(requests)
    context.abort(grpc.StatusCode.DATA_LOSS, "the shadow's own words")


class Mutating(grpc.GenericRpcHandler):
    """Keeps what its context shows, and writes over its request when it has it."""

    def __init__(self, kind: str) -> None:
        self.metadata: list[Any] = []
        self.remaining: list[float | None] = []
        behaviour: Any = self._aio if is_aio(kind) else self._sync
        self._handler: Any = grpc.unary_unary_rpc_method_handler(behaviour, request_deserializer=bytearray)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return self._handler

    def _sync(self, request: bytearray, context: Any) -> bytes:
        self.metadata.append(sorted((key, value) for key, value in context.invocation_metadata()))
        self.remaining.append(context.time_remaining())
        answer = bytes(request)
        request[:] = b"overwritten"
        return answer

    async def _aio(self, request: bytearray, context: Any) -> bytes:
        return self._sync(request, context)


def call(server: Any) -> tuple[Any, ...]:
    response, made = server.call("unary_unary").with_call(b"request", metadata=SENT, timeout=20)
    return response, made.code(), made.details(), made.initial_metadata(), made.trailing_metadata()


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_handler_and_client_see_what_they_see_without_a_shadow_and_the_shadow_what_the_client_sent(
    kind: str, carrier: str
) -> None:
    bare = Mutating(kind)
    with live_server(kind, handler=bare) as server:
        expected = call(server)
    ours = Mutating(kind)
    with Backend(leaking) as backend:
        candidate = target(backend.address, deadline="3s", metadata=["x-tenant"])
        with world(kind, carrier, candidate, handler=ours) as it:
            assert call(it.server) == expected
            received = backend.wait_for_calls(1)[0]
            legs = it.settle(1, grace=5)
        assert ours.metadata == bare.metadata
        assert not any("shadowmesh" in key for key, _ in ours.metadata[0])
        # The live call kept its deadline of 20 s, and the shadow its own of 3 s.
        assert ours.remaining[0] is not None
        assert ours.remaining[0] > 15
        assert received.deadline is not None
        assert received.deadline < 3.5
        # What the handler did to its request afterwards is nothing to the shadow.
        assert received.requests == [b"request"]
        assert (legs[LIVE][0].status, legs["candidate"][0].status) == ("OK", "DATA_LOSS")

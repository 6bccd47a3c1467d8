"""6. A retry of the live call, and a shadow that fails: a shadow is sent once, whatever fails."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import grpc
import pytest
from support.meshes import target
from support.scripts import script
from support.servers import is_aio
from support.worlds import WORLDS, World, world

from shadowmesh.names import Decision, DropReason, Role
from shadowmesh.testing import Backend, ReceivedCall

RETRIES = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.01s",
                    "maxBackoff": "0.01s",
                    "backoffMultiplier": 1,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
    }
)


class FailsTwice(grpc.GenericRpcHandler):
    """Unavailable for the first two attempts, then there."""

    def __init__(self, kind: str) -> None:
        self._attempts = count(1)
        behaviour: Any = self._aio if is_aio(kind) else self._sync
        self._handler: Any = grpc.unary_unary_rpc_method_handler(behaviour)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return self._handler

    def _sync(self, request: bytes, context: Any) -> bytes:
        if next(self._attempts) < 3:
            context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
        return request

    async def _aio(self, request: bytes, context: Any) -> bytes:
        if next(self._attempts) < 3:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
        return request


def unavailable(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    """Ask for a retry in every way a server can: a retryable status, and pushback that says "at once"."""
    yield from ()
    context.set_trailing_metadata((("grpc-retry-pushback-ms", "1"),))
    context.abort(grpc.StatusCode.UNAVAILABLE, "again, please")


def retrying_call(it: World) -> bytes:
    options = (("grpc.service_config", RETRIES), ("grpc.enable_retries", 1))
    with grpc.insecure_channel(f"127.0.0.1:{it.server.port}", options=options) as channel:
        call: Any = channel.unary_unary("/test.Scripted/unary_unary")
        answer: bytes = call(b"request", timeout=20)
        return answer


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_a_call_that_its_client_retries_has_one_shadow_which_is_never_sent_again(kind: str, carrier: str) -> None:
    with (
        Backend(unavailable) as backend,
        world(kind, carrier, target(backend.address), handler=FailsTwice(kind)) as it,
    ):
        assert retrying_call(it) == b"request"
        it.mesh.drain(5)
        live, shadow = sorted(it.sink.wait_for_legs(2), key=lambda leg: leg.role)
        # The client's three attempts are three calls for the server; the first is mirrored, the others are counted.
        assert it.decided() == {(Decision.MIRRORED, ""): 1, (Decision.DISABLED, DropReason.RETRY): 2}
        assert (live.role, live.attempt, live.status) == (Role.LIVE, 1, "UNAVAILABLE")
        assert shadow.status == "UNAVAILABLE"
        assert len(it.sink.legs()) == 2
        assert len(backend.calls) == 1
        assert not any(key == "grpc-previous-rpc-attempts" for key, _ in backend.calls[0].metadata)


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_shadows_of_a_stream_are_not_sent_again_either(kind: str, carrier: str) -> None:
    with Backend(unavailable) as backend, world(kind, carrier, target(backend.address)) as it:
        requests = iter((script(["read_all"]), b"one"))
        assert list(it.server.call("stream_stream")(requests, timeout=20)) == [b"read one"]
        assert it.settle(1, grace=5)["candidate"][0].status == "UNAVAILABLE"
        assert len(backend.calls) == 1

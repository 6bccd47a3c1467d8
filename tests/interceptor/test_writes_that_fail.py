"""A write of an asyncio server can fail before the server is told that the client has left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import grpc
import grpc.aio
import pytest
from support.meshes import config, running_mesh, target
from support.servers import interceptor_of
from support.shadows import answering

from shadowmesh.build import Mesh
from shadowmesh.model import Leg
from shadowmesh.names import CallEnd, Role
from shadowmesh.testing import Backend


class Details(NamedTuple):
    method: str = "/a.B/c"
    invocation_metadata: tuple[tuple[str, str], ...] = ()


class Context:
    """What grpc gives a handler whose client is gone: writes fail, and a status is sent or not."""

    def __init__(self, *, answered: bool) -> None:
        self._answered = answered

    def code(self) -> int:
        return 0

    def done(self) -> bool:
        return self._answered

    def time_remaining(self) -> None:
        return None

    async def write(self, message: bytes) -> None:
        raise grpc.aio.InternalError("the batch failed")


async def generating(request: bytes, context: Any) -> AsyncIterator[bytes]:
    yield request
    yield request


async def writing(request: bytes, context: Any) -> None:
    await context.write(request)


async def writing_on(request: bytes, context: Any) -> None:
    with pytest.raises(grpc.aio.InternalError):
        await context.write(request)


async def serve(mesh: Mesh, behaviour: Any, context: Context) -> None:
    """Serve one call as grpc would."""

    async def continuation(details: Any) -> Any:
        return grpc.unary_stream_rpc_method_handler(behaviour)

    handler = await interceptor_of("aio", mesh).intercept_service(continuation, Details())
    request = handler.request_deserializer(b"hi")
    responses = handler.unary_stream(request, context)
    if behaviour is generating:
        await anext(responses)
        await responses.aclose()
    elif behaviour is writing:
        with pytest.raises(grpc.aio.InternalError):
            await responses
    else:
        await responses


async def run(behaviour: Any, context: Context) -> Leg:
    """Serve one call in a task of its own, and return its live leg."""
    with Backend(answering) as backend, running_mesh(config(target(backend.address))) as (mesh, sink):
        await asyncio.create_task(serve(mesh, behaviour, context))
        legs = await asyncio.to_thread(sink.wait_for_legs, 2)
    return next(leg for leg in legs if leg.role == Role.LIVE)


@pytest.mark.parametrize("behaviour", [generating, writing, writing_on])
async def test_the_client_has_left_where_a_write_fails_and_no_status_is_sent(behaviour: Any) -> None:
    live = await run(behaviour, Context(answered=False))
    assert (live.status, live.end) == ("CANCELLED", CallEnd.CANCELLED)


async def test_responses_that_nobody_asks_for_though_the_call_was_answered_have_no_status() -> None:
    live = await run(generating, Context(answered=True))
    assert (live.status, live.end) == (None, CallEnd.CUT)

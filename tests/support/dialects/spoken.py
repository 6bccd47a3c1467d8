"""Calls in a protocol that somebody else defined: who says what in them, and what is to be read of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import Message
from support.filled import filled
from support.meshes import target
from support.servers import is_aio
from support.worlds import LIVE, world

from shadowmesh.model import Leg
from shadowmesh.schema.descriptors import message_class
from shadowmesh.testing import Backend, ReceivedCall

UNARY, SERVER_STREAM, BIDI = "unary_unary", "unary_stream", "stream_stream"
STREAM_UNARY = "stream_unary"


def view(name: str, **fields: Any) -> Message:
    """Return a message of a view, ``smg.VllmChunk``."""
    message: Message = filled(message_class(f"shadowmesh.views.{name}"), **fields)
    return message


@dataclass(frozen=True)
class Said:
    """What a server answers a call with, and how the call ends."""

    messages: Sequence[Message]
    status: str = "OK"


@dataclass(frozen=True)
class Spoken:
    """
    A call to a live server that is mirrored to a shadow.

    ``asked``, ``answered`` and ``answered_by_shadow`` are the fields that are to be read, of each exchange of the call;
    ``status`` and ``status_of_shadow`` are what the legs are to have.
    """

    protocol: str
    method: str
    arity: str
    requests: Sequence[Message]
    live: Said
    shadow: Said
    asked: Sequence[dict[str, Any]]
    answered: Sequence[dict[str, Any]]
    answered_by_shadow: Sequence[dict[str, Any]]
    alike: bool = True
    """Whether both gave the same answer."""
    status: str = "OK"
    status_of_shadow: str = "OK"
    costs: float | None = None
    """What the live answer says it cost, in dollars."""
    reads: frozenset[str] = field(default=frozenset())
    """What of it the README says is read: text, ids, tokens."""


class Server(grpc.GenericRpcHandler):
    """A live server, of the colour of ``kind``, that answers every call with what it was told."""

    def __init__(self, kind: str, arity: str, said: Said) -> None:
        self._said = said
        self._handler: Any = {
            UNARY: grpc.unary_unary_rpc_method_handler(self._aio_one if is_aio(kind) else self._one),
            SERVER_STREAM: grpc.unary_stream_rpc_method_handler(self._aio_many if is_aio(kind) else self._many),
            STREAM_UNARY: grpc.stream_unary_rpc_method_handler(self._aio_last if is_aio(kind) else self._last),
            BIDI: grpc.stream_stream_rpc_method_handler(self._aio_bidi if is_aio(kind) else self._bidi),
        }[arity]

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return self._handler

    def _messages(self) -> list[bytes]:
        return [message.SerializeToString() for message in self._said.messages]

    def _one(self, request: bytes, context: Any) -> bytes:
        self._end(context)
        return self._messages()[0]

    def _many(self, request: bytes, context: Any) -> Iterator[bytes]:
        yield from self._messages()
        self._end(context)

    def _bidi(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        for _ in requests:
            pass
        yield from self._many(b"", context)

    def _last(self, requests: Iterator[bytes], context: Any) -> bytes:
        for _ in requests:
            pass
        return self._one(b"", context)

    def _end(self, context: Any) -> None:
        if self._said.status != "OK":
            context.abort(grpc.StatusCode[self._said.status], "as told")

    async def _aio_one(self, request: bytes, context: Any) -> bytes:
        await self._aio_end(context)
        return self._messages()[0]

    async def _aio_many(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        for message in self._messages():
            yield message
        await self._aio_end(context)

    async def _aio_bidi(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for _ in requests:
            pass
        async for message in self._aio_many(b"", context):
            yield message

    async def _aio_last(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        async for _ in requests:
            pass
        return await self._aio_one(b"", context)

    async def _aio_end(self, context: Any) -> None:
        if self._said.status != "OK":
            await context.abort(grpc.StatusCode[self._said.status], "as told")


def mirrored(kind: str, spoken: Spoken, **more: Any) -> tuple[list[Leg], list[Leg]]:
    """Make the call; return the live legs and the shadow's, of each exchange in the order of their requests."""

    def shadow(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        for _ in requests:
            pass
        for message in spoken.shadow.messages:
            yield message.SerializeToString()
        if spoken.shadow.status != "OK":
            context.abort(grpc.StatusCode[spoken.shadow.status], "as told")

    settings = {"protocol": spoken.protocol, "output_digest": True, **more}
    carrier = "loop" if is_aio(kind) else "thread"
    with (
        Backend(shadow) as backend,
        world(
            kind,
            carrier,
            target(backend.address),
            handler=Server(kind, spoken.arity, spoken.live),
            methods=(spoken.method,),
            **settings,
        ) as running,
    ):
        heard = _call(getattr(running.server.channel, spoken.arity)(spoken.method), spoken)
        assert heard == [message.SerializeToString() for message in spoken.live.messages][: len(heard)]
        legs = running.settle(len(spoken.asked), grace=20.0)
    return legs[LIVE], legs["candidate"]


def _call(multicallable: Any, spoken: Spoken) -> list[bytes]:
    requests = [request.SerializeToString() for request in spoken.requests]
    sent = iter(requests) if spoken.arity in (BIDI, STREAM_UNARY) else requests[0]
    heard: list[bytes] = []
    with suppress(grpc.RpcError):
        answer = multicallable(sent, timeout=20)
        # What came before an error stays.
        heard.extend([answer] if spoken.arity in (UNARY, STREAM_UNARY) else answer)
    return heard

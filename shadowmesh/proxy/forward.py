"""
Every method, forwarded byte for byte in its true shape.

What the caller sees is what the live server sent: messages, initial and trailing metadata, status, details. Headers go
to the caller with the first message, or as soon as the live server has put something into them, and never before it has
answered: a client that retries may do so only until headers arrive.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, NoReturn

import grpc
import grpc.aio

from shadowmesh.proxy.arity import Shapes
from shadowmesh.proxy.metadata import inbound, outbound
from shadowmesh.proxy.upstream import Upstream, half_close, send
from shadowmesh.rpc import Arity

# Names of methods come from clients.
_MOST_METHODS = 1024
_MOMENT = 1.0
_BESIDE_HEADERS = 0.1
_BESIDE_END = 0.001

_FACTORIES: dict[Arity, Callable[..., Any]] = {
    Arity.UNARY_UNARY: grpc.unary_unary_rpc_method_handler,
    Arity.UNARY_STREAM: grpc.unary_stream_rpc_method_handler,
    Arity.STREAM_UNARY: grpc.stream_unary_rpc_method_handler,
    Arity.STREAM_STREAM: grpc.stream_stream_rpc_method_handler,
}


class Forwarder(grpc.GenericRpcHandler):
    """Has a handler for every method there may be."""

    def __init__(self, upstream: Upstream, shapes: Shapes) -> None:
        self._upstream = upstream
        self._shapes = shapes
        self._handlers: dict[tuple[str, Arity], Any] = {}
        self._generation = upstream.generation

    def service(self, handler_call_details: Any) -> Any:
        """Return the handler of a method."""
        method = handler_call_details.method
        arity = self._shapes.of(method)
        if self._generation != self._upstream.generation:
            self._generation = self._upstream.generation
            self._handlers.clear()
        found = self._handlers.get((method, arity))
        if found is None:
            found = _FACTORIES[arity](_BEHAVIOURS[arity](self._upstream.method(method, arity)))
            if len(self._handlers) < _MOST_METHODS:
                self._handlers[method, arity] = found
        return found


def _unary_unary(method: Any) -> Callable[[Any, Any], Any]:
    async def behaviour(request: bytes, context: Any) -> bytes:
        call = method(request, timeout=context.time_remaining(), metadata=inbound(context.invocation_metadata()))
        try:
            response: bytes = await call
        except grpc.aio.AioRpcError as error:
            await _refuse(call, context, error)
        await _answered(call, context)
        return response

    return behaviour


def _unary_stream(method: Any) -> Callable[[Any, Any], Any]:
    async def behaviour(request: bytes, context: Any) -> AsyncIterator[bytes]:
        call = method(request, timeout=context.time_remaining(), metadata=inbound(context.invocation_metadata()))
        try:
            async for message in _messages(call, context):
                yield message
        finally:
            # An abandoned call is never collected (grpc/grpc#43462); of an ended one nothing changes.
            call.cancel()

    return behaviour


def _stream_unary(method: Any) -> Callable[[Any, Any], Any]:
    async def behaviour(requests: Any, context: Any) -> bytes:
        call = method(timeout=context.time_remaining(), metadata=inbound(context.invocation_metadata()))
        sending = asyncio.create_task(_pass_on(requests, call))
        try:
            response: bytes = await call
        except grpc.aio.AioRpcError as error:
            await _refuse(call, context, error)
        finally:
            call.cancel()
            _let_go(sending)
        await _answered(call, context)
        return response

    return behaviour


def _stream_stream(method: Any) -> Callable[[Any, Any], Any]:
    async def behaviour(requests: Any, context: Any) -> AsyncIterator[bytes]:
        call = method(timeout=context.time_remaining(), metadata=inbound(context.invocation_metadata()))
        sending = asyncio.create_task(_pass_on(requests, call))
        try:
            async for message in _messages(call, context):
                yield message
        finally:
            call.cancel()
            _let_go(sending)

    return behaviour


_BEHAVIOURS: dict[Arity, Callable[[Any], Callable[[Any, Any], Any]]] = {
    Arity.UNARY_UNARY: _unary_unary,
    Arity.UNARY_STREAM: _unary_stream,
    Arity.STREAM_UNARY: _stream_unary,
    Arity.STREAM_STREAM: _stream_stream,
}


async def _pass_on(requests: Any, call: Any) -> None:
    """Send on what the caller sends, each message when the one before has gone, and his half-close."""
    try:
        await call.wait_for_connection()
    except grpc.aio.AioRpcError:
        return
    async for message in requests:
        if not await send(call, message):
            return
    # grpc shows the requests of a caller who has left as if he had ended them, and cancels us right after. A live
    # server that saw them end would take what it has for all there is.
    await asyncio.sleep(_BESIDE_END)
    await half_close(call)


def _let_go(task: asyncio.Task[Any]) -> None:
    task.cancel()
    # What it ended with is nobody's: the call has its status.
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())


async def _messages(call: Any, context: Any) -> AsyncIterator[bytes]:
    """Return the answers of a stream as they come, and end as the call does."""
    try:
        if initial := outbound(await call.initial_metadata()):
            await context.send_initial_metadata(initial)
            message = await call.read()
        else:
            message = await _first(call, context)
        while message is not grpc.aio.EOF:
            yield message
            message = await call.read()
    except grpc.aio.AioRpcError as error:
        await _end(context, error.code(), error.details(), error.trailing_metadata())
    else:
        await _end(context, await call.code(), await call.details(), await call.trailing_metadata())


async def _first(call: Any, context: Any) -> Any:
    """Return the first message, and send headers on that say nothing where it does not come with them."""
    reading = asyncio.create_task(call.read())
    try:
        await asyncio.wait((reading,), timeout=_BESIDE_HEADERS)
        # A refusal looks as if it had such headers, and has none; but then its status is here.
        if not reading.done() and not call.done():
            await context.send_initial_metadata(())
        return await reading
    finally:
        _let_go(reading)


async def _answered(call: Any, context: Any) -> None:
    if initial := outbound(await call.initial_metadata()):
        await context.send_initial_metadata(initial)
    await _end(context, grpc.StatusCode.OK, await call.details(), await call.trailing_metadata())


async def _refuse(call: Any, context: Any, error: grpc.aio.AioRpcError) -> NoReturn:
    if initial := outbound(await call.initial_metadata()):
        await context.send_initial_metadata(initial)
    await _end(context, error.code(), error.details(), error.trailing_metadata())
    raise error


async def _end(context: Any, code: grpc.StatusCode, details: str | None, trailing: Any) -> None:
    """Tell the caller how the call ended; raises unless that is OK."""
    trailing = outbound(trailing)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED and context.time_remaining() == 0.0:
        # The caller's own deadline, of which grpc tells its side of us a moment later, and whoever looks on with it.
        await asyncio.sleep(_MOMENT)
    if code is not grpc.StatusCode.OK:
        await context.abort(code, details or "", trailing)
    if trailing:
        context.set_trailing_metadata(trailing)
    if details:
        context.set_details(details)

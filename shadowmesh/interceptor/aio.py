"""The interceptor for ``grpc.aio.server``."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from types import FunctionType, MethodType
from typing import Any

import grpc
import grpc.aio

from shadowmesh.interceptor.call import LiveCall, time_left
from shadowmesh.interceptor.context import ReadWriteContext, StatusContext
from shadowmesh.interceptor.handlers import Parts, Wires, put_together, take_apart
from shadowmesh.interceptor.streams import AsyncRequests, Requests, relay
from shadowmesh.mirror.live import LiveSide
from shadowmesh.names import CallEnd, DropReason
from shadowmesh.policy.live_gate import Ticket

Begin = Callable[[Any, Callable[[], Any]], LiveCall | None]
"""Begins an exchange, from the context and from who can tell its status."""


class AioInterceptor(grpc.aio.ServerInterceptor):
    """Taps the calls of an asyncio server; give it to ``grpc.aio.server(interceptors=[...])``."""

    def __init__(self, live: LiveSide) -> None:
        self._live = live
        self._started = False

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        """Return the handler untouched, or tapped for this one call."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        if not self._started and self._live.covers(handler_call_details.method):
            # Also where nothing is sampled: the funnel is to say so.
            self._started = True
            self._live.start()
        metadata = handler_call_details.invocation_metadata
        ticket = self._live.decide(handler_call_details.method, metadata)
        if ticket is None:
            return handler
        try:
            return self._tapped(handler, ticket, handler_call_details.method, metadata)
        except Exception as error:
            self._live.faults.report("interceptor", error)
            return handler

    def _tapped(self, handler: Any, ticket: Ticket, method: str, metadata: Any) -> Any:
        parts = take_apart(handler)
        if parts is None:
            self._live.refuse(ticket, DropReason.UNSUPPORTED_HANDLER)
            return handler
        # After its loop was closed, the carrier `loop` starts anew in the one that runs now.
        self._live.start()
        wires = Wires(parts, lambda: self._live.refuse(ticket, DropReason.NOT_STARTED))
        # Interceptors run in the task of their call. grpc.aio cancels it when the client leaves and swallows the
        # cancellation, so that the request to cancel is all there is to see afterwards.
        task = asyncio.current_task()

        def begin(context: Any, code: Callable[[], Any]) -> LiveCall | None:
            return self._begin(ticket, parts, wires, method, metadata, context, code, task)

        return put_together(parts, _behaviour(parts, begin), wires)

    def _begin(
        self,
        ticket: Ticket,
        parts: Parts,
        wires: Wires,
        method: str,
        metadata: Any,
        context: Any,
        code: Callable[[], Any],
        task: asyncio.Task[Any] | None,
    ) -> LiveCall | None:
        wires.begin()
        tap = None
        try:
            deadline = time_left(context)
            tap = self._live.begin(
                ticket,
                method=method,
                arity=parts.arity,
                metadata=metadata,
                request=wires.request,
                deadline=deadline,
            )
            if tap is None:
                return None
            call = LiveCall(
                tap,
                clock=self._live.clock,
                code=code,
                left=lambda: task is not None and task.cancelling() > 0,
                left_for_good=True,
                deadline=deadline,
                unserializable=grpc.StatusCode.UNKNOWN,
                none_is_empty=True,
            )
            wires.attach(call)
            return call
        except Exception as error:
            self._live.faults.report("interceptor", error)
            if tap is not None:
                tap.done(self._live.clock(), "", CallEnd.CUT)
            return None


def _asking(context: Any) -> Callable[[], Any]:
    """Return how to ask for the status later: a context that somebody put in between may have no ``code``."""

    def code() -> Any:
        return context.code()

    return code


def _behaviour(parts: Parts, begin: Begin) -> Callable[[Any, Any], Any]:
    """
    Return a behaviour of the same kind as the original: grpc and other interceptors tell kinds apart by asking
    ``inspect``, so a generator must stay a generator and a coroutine a coroutine.
    """
    if isinstance(parts.behaviour, (FunctionType, MethodType)):
        # What ``inspect`` answers for these, in a tenth of the time.
        flags = getattr(getattr(parts.behaviour, "__code__", None), "co_flags", 0)
        if flags & inspect.CO_COROUTINE:
            return _coroutine(parts, begin)
        if flags & inspect.CO_ASYNC_GENERATOR:
            return _generator(parts, begin)
    if inspect.isasyncgenfunction(parts.behaviour):
        return _generator(parts, begin)
    if inspect.iscoroutinefunction(parts.behaviour):
        return _coroutine(parts, begin)
    return _synchronous(parts, begin)


def _generator(parts: Parts, begin: Begin) -> Callable[[Any, Any], Any]:
    async def behaviour(request: Any, context: Any) -> AsyncIterator[Any]:
        call = begin(context, _asking(context))
        if call is None:
            async for message in parts.behaviour(request, context):
                yield message
            return
        request, context = _streaming_request(parts, request, context, call)
        try:
            async for message in parts.behaviour(request, context):
                began = call.now()
                yield message
                call.tap.stall(call.now() - began)
        except asyncio.CancelledError:
            call.cancelled()
            raise
        except GeneratorExit:
            # grpc lets go of the generator when the client leaves while a message is on its way.
            call.dropped()
            raise
        except BaseException:
            call.failed()
            raise
        call.completed()

    return behaviour


def _coroutine(parts: Parts, begin: Begin) -> Callable[[Any, Any], Any]:
    async def behaviour(request: Any, context: Any) -> Any:
        call = begin(context, _asking(context))
        if call is None:
            return await parts.behaviour(request, context)
        request, context = _streaming_request(parts, request, context, call)
        try:
            response = await parts.behaviour(request, context)
        except asyncio.CancelledError:
            call.cancelled()
            raise
        except BaseException:
            call.failed()
            raise
        if parts.arity.response_streaming:
            call.completed()
        else:
            call.returned()
        return response

    return behaviour


def _synchronous(parts: Parts, begin: Begin) -> Callable[[Any, Any], Any]:
    """For the handlers of a synchronous servicer, which grpc.aio runs in a thread pool."""

    def behaviour(request: Any, context: Any) -> Any:
        watched = StatusContext(context)
        call = begin(context, lambda: watched.status)
        if call is None:
            return parts.behaviour(request, context)
        if parts.arity.request_streaming:
            request = Requests(request, call)
        try:
            response = parts.behaviour(request, watched)
        except BaseException:
            call.failed()
            raise
        if parts.arity.response_streaming:
            # grpc.aio iterates over what such a handler returns; the synchronous server only asks for the next.
            return relay(iter(response), call)
        call.returned()
        return response

    return behaviour


def _streaming_request(parts: Parts, request: Any, context: Any, call: LiveCall) -> tuple[Any, Any]:
    """Handlers that stream may read and write through the context as well as through iterators."""
    if parts.arity.request_streaming:
        return AsyncRequests(request, call), ReadWriteContext(context, call)
    if parts.arity.response_streaming and inspect.iscoroutinefunction(parts.behaviour):
        return request, ReadWriteContext(context, call)
    return request, context

"""The interceptor for ``grpc.aio.server``."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

import grpc
import grpc.aio

from shadowmesh.interceptor.abort_handlers import watched
from shadowmesh.interceptor.call import AIO, LiveCall
from shadowmesh.interceptor.context import ReadWriteContext, StatusContext
from shadowmesh.interceptor.handlers import Parts, Remembered, put_together, take_apart
from shadowmesh.interceptor.streams import AsyncRequests, Requests, relay
from shadowmesh.mirror.live import LiveSide
from shadowmesh.names import DropReason
from shadowmesh.policy.plan import Ticket

# grpc.aio shows a handler the requests of a client who has left as if he had ended them, and cancels its task right
# after: mostly within a tenth of this.
_BESIDE_END = 0.001
# What a loop that was held up has to do first: to hear from grpc that the client has left, and to cancel the task.
_TURNS = 4


class _Tapped(NamedTuple):
    """A handler's parts, and what makes a behaviour of the same kind for one call."""

    parts: Parts
    behaviour: Callable[[Parts, LiveCall], Callable[[Any, Any], Any]]


class AioInterceptor(grpc.aio.ServerInterceptor):
    """
    Taps the calls of an asyncio server; give it to ``grpc.aio.server(interceptors=[...])``.

    Each of several sides decides and taps for itself, the first nearest to the handler.
    """

    def __init__(self, live: LiveSide, *others: LiveSide) -> None:
        self._sides = (live, *others)
        self._handlers = Remembered(_look_at)

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        """Return the handler untouched, or tapped for this one call."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method, metadata = handler_call_details.method, handler_call_details.invocation_metadata
        find_out: Callable[[str, Any], _Tapped | None] = self._handlers.of
        for live in self._sides:
            if not live.started and live.covers(method):
                # Also where nothing is sampled: the funnel is to say so.
                live.start()
            if method in live.aborts.methods:
                handler = watched(handler, method, live)
                find_out = _look_at_tapped
                continue
            ticket = live.decide(method, metadata)
            if ticket is None:
                continue
            try:
                handler = self._tapped(live, handler, ticket, method, metadata, find_out)
            except Exception as error:
                live.faults.report("interceptor", error)
            # What is tapped is made for this call: to remember it would keep the call.
            find_out = _look_at_tapped
        return handler

    def _tapped(
        self,
        live: LiveSide,
        handler: Any,
        ticket: Ticket,
        method: str,
        metadata: Any,
        find_out: Callable[[str, Any], _Tapped | None],
    ) -> Any:
        try:
            tapped = find_out(method, handler)
        except Exception:
            live.refuse(ticket, DropReason.NOT_RECORDED)
            raise
        if tapped is None:
            live.refuse(ticket, DropReason.UNSUPPORTED_HANDLER)
            return handler
        parts = tapped.parts
        call = LiveCall(live, ticket, parts, AIO, method, metadata)
        return put_together(parts, tapped.behaviour(parts, call), call.deserialize, call.serialize)


def _look_at(handler: Any) -> _Tapped | None:
    parts = take_apart(handler)
    return None if parts is None else _Tapped(parts, _kind(parts.behaviour))


def _look_at_tapped(_: str, handler: Any) -> _Tapped | None:
    return _look_at(handler)


def _kind(behaviour: Any) -> Callable[[Parts, LiveCall], Callable[[Any, Any], Any]]:
    """
    Return what makes a behaviour of the same kind as the original: grpc and other interceptors tell kinds apart by
    asking ``inspect``, so a generator must stay a generator and a coroutine a coroutine.
    """
    if inspect.isasyncgenfunction(behaviour):
        return _generator
    return _coroutine if inspect.iscoroutinefunction(behaviour) else _synchronous


def _begin(call: LiveCall, context: Any, code: Callable[[], Any] | None = None) -> bool:
    # Interceptors and handlers run in the task of their call. grpc.aio cancels it when the client leaves and swallows
    # the cancellation, so that the request to cancel is all there is to see afterwards.
    return call.begin(context, code=code, left=_left(), later=_later)


def _later(then: Callable[[], None]) -> None:
    """Call ``then`` when a client who has left is known to have."""
    loop = asyncio.get_running_loop()
    loop.call_later(_BESIDE_END, _in_turns, loop, then, _TURNS)


def _in_turns(loop: asyncio.AbstractEventLoop, then: Callable[[], None], turns: int) -> None:
    if turns:
        loop.call_soon(_in_turns, loop, then, turns - 1)
    else:
        then()


def _left() -> Callable[[], Any] | None:
    """Return how to ask whether this call's task was asked to end; task factories may make others than asyncio's."""
    return getattr(asyncio.current_task(), "cancelling", None)


def _failed(call: LiveCall) -> None:
    # The interceptors before ours have had their say when the call's task is over; a task of another make may not tell.
    ends = getattr(asyncio.current_task(), "add_done_callback", None)
    call.failed(final=ends is None)
    if ends is not None:
        ends(lambda _: call.terminated())


def _generator(parts: Parts, call: LiveCall) -> Callable[[Any, Any], Any]:
    async def behaviour(request: Any, context: Any) -> AsyncIterator[Any]:
        if not _begin(call, context):
            async for message in parts.behaviour(request, context):
                yield message
            return
        task = asyncio.current_task()
        request, context = _streaming_request(parts, request, context, call)
        try:
            async for message in parts.behaviour(request, context):
                began = call.now()
                yield message
                call.waited(began)
        except asyncio.CancelledError:
            call.cancelled()
            raise
        except GeneratorExit:
            _dropped(call, context, task)
            raise
        except BaseException:
            _failed(call)
            raise
        call.completed()

    return behaviour


def _dropped(call: LiveCall, context: Any, task: Any) -> None:
    """
    The generator is let go of, as grpc does when the client leaves while a message is on its way. That the write has
    failed may be known before the task is asked to end: then only its end tells, by which no status was sent.
    """
    ends, answered = getattr(task, "add_done_callback", None), getattr(context, "done", None)
    if ends is None or answered is None or call.is_gone():
        call.dropped()
        return

    def ended(_: Any) -> None:
        if not answered():
            call.broken()
        call.dropped()

    ends(ended)


def _coroutine(parts: Parts, call: LiveCall) -> Callable[[Any, Any], Any]:
    async def behaviour(request: Any, context: Any) -> Any:
        if not _begin(call, context):
            return await parts.behaviour(request, context)
        request, context = _streaming_request(parts, request, context, call)
        try:
            response = await parts.behaviour(request, context)
        except asyncio.CancelledError:
            call.cancelled()
            raise
        except BaseException:
            _failed(call)
            raise
        if parts.arity.response_streaming:
            call.completed()
        else:
            call.returned()
        return response

    return behaviour


def _synchronous(parts: Parts, call: LiveCall) -> Callable[[Any, Any], Any]:
    """For the handlers of a synchronous servicer, which grpc.aio runs in a thread pool."""
    left, loop = _left(), asyncio.get_running_loop()

    def later(then: Callable[[], None]) -> None:
        loop.call_soon_threadsafe(_later, then)

    def behaviour(request: Any, context: Any) -> Any:
        watched = StatusContext(context)
        # In a pool: the task of the call is the one that made ``call``.
        if not call.begin(context, code=lambda: watched.status, left=left, later=later):
            return parts.behaviour(request, context)
        if parts.arity.request_streaming:
            request = Requests(request, call)
        try:
            response = parts.behaviour(request, watched)
        except BaseException:
            call.failed(final=True)
            raise
        if parts.arity.response_streaming:
            # grpc.aio iterates over what such a handler returns; the synchronous server only asks for the next.
            return relay(iter(response), call, final=True)
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

"""The interceptor for ``grpc.server``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from shadowmesh.interceptor.abort_handlers import watched
from shadowmesh.interceptor.call import SYNC, LiveCall
from shadowmesh.interceptor.handlers import Parts, Remembered, put_together, take_apart
from shadowmesh.interceptor.streams import Requests, relay
from shadowmesh.mirror.live import LiveSide
from shadowmesh.names import DropReason
from shadowmesh.policy.plan import Ticket


class SyncInterceptor(grpc.ServerInterceptor):
    """
    Taps the calls of a synchronous server; give it to ``grpc.server(interceptors=[...])``.

    Each of several sides decides and taps for itself, the first nearest to the handler.
    """

    def __init__(self, live: LiveSide, *others: LiveSide) -> None:
        self._sides = (live, *others)
        self._handlers = Remembered(take_apart)

    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        """Return the handler untouched, or tapped for this one call."""
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        method, metadata = handler_call_details.method, handler_call_details.invocation_metadata
        find_out: Callable[[str, Any], Parts | None] = self._handlers.of
        for live in self._sides:
            if not live.started and live.covers(method):
                # Also where nothing is sampled: the funnel is to say so.
                live.start()
            if method in live.aborts.methods:
                handler = watched(handler, method, live)
                find_out = _take_apart_tapped
                continue
            ticket = live.decide(method, metadata)
            if ticket is None:
                continue
            try:
                handler = self._tapped(live, handler, ticket, method, metadata, find_out)
            except Exception as error:
                live.faults.report("interceptor", error)
            # What is tapped is made for this call: to remember it would keep the call.
            find_out = _take_apart_tapped
        return handler

    def _tapped(
        self,
        live: LiveSide,
        handler: Any,
        ticket: Ticket,
        method: str,
        metadata: Any,
        find_out: Callable[[str, Any], Parts | None],
    ) -> Any:
        try:
            parts = find_out(method, handler)
        except Exception:
            live.refuse(ticket, DropReason.NOT_RECORDED)
            raise
        if parts is None:
            live.refuse(ticket, DropReason.UNSUPPORTED_HANDLER)
            return handler
        call = LiveCall(live, ticket, parts, SYNC, method, metadata)
        return put_together(parts, _behaviour(parts, call), call.deserialize, call.serialize)


def _take_apart_tapped(_: str, handler: Any) -> Parts | None:
    return take_apart(handler)


def _begin(call: LiveCall, context: Any) -> bool:
    # After the end, a call that went well is not active either: see ``Server.left_for_good``.
    if not call.begin(context, code=None, left=lambda: not context.is_active()):
        return False
    try:
        if not context.add_callback(call.terminated):
            call.cancelled()
    except Exception as error:
        call.fault(error)
    return True


def _behaviour(parts: Parts, call: LiveCall) -> Callable[[Any, Any], Any]:
    inner, arity = parts.behaviour, parts.arity

    def behaviour(request: Any, context: Any) -> Any:
        if not _begin(call, context):
            return inner(request, context)
        try:
            response = inner(Requests(request, call) if arity.request_streaming else request, context)
        except BaseException:
            call.failed()
            raise
        if arity.response_streaming:
            return relay(response, call)
        call.returned()
        return response

    return behaviour

"""The interceptor for ``grpc.server``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from shadowmesh.interceptor.call import SYNC, LiveCall
from shadowmesh.interceptor.handlers import Parts, Remembered, put_together, take_apart
from shadowmesh.interceptor.streams import Requests, relay
from shadowmesh.mirror.live import LiveSide
from shadowmesh.names import DropReason
from shadowmesh.policy.live_gate import Ticket


class SyncInterceptor(grpc.ServerInterceptor):
    """Taps the calls of a synchronous server; give it to ``grpc.server(interceptors=[...])``."""

    def __init__(self, live: LiveSide) -> None:
        self._live = live
        self._handlers = Remembered(take_apart)

    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        """Return the handler untouched, or tapped for this one call."""
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        method, metadata = handler_call_details.method, handler_call_details.invocation_metadata
        if not self._live.started and self._live.covers(method):
            # Also where nothing is sampled: the funnel is to say so.
            self._live.start()
        ticket = self._live.decide(method, metadata)
        if ticket is None:
            return handler
        try:
            return self._tapped(handler, ticket, method, metadata)
        except Exception as error:
            self._live.faults.report("interceptor", error)
            return handler

    def _tapped(self, handler: Any, ticket: Ticket, method: str, metadata: Any) -> Any:
        try:
            parts = self._handlers.of(method, handler)
        except Exception:
            self._live.refuse(ticket, DropReason.NOT_RECORDED)
            raise
        if parts is None:
            self._live.refuse(ticket, DropReason.UNSUPPORTED_HANDLER)
            return handler
        call = LiveCall(self._live, ticket, parts, SYNC, method, metadata)
        return put_together(parts, _behaviour(parts, call), call.deserialize, call.serialize)


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

"""The interceptor for ``grpc.server``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from shadowmesh.interceptor.call import LiveCall, time_left
from shadowmesh.interceptor.handlers import Parts, Wires, put_together, take_apart
from shadowmesh.interceptor.streams import Requests, relay
from shadowmesh.mirror.live import LiveSide
from shadowmesh.names import CallEnd, DropReason
from shadowmesh.policy.live_gate import Ticket


class SyncInterceptor(grpc.ServerInterceptor):
    """Taps the calls of a synchronous server; give it to ``grpc.server(interceptors=[...])``."""

    def __init__(self, live: LiveSide) -> None:
        self._live = live
        self._started = False

    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        """Return the handler untouched, or tapped for this one call."""
        handler = continuation(handler_call_details)
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
        wires = Wires(parts, lambda: self._live.refuse(ticket, DropReason.NOT_STARTED))

        def begin(context: Any) -> LiveCall | None:
            return self._begin(ticket, parts, wires, method, metadata, context)

        return put_together(parts, _behaviour(parts, begin), wires)

    def _begin(
        self, ticket: Ticket, parts: Parts, wires: Wires, method: str, metadata: Any, context: Any
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
                code=lambda: context.code(),  # noqa: PLW0108 - a context put in between may have no such method
                left=lambda: not context.is_active(),
                # After the end, a call that went well is not active either.
                left_for_good=False,
                deadline=deadline,
                unserializable=grpc.StatusCode.INTERNAL,
                none_is_empty=False,
            )
            wires.attach(call)
            if not context.add_callback(call.terminated):
                call.cancelled()
            return call
        except Exception as error:
            self._live.faults.report("interceptor", error)
            if tap is not None:
                tap.done(self._live.clock(), "", CallEnd.CUT)
            return None


def _behaviour(parts: Parts, begin: Callable[[Any], LiveCall | None]) -> Callable[[Any, Any], Any]:
    inner, arity = parts.behaviour, parts.arity

    def behaviour(request: Any, context: Any) -> Any:
        call = begin(context)
        if call is None:
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

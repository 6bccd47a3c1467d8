"""How a shadow is started: by which API, with what metadata, under which span."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from shadowmesh.mirror.call_record import CallRecord
from shadowmesh.mirror.shadow import Dispatch, Shadow
from shadowmesh.mirror.shadow_call import ShadowCall
from shadowmesh.mirror.shadow_stream import ShadowStream
from shadowmesh.mirror.targets import Target
from shadowmesh.model import Metadata
from shadowmesh.names import META_INSTANCE, META_PAIR_ID, META_ROLE, META_TRACEPARENT, META_TRACESTATE, Role
from shadowmesh.telemetry.propagation import new_span_id, traceparent


class Launcher:
    """Starts shadows, in the engine's loop."""

    def __init__(self, *, instance_id: str, max_call_bytes: int, clock: Callable[[], int]) -> None:
        self._instance_id = instance_id
        self._max_call_bytes = max_call_bytes
        self._clock = clock
        # Asked once: it costs a system call each time, and an engine never changes its loop.
        self._loop: asyncio.AbstractEventLoop | None = None

    def launch(self, record: CallRecord, target: Target, finished: Callable[[], None]) -> Shadow:
        """Return a shadow of this call at ``target``; ``finished`` is called in the engine's loop when it is over."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        begin, span_id = record.begin, new_span_id()
        dispatch = Dispatch(
            loop=self._loop,
            multicallable=target.peer.channels.method(begin.method, begin.arity),
            arity=begin.arity,
            metadata=self._metadata(record, target, span_id),
            span_id=span_id,
            deadline=target.settings.deadline,
            max_bytes=self._max_call_bytes,
            clock=self._clock,
            finished=finished,
        )
        return ShadowStream(dispatch) if begin.arity.request_streaming else ShadowCall(dispatch)

    def _metadata(self, record: CallRecord, target: Target, span_id: int) -> Metadata:
        trace = record.trace
        ours: list[tuple[str, str | bytes]] = [
            (META_ROLE, Role.SHADOW),
            (META_PAIR_ID, f"{record.pair_id:032x}"),
            (META_INSTANCE, self._instance_id),
            (META_TRACEPARENT, traceparent(trace.trace_id, span_id, trace.flags)),
        ]
        if trace.state:
            ours.append((META_TRACESTATE, trace.state))
        return (*target.headers.filter(record.begin.metadata), *ours)

"""How a shadow is started: by which API, with what metadata, under which span, behind which gate."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from shadowmesh.mirror.call_record import CallRecord
from shadowmesh.mirror.gate import Gate
from shadowmesh.mirror.shadow import Dispatch, Shadow
from shadowmesh.mirror.shadow_call import ShadowCall
from shadowmesh.mirror.shadow_gate import GatedShadow
from shadowmesh.mirror.shadow_stream import ShadowStream
from shadowmesh.mirror.targets import Target
from shadowmesh.model import Metadata
from shadowmesh.names import META_PAIR_ID, META_ROLE, META_TARGET, META_TRACEPARENT, META_TRACESTATE, Role
from shadowmesh.policy.marker import chain, instances
from shadowmesh.policy.self_check import marker
from shadowmesh.telemetry.faults import Faults
from shadowmesh.telemetry.propagation import new_span_id, traceparent


class Launcher:
    """Starts shadows, in the engine's loop."""

    def __init__(self, *, instance_id: str, max_call_bytes: int, clock: Callable[[], int], faults: Faults) -> None:
        self._faults = faults
        self._instance_id = instance_id
        self._max_call_bytes = max_call_bytes
        self._clock = clock
        # Asked once: it costs a system call each time, and an engine never changes its loop.
        self._loop: asyncio.AbstractEventLoop | None = None

    def launch(self, record: CallRecord, target: Target, gate: Gate, finished: Callable[[], None]) -> Shadow:
        """
        Return a shadow of this call at ``target``; ``finished`` is called in the engine's loop when it is over.

        Raises:
            CredentialError: there is no gate, and what the target is called with is missing.
        """
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        start = partial(self._start, self._loop, record, target, new_span_id(), finished)
        if not gate.reads:
            return start()
        span_id: int = start.args[3]
        return GatedShadow(
            gate,
            start,
            span_id=span_id,
            begun_ns=record.begin.at_ns,
            clock=self._clock,
            finished=finished,
            faults=self._faults,
        )

    def _start(
        self,
        loop: asyncio.AbstractEventLoop,
        record: CallRecord,
        target: Target,
        span_id: int,
        finished: Callable[[], None],
    ) -> Shadow:
        begin = record.begin
        dispatch = Dispatch(
            loop=loop,
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
            (META_TARGET, marker(record.begin.experiment, target.settings.name)),
            *chain(instances(record.begin.metadata), self._instance_id),
            (META_TRACEPARENT, traceparent(trace.trace_id, span_id, trace.flags)),
        ]
        if trace.state:
            ours.append((META_TRACESTATE, trace.state))
        allowed = target.headers.filter(record.begin.metadata)
        own = target.peer.channels.credentials.metadata()
        if own:
            # What we say of ourselves stands alone: no server gets to choose between two.
            keys = {key for key, _ in own}
            allowed = tuple(entry for entry in allowed if entry[0] not in keys)
        return (*allowed, *own, *ours)

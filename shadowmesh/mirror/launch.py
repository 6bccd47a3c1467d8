"""How a shadow is started: by which API, with what metadata, under which span, behind which gate."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from shadowmesh.mirror.call_record import CallRecord
from shadowmesh.mirror.gate import Gate
from shadowmesh.mirror.identity import request_id
from shadowmesh.mirror.shadow import Dispatch, Shadow
from shadowmesh.mirror.shadow_call import ShadowCall
from shadowmesh.mirror.shadow_gate import GatedShadow
from shadowmesh.mirror.shadow_stream import ShadowStream
from shadowmesh.mirror.shares import SEVERAL, exchange_pair_id
from shadowmesh.mirror.tap import Capture
from shadowmesh.mirror.targets import Target
from shadowmesh.mirror.translated_shadow import TranslatedShadow
from shadowmesh.model import Metadata
from shadowmesh.names import META_PAIR_ID, META_ROLE, META_TARGET, META_TRACEPARENT, META_TRACESTATE, DropReason, Role
from shadowmesh.policy.limits import Tokens
from shadowmesh.policy.marker import chain, instances
from shadowmesh.policy.self_check import marker
from shadowmesh.telemetry.faults import Faults
from shadowmesh.telemetry.propagation import new_span_id, traceparent


class Launcher:
    """Starts shadows, in the engine's loop; ``answers`` is the credit of what they all answer."""

    def __init__(
        self, *, instance_id: str, max_call_bytes: int, answers: Tokens, clock: Callable[[], int], faults: Faults
    ) -> None:
        self._faults = faults
        self._instance_id = instance_id
        self._max_call_bytes = max_call_bytes
        self._answers = answers
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
        if not gate.reads:
            return self._start(self._loop, record, target, 0, new_span_id(), finished)
        gated = partial(self._gated, self._loop, record, target, gate)
        if gate.translation is None:
            return gated(0, finished)
        place = f"{record.begin.experiment}/{target.settings.name}"
        refused = partial(self._faults.report, place, f"{DropReason.UNTRANSLATABLE}: {SEVERAL}")
        return TranslatedShadow(gated, several=record.asks_in_exchanges, refused=refused, finished=finished)

    def _gated(
        self,
        loop: asyncio.AbstractEventLoop,
        record: CallRecord,
        target: Target,
        gate: Gate,
        exchange: int,
        finished: Callable[[], None],
    ) -> GatedShadow:
        """Return the shadow of a call, or of one of its exchanges where each is asked in a call of its own."""
        span_id = new_span_id()
        return GatedShadow(
            gate,
            partial(self._start, loop, record, target, exchange, span_id, finished),
            span_id=span_id,
            begun_ns=record.live.request_times[exchange] if exchange else record.begin.at_ns,
            clock=self._clock,
            finished=finished,
            faults=self._faults,
            own_id=request_id(exchange_pair_id(record.pair_id, exchange), target.settings.name),
        )

    def _start(
        self,
        loop: asyncio.AbstractEventLoop,
        record: CallRecord,
        target: Target,
        exchange: int,
        span_id: int,
        finished: Callable[[], None],
    ) -> Shadow:
        method, arity = record.call_of(target.settings.name)
        dispatch = Dispatch(
            loop=loop,
            multicallable=target.peer.channels.method(method, arity),
            arity=arity,
            metadata=self.metadata(record, target, span_id, exchange),
            span_id=span_id,
            deadline=target.settings.deadline,
            capture=Capture(self._answers, self._max_call_bytes),
            let_go=partial(self._faults.report, "shadow answer"),
            clock=self._clock,
            finished=finished,
        )
        return ShadowStream(dispatch) if arity.request_streaming else ShadowCall(dispatch)

    def metadata(self, record: CallRecord, target: Target, span_id: int, exchange: int = 0) -> Metadata:
        """
        Return what the calls made for one shadow carry, which may be one of a single ``exchange``.

        Raises:
            CredentialError: what the target is called with is missing.
        """
        trace, pair_id = record.trace, exchange_pair_id(record.pair_id, exchange)
        ours: list[tuple[str, str | bytes]] = [
            (META_ROLE, Role.SHADOW),
            (META_PAIR_ID, f"{pair_id:032x}"),
            (META_TARGET, marker(record.begin.experiment, target.settings.name)),
            *chain(instances(record.begin.metadata), self._instance_id),
            (META_TRACEPARENT, traceparent(trace.trace_id, span_id, trace.flags)),
        ]
        if trace.state:
            ours.append((META_TRACESTATE, trace.state))
        live = record.method_map.identity if record.method_map is not None else None
        allowed = target.headers.filter(record.begin.metadata)
        if live is not None and live.key is not None:
            allowed = tuple(entry for entry in allowed if entry[0] != live.key)
        own = target.peer.channels.credentials.metadata()
        if identity := _identity(record, target, pair_id):
            own = (*own, *(entry for entry in identity if entry[0] not in dict(own)))
        if own:
            # What we say of ourselves stands alone: no server gets to choose between two.
            keys = {key for key, _ in own}
            allowed = tuple(entry for entry in allowed if entry[0] not in keys)
        return (*allowed, *own, *ours)


def _identity(record: CallRecord, target: Target, pair_id: int) -> Metadata:
    """Return the entries that say who a shadow's request is, where its protocol says that in metadata."""
    method_map = record.map_of(target.settings.name)
    identity = method_map.identity if method_map is not None else None
    if identity is None or identity.key is None:
        return ()
    return identity.entries(record.begin.metadata, request_id(pair_id, target.settings.name))

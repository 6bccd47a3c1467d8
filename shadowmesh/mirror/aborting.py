"""
Shadows of calls that their client has ended by id, which need not end its stream.

An abort names live ids, and no shadow has one of these: the shadow's server is asked to end the shadow's own. It is
not an exchange, so it is in no funnel and has no leg; what it did is seen in the legs, whose servers end them.

- A shadow whose server knows nothing of it yet is stopped here, and so is one whose protocol has no such method.
- A live call that had ended before it was asked to has lost nothing by it, and neither does its shadow: a slower one
  would look as if it failed. (Where it was its client who had ended it, ``on_live_cancel`` has had its say.)
- ``on_live_cancel: detach`` holds for this way of leaving too.
- A server that does not end what it was asked to end, though the live one has, loses the call a little later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

import grpc
import grpc.aio

from shadowmesh.mirror.call_record import CallRecord
from shadowmesh.mirror.carrier import Receive
from shadowmesh.mirror.frames import Abort as AbortFrame
from shadowmesh.mirror.frames import Aborted
from shadowmesh.mirror.identity import request_id
from shadowmesh.mirror.open_call import Flight, OpenCall
from shadowmesh.mirror.targets import Target
from shadowmesh.model import Metadata
from shadowmesh.names import AbortResult, CallEnd
from shadowmesh.policy.experiment import OnLiveCancel
from shadowmesh.protocols.aborts import Abort
from shadowmesh.rpc import Arity
from shadowmesh.telemetry.faults import Faults

SECONDS = 5.0
"""What a server has to answer an abort, and then to end what it was asked to end."""
_LAST_SECONDS = 1.0
MOST_AT_ONCE = 64
LONGEST_ID = 1024

MetadataOf = Callable[[CallRecord, Target, int], Metadata]
"""Returns what the calls made for one shadow carry, whose span has this id."""


class _Shadow(NamedTuple):
    """One shadow that is to end."""

    call: OpenCall
    name: str
    flight: Flight

    @property
    def runs(self) -> bool:
        return self.call.running.get(self.name) is self.flight


class Aborting:
    """Knows by their live ids the calls whose shadows run; used in the engine's loop only."""

    def __init__(self, reply: Receive, metadata: MetadataOf, faults: Faults, *, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._reply = reply
        self._metadata = metadata
        self._faults = faults
        # Of as many ways to abort as protocol maps have.
        self._calls: dict[Abort, dict[str, set[OpenCall]]] = {}
        self._ids: dict[OpenCall, tuple[Abort, str]] = {}
        self._asking: set[asyncio.Task[None]] = set()
        self._waiting: set[asyncio.Task[None]] = set()

    def begun(self, call: OpenCall) -> None:
        """Take in a call whose first request is here."""
        record = call.record
        method_map = record.method_map
        if not call.running or method_map is None or method_map.abort is None or method_map.identity is None:
            return
        live_id = method_map.identity.of(record.requests[0], record.begin.metadata)
        if live_id and len(live_id) <= LONGEST_ID:
            self._ids[call] = (method_map.abort, live_id)
            self._calls.setdefault(method_map.abort, {}).setdefault(live_id, set()).add(call)

    def over(self, call: OpenCall) -> None:
        """Forget a call."""
        if call not in self._ids:
            return
        abort, live_id = self._ids.pop(call)
        calls = self._calls[abort]
        calls[live_id].discard(call)
        if not calls[live_id]:
            del calls[live_id]

    def take(self, frame: AbortFrame) -> None:
        """End the shadows of the calls that a client has had ended; what is not here is somebody else's."""
        for abort, calls in self._calls.items():
            if abort.method == frame.method:
                for live_id in abort.ids(frame.request):
                    for call in tuple(calls.get(live_id, ())):
                        self._end(call, frame.at_ns)

    async def close(self) -> None:
        """Wait a moment for answers, and then for nobody any more."""
        if self._asking:
            await asyncio.wait(self._asking, timeout=_LAST_SECONDS)
        left = (*self._asking, *self._waiting)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _end(self, call: OpenCall, at_ns: int) -> None:
        if call.live_done and call.record.live.ended_ns < at_ns:
            return
        # Once is enough.
        self.over(call)
        for name, flight in tuple(call.running.items()):
            if flight.target.settings.on_live_cancel is OnLiveCancel.DETACH:
                continue
            shadow = _Shadow(call, name, flight)
            abort = _abort_of(call.record, name)
            if abort is None or not flight.shadow.observation.sent:
                self._stop(shadow, AbortResult.STOPPED)
            elif len(self._asking) >= MOST_AT_ONCE:
                self._faults.report("abort", "too many at once")
                self._stop(shadow, AbortResult.FAILED)
            else:
                _run(self._ask(shadow, abort), self._asking)

    def _stop(self, shadow: _Shadow, result: AbortResult) -> None:
        """End a shadow ourselves, as its server sees it when a client leaves."""
        if shadow.runs:
            shadow.flight.shadow.stop(CallEnd.CANCELLED)
        self._count(shadow, result)

    def _count(self, shadow: _Shadow, result: AbortResult) -> None:
        self._reply(Aborted(0, shadow.call.record.begin.experiment, shadow.name, result.value, 1))

    async def _ask(self, shadow: _Shadow, abort: Abort) -> None:
        """Have the shadow's server end it."""
        record, target = shadow.call.record, shadow.flight.target
        try:
            metadata = self._metadata(record, target, shadow.flight.shadow.observation.span_id)
            ask: Any = target.peer.channels.method(abort.method, Arity.UNARY_UNARY)
            request = abort.request(request_id(record.pair_id, shadow.name))
            await _answered(ask(request, timeout=self._seconds, metadata=metadata))
        except Exception as error:
            status = error.code().name if isinstance(error, grpc.aio.AioRpcError) else type(error).__name__
            self._faults.report("abort", f"{abort.method} at {record.begin.experiment}/{shadow.name}: {status}")
            self._stop(shadow, AbortResult.FAILED)
            return
        self._count(shadow, AbortResult.ASKED)
        if shadow.runs:
            _run(self._see_it_end(shadow), self._waiting)

    async def _see_it_end(self, shadow: _Shadow) -> None:
        """Stop a shadow whose server has not done what it was asked, where the live one has."""
        await asyncio.sleep(self._seconds)
        if shadow.runs and shadow.call.live_done:
            shadow.flight.shadow.stop(CallEnd.CANCELLED)


def _run(work: Coroutine[Any, Any, None], tasks: set[asyncio.Task[None]]) -> None:
    task = asyncio.get_running_loop().create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)


async def _answered(call: Any) -> None:
    try:
        await call
    finally:
        # See ``shadow_call``: one that is abandoned is never collected.
        call.cancel()


def _abort_of(record: CallRecord, target: str) -> Abort | None:
    """Return how a shadow's server is asked to end it."""
    method_map = record.map_of(target)
    return method_map.abort if method_map is not None else None

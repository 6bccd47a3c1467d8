"""
The mirror engine: frames in, shadow calls out, records at the end.

One engine lives in one loop, given to it by a carrier. Everything a call needs is kept in one :class:`_OpenCall`
until its live leg and every shadow have ended; then it is recorded and its credit goes back.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from pydantic import TypeAdapter

from shadowmesh.catalog.builtin import method_map
from shadowmesh.mirror.call_record import CallRecord
from shadowmesh.mirror.carrier import Receive
from shadowmesh.mirror.channels import Channels
from shadowmesh.mirror.frames import (
    Abandon,
    Begin,
    Credit,
    Drain,
    Extra,
    Frame,
    LiveDone,
    Outcome,
    Reload,
    Request,
    RequestEnd,
    Response,
    State,
)
from shadowmesh.mirror.identity import new_pair_id, trace_of
from shadowmesh.mirror.observation import Observation
from shadowmesh.mirror.occupancy import Mark, Occupancy
from shadowmesh.mirror.shadow import Dispatch, Shadow
from shadowmesh.mirror.shadow_call import ShadowCall
from shadowmesh.mirror.shadow_stream import ShadowStream
from shadowmesh.model import Metadata
from shadowmesh.names import (
    META_INSTANCE,
    META_PAIR_ID,
    META_ROLE,
    META_TRACEPARENT,
    META_TRACESTATE,
    CallEnd,
    DropReason,
    Role,
)
from shadowmesh.policy.experiment import ExperimentSettings, TargetSettings
from shadowmesh.policy.headers import AllowList
from shadowmesh.telemetry.faults import Faults
from shadowmesh.telemetry.propagation import new_span_id, traceparent

EXPERIMENTS = TypeAdapter(tuple[ExperimentSettings, ...])
"""What a ``Reload`` frame carries, as JSON."""

_CUT_SECONDS = 1.0


class RecordCalls(Protocol):
    """Takes finished calls; returns how many exchanges a call carried."""

    def record(self, record: CallRecord) -> int:
        """Take one call."""
        ...


class _Target:
    """One target of one experiment in force."""

    def __init__(self, settings: TargetSettings) -> None:
        self.settings = settings
        self.channels = Channels(settings)
        self.headers = AllowList(settings.metadata)
        self.occupancy = Occupancy()


class _Experiment:
    def __init__(self, settings: ExperimentSettings) -> None:
        self.settings = settings
        self.targets = {target.name: _Target(target) for target in settings.targets}
        self.occupancy = Occupancy()


class _OpenCall:
    def __init__(self, record: CallRecord, experiment: _Experiment, mark: Mark) -> None:
        self.record = record
        self.experiment = experiment
        self.mark = mark
        self.shadows: dict[str, Shadow] = {}
        self.marks: dict[str, Mark] = {}
        self.running: set[str] = set()
        self.stops: list[asyncio.TimerHandle] = []
        self.live_done = False
        self.pages = 0


class Engine:
    """See the module's text. ``feed`` may be called in the engine's loop only."""

    def __init__(
        self,
        reply: Receive,
        *,
        recorder: RecordCalls,
        instance_id: str,
        max_call_bytes: int,
        faults: Faults,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._reply = reply
        self._recorder = recorder
        self._instance_id = instance_id
        self._max_call_bytes = max_call_bytes
        self._faults = faults
        self._clock = clock
        self._experiments: dict[str, _Experiment] = {}
        self._retired: list[_Experiment] = []
        self._open: dict[int, _OpenCall] = {}
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._draining = False
        self._ended = False
        # Asked once: it costs a system call each time, and an engine never changes its loop.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handlers: dict[type[Frame], Callable[[Any], None]] = {
            Begin: self._begin,
            Request: self._request,
            RequestEnd: self._request_end,
            Response: self._response,
            LiveDone: self._live_done,
            Abandon: self._abandon,
            Reload: self._reload,
            Drain: self._drain,
        }

    def feed(self, frame: Frame) -> None:
        """Take one frame from the live side; whatever goes wrong is counted and stays here."""
        try:
            self._handlers[type(frame)](frame)
        except Exception as error:
            self._faults.report(f"engine {type(frame).__name__}", error)

    @property
    def open_calls(self) -> int:
        """How many calls have begun and are not recorded yet."""
        return len(self._open)

    async def drain(self, grace: float) -> None:
        """Admit nothing more, wait up to ``grace`` seconds for what is open, then cut and record it."""
        self.feed(Drain(0, grace))
        await self._settle(grace)
        for call in list(self._open.values()):
            self._stop_shadows(call, CallEnd.CUT)
        # Cancelled shadows report back within a few turns of the loop; what does not is recorded as it stands.
        await self._settle(_CUT_SECONDS)
        for serial, call in list(self._open.items()):
            self._end_by_force(serial, call)

    def end_now(self) -> None:
        """Record everything that is open as cut, and start nothing more: the loop is gone."""
        self._ended = True
        for serial, call in list(self._open.items()):
            self._end_by_force(serial, call)

    async def close(self) -> None:
        """Close every channel."""
        for experiment in (*self._experiments.values(), *self._retired):
            for target in experiment.targets.values():
                await target.channels.close()

    async def _settle(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._quiet.wait(), seconds)

    # --- frames ----------------------------------------------------------------------------------------------

    def _begin(self, frame: Begin) -> None:
        experiment = self._experiments.get(frame.experiment)
        if experiment is None:
            self._faults.report("engine", "unknown experiment")
            for admission in frame.admissions:
                if not admission.drop_reason:
                    self._reply(Outcome(frame.call, frame.experiment, admission.target))
            self._give_back(frame)
            return
        mark = experiment.occupancy.enter(frame.at_ns)
        record = CallRecord(
            begin=frame,
            pair_id=new_pair_id(),
            trace=trace_of(frame.caller),
            experiment=experiment.settings,
            method_map=method_map(frame.method, experiment.settings.protocol),
            live=Observation(span_id=new_span_id(), started_ns=frame.at_ns),
        )
        call = _OpenCall(record, experiment, mark)
        self._open[frame.call] = call
        self._quiet.clear()
        for admission in frame.admissions:
            if admission.drop_reason:
                record.shadows[admission.target] = _unsent(frame.at_ns, CallEnd.SHED)
                continue
            try:
                self._launch(call, experiment.targets[admission.target])
            except Exception as error:
                self._faults.report("shadow start", error)
                record.shadows[admission.target] = _unsent(frame.at_ns, CallEnd.CUT)
                self._reply(Outcome(frame.call, frame.experiment, admission.target))
        if frame.request is not None:
            call.pages += frame.pages
            record.requests.append(frame.request)
            record.live.request_times.append(frame.at_ns)
            for shadow in call.shadows.values():
                shadow.send(frame.request)
                shadow.half_close()

    def _give_back(self, frame: Begin | Request | Response | LiveDone) -> None:
        """Nobody holds what this frame brought."""
        if frame.pages:
            self._reply(Credit(frame.call, frame.pages))

    def _request(self, frame: Request) -> None:
        call = self._open.get(frame.call)
        if call is None:
            self._give_back(frame)
            return
        call.pages += frame.pages
        call.record.requests.extend(frame.messages)
        call.record.live.request_times.extend(frame.times_ns)
        for shadow in call.shadows.values():
            for message in frame.messages:
                shadow.send(message)

    def _request_end(self, frame: RequestEnd) -> None:
        call = self._open.get(frame.call)
        if call is not None:
            for shadow in call.shadows.values():
                shadow.half_close()

    def _response(self, frame: Response) -> None:
        call = self._open.get(frame.call)
        if call is None:
            self._give_back(frame)
            return
        call.pages += frame.pages
        call.record.live.add_responses(frame.times_ns, frame.messages)

    def _live_done(self, frame: LiveDone) -> None:
        call = self._open.get(frame.call)
        if call is None:
            self._give_back(frame)
            return
        live = call.record.live
        call.pages += frame.pages
        live.add_responses(frame.times_ns, frame.messages)
        live.ended_ns, live.status, live.end, live.stall_ns = frame.at_ns, frame.status, frame.end, frame.stall_ns
        live.captured = live.captured and frame.captured
        # A batch that the carrier refused took its times with it; the count is exact all the same.
        live.response_count = max(live.response_count, frame.total)
        live.concurrency = call.experiment.occupancy.leave(frame.at_ns, call.mark)
        call.live_done = True
        if frame.end != CallEnd.COMPLETED:
            self._follow(call)
        elif call.record.begin.arity.request_streaming:
            # The live server is done with the call, half-closed or not: no request message follows.
            for shadow in call.shadows.values():
                shadow.half_close()
        elif not call.record.requests:
            # The request was never seen: there is nothing to send to the shadows that wait for it.
            self._stop_shadows(call, CallEnd.CUT)
        self._finish(frame.call, call)

    def _abandon(self, frame: Abandon) -> None:
        call = self._open.get(frame.call)
        if call is not None:
            call.record.requests_complete = False
            self._stop_shadows(call, CallEnd.CUT)

    def _reload(self, frame: Reload) -> None:
        experiments = EXPERIMENTS.validate_json(frame.config)
        # Calls in flight keep the experiment they began with; its channels are closed with the engine.
        self._retired += self._experiments.values()
        self._experiments = {settings.name: _Experiment(settings) for settings in experiments}

    def _drain(self, frame: Drain) -> None:
        if not self._draining:
            self._draining = True
            for experiment in self._experiments.values():
                for target in experiment.targets:
                    self._reply(State(frame.call, experiment.settings.name, target, DropReason.SHUTDOWN))

    # --- shadows ---------------------------------------------------------------------------------------------

    def _launch(self, call: _OpenCall, target: _Target) -> None:
        if self._ended:
            raise RuntimeError("the engine has ended")
        begin, name = call.record.begin, target.settings.name
        span_id = new_span_id()
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        dispatch = Dispatch(
            loop=self._loop,
            multicallable=target.channels.method(begin.method, begin.arity),
            arity=begin.arity,
            metadata=self._metadata(call.record, target, span_id),
            span_id=span_id,
            deadline=target.settings.deadline,
            max_bytes=self._max_call_bytes,
            clock=self._clock,
            finished=partial(self._shadow_done, begin.call, name),
        )
        shadow: Shadow = ShadowStream(dispatch) if begin.arity.request_streaming else ShadowCall(dispatch)
        call.marks[name] = target.occupancy.enter(self._clock())
        call.shadows[name] = shadow
        call.record.shadows[name] = shadow.observation
        call.running.add(name)

    def _metadata(self, record: CallRecord, target: _Target, span_id: int) -> Metadata:
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

    def _shadow_done(self, serial: int, name: str) -> None:
        call = self._open.get(serial)
        if call is None or name not in call.running:
            return
        call.running.discard(name)
        observation = call.shadows[name].observation
        observation.concurrency = self._leave(call, name)
        observation.queue_ns = max(observation.started_ns - call.record.begin.at_ns, 0)
        self._reply(Outcome(serial, call.experiment.settings.name, name))
        self._finish(serial, call)

    def _leave(self, call: _OpenCall, name: str) -> float:
        return call.experiment.targets[name].occupancy.leave(self._clock(), call.marks[name])

    def _follow(self, call: _OpenCall) -> None:
        """The live call was cut short: each shadow stops at the same elapsed time, so both ran equally long."""
        live = call.record.live
        elapsed = live.ended_ns - live.started_ns
        now = self._clock()
        for name in tuple(call.running):
            shadow = call.shadows[name]
            left = (shadow.observation.started_ns + elapsed - now) / 1e9
            end = CallEnd(live.end)
            if left <= 0:
                shadow.stop(end)
            else:
                call.stops.append(asyncio.get_running_loop().call_later(left, shadow.stop, end))

    def _stop_shadows(self, call: _OpenCall, end: CallEnd) -> None:
        for name in tuple(call.running):
            call.shadows[name].stop(end)

    def _end_by_force(self, serial: int, call: _OpenCall) -> None:
        now = self._clock()
        if not call.live_done:
            call.record.live.ended_ns, call.record.live.end = now, CallEnd.CUT
            call.live_done = True
        for name in tuple(call.running):
            # The runner may still write to its own observation, from a thread: it is left alone from here on.
            seen = call.shadows[name].observation
            call.record.shadows[name] = Observation(
                span_id=seen.span_id, started_ns=seen.started_ns, ended_ns=now, end=CallEnd.CUT, captured=False
            )
            self._leave(call, name)
            call.running.discard(name)
            self._reply(Outcome(serial, call.experiment.settings.name, name))
        self._finish(serial, call)

    def _finish(self, serial: int, call: _OpenCall) -> None:
        if not call.live_done or call.running or self._open.pop(serial, None) is None:
            return
        for handle in call.stops:
            handle.cancel()
        try:
            exchanges = self._recorder.record(call.record)
            for admission in call.record.begin.admissions if exchanges > 1 else ():
                if not admission.drop_reason:
                    self._reply(Extra(serial, call.experiment.settings.name, admission.target, exchanges - 1))
        except Exception as error:
            self._faults.report("recorder", error)
        finally:
            self._reply(Credit(serial, call.pages))
            if not self._open:
                self._quiet.set()


def _unsent(at_ns: int, end: CallEnd) -> Observation:
    """A shadow that never reached a channel: its leg says so."""
    return Observation(span_id=new_span_id(), started_ns=at_ns, ended_ns=at_ns, end=end, captured=False)

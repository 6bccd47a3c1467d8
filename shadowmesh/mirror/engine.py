"""
The mirror engine: frames in, shadow calls out, records at the end.

One engine lives in one loop, given to it by a carrier. Everything a call needs is kept in one ``OpenCall`` until its
live leg and every shadow have ended; then it is recorded and its credit goes back.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from pydantic import TypeAdapter

from shadowmesh.catalog.builtin import mapped_methods, method_map
from shadowmesh.mirror.aborting import SECONDS as ABORT_SECONDS
from shadowmesh.mirror.aborting import Aborting
from shadowmesh.mirror.accounts import Accounts
from shadowmesh.mirror.call_record import CallRecord, RecordCalls
from shadowmesh.mirror.carrier import Receive
from shadowmesh.mirror.choice import Maps
from shadowmesh.mirror.frames import (
    Abandon,
    Abort,
    Begin,
    Credit,
    Drain,
    Extra,
    Frame,
    LiveDone,
    Lost,
    Outcome,
    Reload,
    Request,
    RequestEnd,
    Response,
    Settled,
)
from shadowmesh.mirror.gathering import Gathering
from shadowmesh.mirror.identity import new_pair_id, trace_of
from shadowmesh.mirror.judged_experiment import JudgedExperimentSettings
from shadowmesh.mirror.launch import Launcher
from shadowmesh.mirror.observation import Observation, unsent
from shadowmesh.mirror.open_call import Flight, OpenCall
from shadowmesh.mirror.targets import Experiments, Target
from shadowmesh.mirror.translation import Mapped
from shadowmesh.names import CallEnd, DropReason, LossReason
from shadowmesh.policy.limits import PAGE_BYTES, Tokens
from shadowmesh.policy.self_check import Sending
from shadowmesh.pricing import Pricing
from shadowmesh.telemetry.faults import Faults
from shadowmesh.telemetry.propagation import new_span_id

EXPERIMENTS = TypeAdapter(tuple[JudgedExperimentSettings, ...])
"""What a ``Reload`` frame carries, as JSON."""

ANSWER_BYTES = 64 * 1024 * 1024
_CUT_SECONDS = 1.0


class Engine:
    """See the module's text. ``feed`` may be called in the engine's loop only."""

    def __init__(
        self,
        reply: Receive,
        *,
        recorder: RecordCalls,
        instance_id: str,
        max_call_bytes: int,
        answer_bytes: int = ANSWER_BYTES,
        faults: Faults,
        accounts: Accounts | None = None,
        maps: Maps = method_map,
        mapped: Mapped = mapped_methods,
        clock: Callable[[], int] = time.monotonic_ns,
        abort_seconds: float = ABORT_SECONDS,
    ) -> None:
        self._reply = reply
        self._recorder = recorder
        self._faults = faults
        self._maps = maps
        self._clock = clock
        self._answers = Tokens(max(1, answer_bytes // PAGE_BYTES))
        self._launcher = Launcher(
            instance_id=instance_id, max_call_bytes=max_call_bytes, answers=self._answers, clock=clock, faults=faults
        )
        self._accounts = accounts or Accounts(Pricing, faults=faults)
        self._experiments = Experiments(reply, clock=clock, faults=faults, accounts=self._accounts, mapped=mapped)
        self._aborting = Aborting(reply, self._launcher.metadata, faults, seconds=abort_seconds)
        self._sending = Sending()
        self._open: dict[int, OpenCall] = {}
        self._finished: Gathering[OpenCall] = Gathering(self._record)
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._draining = False
        self._handlers: dict[type[Frame], Callable[[Any], None]] = {
            Begin: self._begin,
            Request: self._request,
            RequestEnd: self._request_end,
            Response: self._response,
            LiveDone: self._live_done,
            Abandon: self._abandon,
            Abort: self._aborting.take,
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
        return len(self._open) + len(self._finished)

    async def drain(self, grace: float) -> None:
        """Admit nothing more, wait up to ``grace`` seconds for what is open, then cut and record it."""
        self.feed(Drain(0, grace))
        await self._settle(grace)
        for call in list(self._open.values()):
            call.stop(CallEnd.CUT)
        # Cancelled shadows report back within a few turns of the loop; what does not is recorded as it stands.
        await self._settle(_CUT_SECONDS)
        self._end_all()

    def end_now(self) -> None:
        """Record everything that is open as cut, and start nothing more: the loop is gone."""
        self._draining = True
        self._end_all()
        self._accounts.end_now()

    async def close(self) -> None:
        """Close every channel; a call that began after the drain is recorded as cut."""
        self._draining = True
        self._end_all()
        await self._aborting.close()
        await self._accounts.close()
        await self._experiments.close()

    async def _settle(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._quiet.wait(), seconds)

    def _begin(self, frame: Begin) -> None:
        experiment = self._experiments.find(frame.experiment, [target for target, _, _ in frame.admissions])
        if experiment is None:
            self._faults.report("engine", "unknown experiment")
            for admission in frame.admissions:
                if not admission.drop_reason:
                    self._reply(Outcome(frame.call, frame.experiment, admission.target))
            self._give_back(frame)
            self._lose(frame)
            return
        record = CallRecord(
            begin=frame,
            pair_id=new_pair_id(),
            trace=trace_of(frame.caller),
            experiment=experiment.settings,
            method_map=self._maps(frame.method, experiment.settings.protocol),
            live=Observation(span_id=new_span_id(), started_ns=frame.at_ns),
        )
        call = OpenCall(record, experiment, experiment.occupancy.enter(frame.at_ns))
        self._open[frame.call] = call
        self._quiet.clear()
        for admission in frame.admissions:
            if admission.drop_reason:
                record.shadows[admission.target] = unsent(new_span_id(), frame.at_ns, end=CallEnd.SHED)
            else:
                self._admitted(call, admission.target)
        if frame.request is not None:
            call.pages += frame.pages
            call.request((frame.at_ns,), (frame.request,))
            call.half_close()
            self._aborting.begun(call)

    def _request(self, frame: Request) -> None:
        call = self._open.get(frame.call)
        if call is None or not call.record.requests_complete:
            # What follows a message that was let go is no part of what the shadows were asked.
            self._give_back(frame)
            return
        call.pages += frame.pages
        first = not call.record.requests
        call.request(frame.times_ns, frame.messages)
        if first:
            self._aborting.begun(call)

    def _request_end(self, frame: RequestEnd) -> None:
        call = self._open.get(frame.call)
        if call is not None:
            call.half_close()

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
        call.pages += frame.pages
        call.live_ended(frame, self._clock())
        self._finish(frame.call, call)

    def _abandon(self, frame: Abandon) -> None:
        call = self._open.get(frame.call)
        if call is not None:
            call.record.requests_complete = False
            for flight in call.running.values():
                flight.shadow.observation.drop_reason = frame.reason
            call.stop(CallEnd.CUT)

    def _reload(self, frame: Reload) -> None:
        # Calls in flight keep the experiment they began with.
        self._experiments.replace(EXPERIMENTS.validate_json(frame.config))

    def _drain(self, _frame: Drain) -> None:
        self._draining = True
        self._experiments.shut()

    def _admitted(self, call: OpenCall, name: str) -> None:
        """Start a shadow that the live gate let through, unless there is a reason by now not to."""
        begin, admitted = call.record.begin, 0
        target: Target | None = None
        try:
            target = call.experiment.targets[name]
            gate = target.gate(begin.method, call.record.method_map)
            admitted, reason = (0, DropReason.SHUTDOWN) if self._draining else (0, gate.refusal)
            if not reason:
                admitted, reason = target.admit()
            if admitted:
                if gate.changes:
                    call.record.rewrites[name] = gate.changed
                if gate.translation is not None:
                    call.record.translations[name] = gate.translation
                shadow = self._launcher.launch(call.record, target, gate, partial(self._shadow_done, begin.call, name))
                call.launched(name, Flight(shadow, target, target.peer.enter(self._clock()), admitted))
                self._accounts.enter(begin.call, begin.experiment, name)
                return
            detail = gate.detail if reason == gate.refusal else ""
            seen = unsent(new_span_id(), begin.at_ns, end=CallEnd.SHED, drop_reason=reason, drop_detail=detail)
        except Exception as error:
            self._faults.report("shadow start", error)
            seen = unsent(new_span_id(), begin.at_ns, end=CallEnd.CUT)
            if target is not None and admitted:
                target.peer.guard.settle(admitted, seen, self._clock())
        call.record.shadows[name] = seen
        self._look_at(begin.experiment, name, seen)
        self._reply(Outcome(begin.call, begin.experiment, name))

    def _shadow_done(self, serial: int, name: str) -> None:
        call = self._open.get(serial)
        flight = call.running.pop(name, None) if call is not None else None
        if call is None or flight is None:
            return
        seen = call.record.shadows[name] = flight.shadow.observation
        beside = flight.land(self._clock())
        seen.concurrency = beside if seen.end != CallEnd.SHED else None
        seen.queue_ns = max(seen.started_ns - call.record.begin.at_ns, 0)
        self._experiments.release(flight.target.peer)
        self._look_at(call.experiment.settings.name, name, seen)
        self._reply(Outcome(serial, call.experiment.settings.name, name))
        self._finish(serial, call)

    def _look_at(self, experiment: str, target: str, seen: Observation) -> None:
        """See that a target whose shadows are all held back does not go unnoticed: they are counted as mirrored."""
        if seen.drop_detail:
            self._faults.report(f"{experiment}/{target}", f"{seen.drop_reason}: {seen.drop_detail}")
        if seen.sent:
            self._sending.sent(experiment, target)
        elif seen.end == CallEnd.SHED:
            said = self._sending.held_back(experiment, target, seen.drop_reason, self._clock())
            if said:
                self._faults.report("self-check", said)

    def _end_all(self) -> None:
        self._finished.flush()
        for serial, call in list(self._open.items()):
            for name in call.cut(self._clock()):
                self._reply(Outcome(serial, call.experiment.settings.name, name))
            self._finish(serial, call)

    def _finish(self, serial: int, call: OpenCall) -> None:
        if not call.over or self._open.pop(serial, None) is None:
            return
        call.close()
        self._aborting.over(call)
        if self._draining:
            self._record(call)
        else:
            self._finished.add(call)
        if not self._open:
            self._quiet.set()

    def _record(self, call: OpenCall) -> None:
        serial = call.record.begin.call
        try:
            extra = self._recorder.record(call.record) - 1
            if extra:
                begin = call.record.begin
                self._reply(Extra(serial, begin.experiment, begin.admissions, extra))
        except Exception as error:
            self._faults.report("recorder", error)
            self._lose(call.record.begin)
        finally:
            self._accounts.settle(serial)
            self._answers.give(sum(seen.pages for seen in call.record.shadows.values()))
            self._reply(Credit(serial, call.pages))

    def _lose(self, begin: Begin) -> None:
        """No leg of this call will be recorded."""
        for admission in begin.admissions:
            self._reply(Lost(begin.call, begin.experiment, admission.target, LossReason.RECORDING, 1))
        self._reply(Settled(0, (begin.call,), (1,)))

    def _give_back(self, frame: Begin | Request | Response | LiveDone) -> None:
        """Nobody holds what this frame brought."""
        if frame.pages:
            self._reply(Credit(frame.call, frame.pages))

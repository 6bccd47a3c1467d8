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
from typing import Any

from pydantic import TypeAdapter

from shadowmesh.catalog.builtin import mapped_methods, method_map
from shadowmesh.mirror.aborting import SECONDS as ABORT_SECONDS
from shadowmesh.mirror.aborting import Aborting
from shadowmesh.mirror.accounts import Accounts
from shadowmesh.mirror.call_record import CallRecord, RecordCalls
from shadowmesh.mirror.carrier import Receive
from shadowmesh.mirror.choice import Maps
from shadowmesh.mirror.flights import Flights
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
from shadowmesh.mirror.open_call import OpenCall
from shadowmesh.mirror.targets import Experiments
from shadowmesh.mirror.translation import Mapped
from shadowmesh.names import CallEnd, LossReason
from shadowmesh.policy.limits import PAGE_BYTES, Tokens
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
        self._flights = Flights(
            reply, self._launcher, self._experiments, self._accounts, clock=clock, faults=faults, landed=self._finish
        )
        self._aborting = Aborting(reply, self._launcher.metadata, faults, seconds=abort_seconds)
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
            if experiment.is_warming(admission.target, frame.at_ns, sent=not admission.drop_reason):
                record.warming.add(admission.target)
            if admission.drop_reason:
                record.shadows[admission.target] = unsent(new_span_id(), frame.at_ns, end=CallEnd.SHED)
            else:
                self._flights.start(call, admission.target, draining=self._draining)
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
            call.requests_ended(frame.at_ns, self._clock())

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
        self._finish(call)

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

    def _end_all(self) -> None:
        self._finished.flush()
        for serial, call in list(self._open.items()):
            for name in call.cut(self._clock()):
                self._reply(Outcome(serial, call.experiment.settings.name, name))
            self._finish(call)

    def _finish(self, call: OpenCall) -> None:
        serial = call.record.begin.call
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
            self._answers.give(sum(seen.pages for name in call.record.shadows for seen in call.record.seen_of(name)))
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

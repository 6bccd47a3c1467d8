"""Shadows in flight: what starts them, and what becomes of their legs when they land."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from shadowmesh.mirror.accounts import Accounts
from shadowmesh.mirror.carrier import Receive
from shadowmesh.mirror.frames import Outcome
from shadowmesh.mirror.launch import Launcher
from shadowmesh.mirror.observation import Observation, unsent
from shadowmesh.mirror.open_call import Flight, OpenCall
from shadowmesh.mirror.targets import Experiments, Target
from shadowmesh.names import CallEnd, DropReason
from shadowmesh.policy.self_check import Sending
from shadowmesh.telemetry.faults import Faults
from shadowmesh.telemetry.propagation import new_span_id


class Flights:
    """One per engine, in its loop; ``landed`` hears of every call one of whose shadows has ended."""

    def __init__(
        self,
        reply: Receive,
        launcher: Launcher,
        experiments: Experiments,
        accounts: Accounts,
        *,
        clock: Callable[[], int],
        faults: Faults,
        landed: Callable[[OpenCall], None],
    ) -> None:
        self._reply = reply
        self._launcher = launcher
        self._experiments = experiments
        self._accounts = accounts
        self._clock = clock
        self._faults = faults
        self._landed = landed
        self._sending = Sending()

    def start(self, call: OpenCall, name: str, *, draining: bool) -> None:
        """
        Start a shadow that the live gate let through, unless there is a reason by now not to.

        Args:
            draining: whether nothing is to begin any more.
        """
        begin, admitted = call.record.begin, 0
        target: Target | None = None
        try:
            target = call.experiment.targets[name]
            gate = target.gate(begin.method, call.record.method_map)
            admitted, reason = (0, DropReason.SHUTDOWN) if draining else (0, gate.refusal)
            if not reason:
                admitted, reason = target.admit()
            if admitted:
                if gate.changes:
                    call.record.rewrites[name] = gate.changed
                if gate.translation is not None:
                    call.record.translations[name] = gate.translation
                shadow = self._launcher.launch(call.record, target, gate, partial(self._land, call, name))
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

    def _land(self, call: OpenCall, name: str) -> None:
        begin, flight = call.record.begin, call.running.pop(name, None)
        if flight is None:
            # It was cut, and its leg is written.
            return
        seen = call.record.shadows[name] = flight.shadow.observation
        beside = flight.land(self._clock())
        self._landed_at(call, name, seen, begin.at_ns, beside)
        if further := flight.shadow.further:
            call.record.further[name] = further
            for asked_ns, one in zip(call.record.live.request_times[1:], further, strict=False):
                self._landed_at(call, name, one, asked_ns, beside)
        self._experiments.release(flight.target.peer)
        self._reply(Outcome(begin.call, begin.experiment, name))
        self._landed(call)

    def _landed_at(self, call: OpenCall, name: str, seen: Observation, asked_ns: int, beside: float) -> None:
        seen.concurrency = beside if seen.end != CallEnd.SHED else None
        seen.queue_ns = max(seen.started_ns - asked_ns, 0)
        self._look_at(call.record.begin.experiment, name, seen)

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

"""
The live side: decides, admits, counts, and owns the funnel.

Nothing here waits for the mirror side, shares a lock with it, or lets one of its errors out.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from itertools import count

from shadowmesh.mirror.caller import caller
from shadowmesh.mirror.carrier import Carrier, MirrorSettings
from shadowmesh.mirror.frames import Begin, Credit, Credits, Extra, Frame, Lost, Outcome, Outcomes, Reported, State
from shadowmesh.mirror.tap import Outlet, Room, Tap
from shadowmesh.model import Metadata
from shadowmesh.names import Decision, DropReason
from shadowmesh.policy.experiment import ExperimentSettings
from shadowmesh.policy.harm import HarmGuard
from shadowmesh.policy.limits import PAGE_BYTES, Tokens, pages
from shadowmesh.policy.live_gate import Admission, FunnelKey, LiveGate, LossKey, Plan, Ticket
from shadowmesh.policy.slots import Slot
from shadowmesh.rpc import Arity
from shadowmesh.telemetry.counters import Tally
from shadowmesh.telemetry.faults import Faults

_LOG = logging.getLogger("shadowmesh")


class LiveSide:
    """One per process and mesh; shared by all its interceptors."""

    def __init__(
        self,
        experiments: tuple[ExperimentSettings, ...],
        settings: MirrorSettings,
        *,
        faults: Faults,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.clock = monotonic_ns
        self.faults = faults
        self.accepting = True
        self.guard = HarmGuard(settings.harm_guard, draw=random.random)
        self.reloads = 0
        self._harm_said = False
        self._wall = wall_ns
        self._settings = settings
        self._funnel: Tally[FunnelKey] = Tally()
        self._lost: Tally[LossKey] = Tally()
        self._gate = LiveGate(experiments, self._funnel.add)
        self._credit = Tokens(max(1, settings.capture_bytes // PAGE_BYTES))
        self._nowhere = Outlet(_take, self._credit, self._tap_fault, 0, 0)
        self._largest_request = min(settings.max_message_bytes, settings.max_call_bytes)
        self._serial = count(1)
        self._carrier: Carrier | None = None

    def attach(self, carrier: Carrier) -> None:
        """Set what carries the frames; once, before the first call."""
        self._carrier = carrier
        settings = self._settings
        self._outlet = Outlet(
            carrier.offer, self._credit, self._tap_fault, settings.max_call_bytes, settings.max_message_bytes
        )

    def reload(self, experiments: tuple[ExperimentSettings, ...]) -> None:
        """
        Decide by other experiments from now on. What is in flight goes on; a target that is still there keeps its
        place in the limits and what is known of its state.
        """
        self._gate = LiveGate(experiments, self._funnel.add, known=self._gate.states)
        self.reloads += 1

    def start(self) -> None:
        """Start the carrier, where calls arrive."""
        try:
            if self._carrier is not None:
                self._carrier.start()
        except Exception as error:
            self.faults.report("carrier start", error)

    def covers(self, method: str) -> bool:
        """Return whether any experiment covers ``method``, sampled or not."""
        return self.accepting and self._gate.covers(method)

    def decide(self, method: str, metadata: Metadata) -> Ticket | None:
        """Return who takes part in this call, ``None`` when its handler is to stay untouched."""
        try:
            ticket = self._gate.decide(method, metadata, _draw) if self.accepting else None
            if ticket is not None and self.guard.harm:
                self.refuse(ticket, DropReason.HARM)
                self._say_stopped()
                return None
            return ticket
        except Exception as error:
            self.faults.report("live gate", error)
            return None

    def _say_stopped(self) -> None:
        """Say once that mirroring has stopped itself."""
        if not self._harm_said:
            self._harm_said = True
            _LOG.warning("mirroring has stopped itself: it harms live calls (%s)", self.guard.harm)

    def refuse(self, ticket: Ticket, reason: DropReason) -> None:
        """Count a call whose shadows are all shed without a leg, because it cannot be tapped at all."""
        for admission in ticket.admissions:
            self._funnel.add(ticket.plan.key(admission._replace(drop_reason=reason)))

    def begin(
        self,
        ticket: Ticket,
        *,
        method: str,
        arity: Arity,
        metadata: Metadata,
        request: bytes | None,
        deadline: float | None,
    ) -> Tap | None:
        """
        Begin an exchange at the handler's first sight of it.

        Args:
            request: the request's bytes where it is a single message.
            deadline: what the live call has left, seconds.

        Returns:
            The call's tap; ``None`` when nothing of it can be recorded.
        """
        try:
            return self._begin(ticket, method, arity, metadata, request, deadline)
        except Exception as error:
            self.faults.report("begin", error)
            return None

    def receive(self, frame: Frame) -> None:
        """Take a frame from the engine; from any thread."""
        if isinstance(frame, Credit):
            self._credit.give(frame.pages)
        elif isinstance(frame, Credits):
            self._credit.give(sum(frame.pages))
        elif isinstance(frame, Outcomes):
            state = self._gate.states.get((frame.experiment, frame.target))
            if state is not None:
                state.tokens.give(len(frame.calls))
        elif isinstance(frame, Outcome):
            state = self._gate.states.get((frame.experiment, frame.target))
            if state is not None:
                state.tokens.give()
        elif isinstance(frame, Extra):
            # The gate saw one call; only the engine can tell how many exchanges it carried.
            self._funnel.add(FunnelKey(frame.experiment, frame.target, Decision.MIRRORED.value, ""), frame.exchanges)
        elif isinstance(frame, Lost):
            self._lost.add(LossKey(frame.experiment, frame.target, frame.reason), frame.exchanges)
        elif isinstance(frame, Reported):
            self.faults.relay(frame.cause, frame.times)
        elif isinstance(frame, State):
            state = self._gate.states.get((frame.experiment, frame.target))
            if state is not None:
                state.closed = frame.closed

    def funnel(self) -> dict[FunnelKey, int]:
        """Return the account of every covered exchange so far."""
        return self._funnel.totals()

    def lost(self) -> dict[LossKey, int]:
        """Return how many exchanges of the funnel are known to have lost their legs."""
        return self._lost.totals()

    def active(self) -> dict[tuple[str, str], int]:
        """Return how many shadows run or wait now, by experiment and target."""
        return {key: state.tokens.taken for key, state in self._gate.states.items()}

    def closed(self) -> dict[tuple[str, str], str]:
        """Return why each target is closed, by experiment and target; empty where it is open."""
        return {key: state.closed for key, state in self._gate.states.items()}

    def queued(self) -> int:
        """Return how many hand-overs wait for the engine."""
        return self._carrier.queued() if self._carrier is not None else 0

    def credit_taken(self) -> int:
        """Return the bytes of capture credit in use, in whole pages."""
        return self._credit.taken * PAGE_BYTES

    def _begin(
        self,
        ticket: Ticket,
        method: str,
        arity: Arity,
        metadata: Metadata,
        request: bytes | None,
        deadline: float | None,
    ) -> Tap | None:
        carrier, plan = self._carrier, ticket.plan
        if carrier is None:
            return None
        at_ns = self.clock()
        slot = self.guard.begin(at_ns)
        if slot.off:
            self.refuse(ticket, DropReason.OFF_SLOT)
            return self._timer(slot, at_ns)
        admissions, held = self._admit(ticket, request)
        # Where every shadow is shed already, nothing of the request is needed.
        mirrored = held is not None
        begin = Begin(
            next(self._serial),
            method,
            arity,
            plan.name,
            at_ns,
            self._wall(),
            deadline,
            caller(metadata),
            plan.headers.filter(metadata) if plan.headers is not None else (),
            admissions,
            request if mirrored else None,
            held or 0,
        )
        recorded = self._offered(carrier, begin, Room.NEW)
        if not recorded:
            # No room: give back what was taken and try to record at least that the exchange was shed.
            self._give_tokens(plan, admissions)
            self._credit.give(begin.pages)
            mirrored, admissions = False, _shed(admissions, DropReason.QUEUE_FULL)
            begin = begin._replace(admissions=admissions, request=None, pages=0)
            recorded = self._offered(carrier, begin, Room.MORE)
        if not recorded:
            admissions = _shed(ticket.admissions, DropReason.NOT_RECORDED, again=True)
        for admission in admissions:
            self._funnel.add(plan.key(admission))
        if not recorded:
            return self._timer(slot, at_ns)
        streamed = mirrored and arity.request_streaming
        return Tap(begin.call, self._outlet, requests=streamed, responses=mirrored, slot=slot, began_ns=at_ns)

    def _timer(self, slot: Slot, at_ns: int) -> Tap:
        """Return a tap that keeps nothing: such a call is timed as any other, and that is all."""
        return Tap(0, self._nowhere, requests=False, responses=False, slot=slot, began_ns=at_ns)

    def _offered(self, carrier: Carrier, begin: Begin, room: Room) -> bool:
        try:
            return carrier.offer(begin, room)
        except Exception as error:
            self.faults.report("carrier", error)
            return False

    def _admit(self, ticket: Ticket, request: bytes | None) -> tuple[tuple[Admission, ...], int | None]:
        """Return who takes part in the end, and the pages taken for the request: ``None`` where nobody does."""
        size = 0 if request is None else len(request)
        if size > self._largest_request:
            return _shed(ticket.admissions, DropReason.OVERSIZE), None
        admissions = tuple([_take_token(ticket.plan, admission) for admission in ticket.admissions])
        if all(admission.drop_reason for admission in admissions):
            return admissions, None
        held = 0 if request is None else pages(size)
        if self._credit.take(held):
            return admissions, held
        self._give_tokens(ticket.plan, admissions)
        return _shed(admissions, DropReason.QUEUE_FULL), None

    def _give_tokens(self, plan: Plan, admissions: tuple[Admission, ...]) -> None:
        for admission in admissions:
            if not admission.drop_reason:
                plan.states[admission.target].tokens.give()

    def _tap_fault(self, error: Exception) -> None:
        self.faults.report("tap", error)


def _take_token(plan: Plan, admission: Admission) -> Admission:
    if admission.drop_reason or plan.states[admission.target].tokens.take():
        return admission
    return admission._replace(drop_reason=DropReason.CONCURRENCY_LIMIT)


def _shed(admissions: tuple[Admission, ...], reason: DropReason, *, again: bool = False) -> tuple[Admission, ...]:
    """Return the admissions shed for ``reason``; one that is shed already keeps its own unless ``again``."""
    return tuple(
        admission if admission.drop_reason and not again else admission._replace(drop_reason=reason)
        for admission in admissions
    )


def _take(_frame: Frame, _room: Room) -> bool:
    """What is only timed sends nothing to anybody."""
    return True


def _draw() -> bytes:
    return random.getrandbits(64).to_bytes(8, "big")

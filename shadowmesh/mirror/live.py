"""
The live side: decides, admits, counts, and owns the funnel.

Nothing here waits for the mirror side, shares a lock with it, or lets one of its errors out.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from itertools import count

from opentelemetry.trace import get_current_span

from shadowmesh.mirror.carrier import Carrier, MirrorSettings
from shadowmesh.mirror.frames import Begin, Credit, Extra, Frame, Outcome, Request, RequestEnd, State
from shadowmesh.mirror.tap import Capture, Room, Tap
from shadowmesh.model import Metadata, TraceContext
from shadowmesh.names import META_PREVIOUS_ATTEMPTS, META_TRACEPARENT, META_TRACESTATE, Decision, DropReason
from shadowmesh.policy.experiment import ExperimentSettings
from shadowmesh.policy.limits import PAGE_BYTES, Tokens, pages
from shadowmesh.policy.live_gate import Admission, LiveGate, Ticket
from shadowmesh.rpc import Arity
from shadowmesh.telemetry import propagation
from shadowmesh.telemetry.counters import Tally
from shadowmesh.telemetry.faults import Faults
from shadowmesh.telemetry.metrics import FunnelKey


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
        self._wall = wall_ns
        self._settings = settings
        self._funnel: Tally[FunnelKey] = Tally()
        self._gate = LiveGate(experiments, self._count)
        self._credit = Tokens(max(1, settings.capture_bytes // PAGE_BYTES))
        self._serial = count(1)
        self._carrier: Carrier | None = None

    def attach(self, carrier: Carrier) -> None:
        """Set what carries the frames; once, before the first call."""
        self._carrier = carrier

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
            return self._gate.decide(method, metadata, _draw) if self.accepting else None
        except Exception as error:
            self.faults.report("live gate", error)
            return None

    def refuse(self, ticket: Ticket, reason: DropReason) -> None:
        """Count a call whose shadows are all shed without a leg, because it cannot be tapped at all."""
        for admission in ticket.admissions:
            self._count(ticket.plan.name, admission.target, Decision.DROPPED, reason)

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
        elif isinstance(frame, Outcome):
            state = self._gate.states.get((frame.experiment, frame.target))
            if state is not None:
                state.tokens.give()
        elif isinstance(frame, Extra):
            # The gate saw one call; only the engine can tell how many exchanges it carried.
            self._count(frame.experiment, frame.target, Decision.MIRRORED, "", frame.exchanges)
        elif isinstance(frame, State):
            state = self._gate.states.get((frame.experiment, frame.target))
            if state is not None:
                state.closed = frame.closed

    def funnel(self) -> dict[FunnelKey, int]:
        """Return the account of every covered exchange so far."""
        return self._funnel.totals()

    def active(self) -> dict[tuple[str, str], int]:
        """Return how many shadows run or wait now, by experiment and target."""
        return {key: state.tokens.taken for key, state in self._gate.states.items()}

    def queued(self) -> int:
        """Return how many hand-overs wait for the engine."""
        return self._carrier.queued() if self._carrier is not None else 0

    def credit_taken(self) -> int:
        """Return the bytes of capture credit in use, in whole pages."""
        return self._credit.taken * PAGE_BYTES

    def _count(self, experiment: str, target: str, decision: str, reason: str, times: int = 1) -> None:
        self._funnel.add(FunnelKey(experiment, target, decision, reason), times)

    def _begin(
        self,
        ticket: Ticket,
        method: str,
        arity: Arity,
        metadata: Metadata,
        request: bytes | None,
        deadline: float | None,
    ) -> Tap | None:
        carrier = self._carrier
        if carrier is None:
            return None
        call = next(self._serial)
        at_ns = self.clock()
        trace, attempt = _trace(metadata)
        begin = Begin(
            call=call,
            method=method,
            arity=arity,
            experiment=ticket.plan.name,
            pair_id=random.getrandbits(128),
            at_ns=at_ns,
            wall_ns=self._wall(),
            trace=trace,
            live_span_id=propagation.new_span_id(),
            deadline=deadline,
            attempt=attempt,
            metadata=ticket.plan.headers.filter(metadata) if ticket.plan.headers else (),
            admissions=self._admit(ticket, request),
        )
        # Where every shadow is shed already, nothing of the request is needed.
        mirrored = not all(reason for _, _, reason in begin.admissions)
        if not self._offer_begin(carrier, begin, request if mirrored else None):
            # No room: give back what was taken and try to record at least that the exchange was shed.
            self._release(begin, request)
            begin = begin._replace(admissions=_shed(begin.admissions, DropReason.QUEUE_FULL))
            mirrored, recorded = False, carrier.offer((begin,), Room.MORE)
            if not recorded:
                begin = begin._replace(admissions=_unrecorded(begin.admissions))
        else:
            recorded = True
        for target, _, reason in begin.admissions:
            self._count(begin.experiment, target, Decision.DROPPED if reason else Decision.MIRRORED, reason)
        return self._tap(call, carrier, mirrored, arity) if recorded else None

    def _tap(self, call: int, carrier: Carrier, mirrored: bool, arity: Arity) -> Tap:
        limit, largest = self._settings.max_call_bytes, self._settings.max_message_bytes
        streamed = mirrored and arity.request_streaming
        return Tap(
            call,
            offer=carrier.offer,
            credit=self._credit,
            fault=self._tap_fault,
            request_capture=Capture(self._credit, limit, largest=largest) if streamed else None,
            response_capture=Capture(self._credit, limit, largest=largest) if mirrored else None,
        )

    def _offer_begin(self, carrier: Carrier, begin: Begin, request: bytes | None) -> bool:
        if request is None:
            return carrier.offer((begin,), Room.NEW)
        frames = (
            begin,
            Request(begin.call, (begin.at_ns,), (request,), pages(len(request))),
            RequestEnd(begin.call, begin.at_ns),
        )
        return carrier.offer(frames, Room.NEW)

    def _admit(self, ticket: Ticket, request: bytes | None) -> tuple[Admission, ...]:
        size = 0 if request is None else len(request)
        if size > min(self._settings.max_message_bytes, self._settings.max_call_bytes):
            return _shed(ticket.admissions, DropReason.OVERSIZE)
        admissions = tuple(self._take_token(ticket, admission) for admission in ticket.admissions)
        if request is None or all(admission.drop_reason for admission in admissions):
            return admissions
        if self._credit.take(pages(size)):
            return admissions
        self._give_tokens(ticket.plan.name, admissions)
        return _shed(admissions, DropReason.QUEUE_FULL)

    def _take_token(self, ticket: Ticket, admission: Admission) -> Admission:
        if admission.drop_reason or ticket.plan.states[admission.target].tokens.take():
            return admission
        return admission._replace(drop_reason=DropReason.CONCURRENCY_LIMIT)

    def _give_tokens(self, experiment: str, admissions: tuple[Admission, ...]) -> None:
        for admission in admissions:
            if not admission.drop_reason:
                self._gate.states[experiment, admission.target].tokens.give()

    def _release(self, begin: Begin, request: bytes | None) -> None:
        self._give_tokens(begin.experiment, begin.admissions)
        if request is not None and not all(reason for _, _, reason in begin.admissions):
            self._credit.give(pages(len(request)))

    def _tap_fault(self, error: Exception) -> None:
        self.faults.report("tap", error)


def _unrecorded(admissions: tuple[Admission, ...]) -> tuple[Admission, ...]:
    return tuple(admission._replace(drop_reason=DropReason.NOT_RECORDED) for admission in admissions)


def _shed(admissions: tuple[Admission, ...], reason: DropReason) -> tuple[Admission, ...]:
    return tuple(
        admission if admission.drop_reason else admission._replace(drop_reason=reason) for admission in admissions
    )


def _draw() -> bytes:
    return random.getrandbits(64).to_bytes(8, "big")


def _trace(metadata: Metadata) -> tuple[TraceContext, int]:
    """Return where the spans hang, and which attempt of the client this is."""
    header = state = ""
    attempt = 1
    for key, value in metadata:
        if not isinstance(value, str):
            continue
        if key == META_TRACEPARENT:
            header = value
        elif key == META_TRACESTATE:
            state = f"{state},{value}" if state else value
        elif key == META_PREVIOUS_ATTEMPTS and value.isdecimal():
            attempt = 1 + int(value)
    current = get_current_span().get_span_context()
    if current.is_valid:
        return TraceContext(
            trace_id=current.trace_id,
            inbound_span_id=current.span_id,
            remote_span_id=0,
            inbound_is_ours=False,
            flags=current.trace_flags,
            state=current.trace_state.to_header() if current.trace_state else "",
        ), attempt
    remote = propagation.parse(header, state) if header else None
    return TraceContext(
        trace_id=remote.trace_id if remote else propagation.new_trace_id(),
        inbound_span_id=propagation.new_span_id(),
        remote_span_id=remote.span_id if remote else 0,
        inbound_is_ours=True,
        flags=remote.flags if remote else propagation.SAMPLED,
        state=remote.state if remote else "",
    ), attempt

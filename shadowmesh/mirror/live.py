"""
The live side: decides, admits and counts.

Nothing here waits for the mirror side, shares a lock with it, or lets one of its errors out.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from itertools import count

from opentelemetry.context import get_current

from shadowmesh.catalog.builtin import mapped_methods, method_map
from shadowmesh.mirror.abort_watch import AbortWatch, Mapped
from shadowmesh.mirror.admission import Admitter, HandOver, Opened
from shadowmesh.mirror.carrier import Carrier, MirrorSettings
from shadowmesh.mirror.choice import Maps
from shadowmesh.mirror.frames import (
    Aborted,
    Credit,
    Credits,
    Extra,
    Frame,
    Left,
    Lost,
    Outcome,
    Outcomes,
    Reported,
    State,
)
from shadowmesh.mirror.key_watch import KeyWatch
from shadowmesh.mirror.live_figures import LiveFigures
from shadowmesh.mirror.tap import Outlet, Room, Tap
from shadowmesh.model import Metadata
from shadowmesh.names import DropReason
from shadowmesh.policy.experiment import ExperimentSettings, in_force
from shadowmesh.policy.funnel import Counted
from shadowmesh.policy.harm import HarmGuard
from shadowmesh.policy.limits import PAGE_BYTES, Tokens, pages
from shadowmesh.policy.live_gate import LiveGate
from shadowmesh.policy.plan import Ticket
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
        maps: Maps = method_map,
        mapped: Mapped = mapped_methods,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.clock = monotonic_ns
        self.faults = faults
        self.accepting = True
        self._wall = wall_ns
        self._settings = settings
        self._maps = maps
        self._mapped = mapped
        self._experiments = experiments
        self._largest_request = min(settings.max_message_bytes, settings.max_call_bytes)
        self._serial = count(1)
        self._arrived: Callable[[str], object] | None = None
        self._begin_account()

    def _begin_account(self) -> None:
        """Begin to count, of this process: nothing is counted, taken or known yet."""
        settings = self._settings
        self.started = False
        self.guard = HarmGuard(settings.harm_guard, draw=random.random)
        self.reloads = 0
        self._harm_said = False
        self._funnel: Tally[Counted] = Tally()
        self._keys = KeyWatch()
        self.aborts = AbortWatch(self._mapped, self.faults)
        self.aborts.rule(in_force(self._experiments))
        self._gate = LiveGate(in_force(self._experiments), self._funnel.add, missing=self._keys.missed)
        self._gate.arrived = self._arrived
        self.figures = LiveFigures(lambda: self._gate, self._funnel, self._keys)
        self._credit = Tokens(max(1, settings.capture_bytes // PAGE_BYTES))
        self._nowhere = Outlet(_take, self._credit, self._tap_fault, 0, 0)
        self._admitter = Admitter(
            lambda: self._gate, self._funnel, self._credit, self.faults,
            maps=self._maps, draw=_draw, clock=self.clock, wall=self._wall,
        )  # fmt: skip
        self.admit = self._admitter.admit
        self._carrier: Carrier | None = None

    def forked(self) -> None:
        """Let go, in a forked process, of what its parent has counted and holds; a carrier is to be attached anew."""
        self._begin_account()

    def attach(self, carrier: Carrier) -> None:
        """Set what carries the frames; once, before the first call."""
        self._carrier = carrier
        self.aborts.attach(carrier)
        settings = self._settings
        self._outlet = Outlet(
            carrier.offer, self._credit, self._tap_fault, settings.max_call_bytes, settings.max_message_bytes
        )

    def reload(self, experiments: tuple[ExperimentSettings, ...]) -> None:
        """
        Decide by other experiments from now on. What is in flight goes on; a target that is still there keeps its
        place in the limits and what is known of its state.
        """
        self._experiments = experiments
        self._gate = LiveGate(in_force(experiments), self._funnel.add, missing=self._keys.missed, before=self._gate)
        self.figures.rule(in_force(experiments))
        self.aborts.rule(in_force(experiments))
        self.reloads += 1

    def known_as(self, instance_id: str) -> None:
        """Say which id our shadows bear: a call that bears it is one of them, come back."""
        self._gate.instance_id = instance_id

    def on_shadow(self, arrived: Callable[[str], object]) -> None:
        """Say who is told of shadow calls that arrive here, by the target they were made for."""
        self._arrived = self._gate.arrived = arrived

    def start(self) -> None:
        """Start the carrier, where calls arrive."""
        self.started = True
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
            ticket = self._gate.decide(method, metadata, _draw, self.clock) if self.accepting else None
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
        self._admitter.count(ticket, reason)

    def begin(
        self,
        ticket: Ticket,
        method: str,
        arity: Arity,
        metadata: Metadata,
        request: bytes | None,
        deadline: float | None,
    ) -> Tap:
        """
        Begin an exchange at the handler's first sight of it.

        Args:
            request: the request's bytes where it is a single message.
            deadline: what the live call has left, seconds.

        Returns:
            The call's tap; one that keeps nothing where nothing of the call can be recorded.
        """
        held, handed = 0, False
        try:
            at_ns = self.clock()
            slot = self.guard.begin(at_ns)
            if slot.off:
                self.refuse(ticket, DropReason.OFF_SLOT)
                return self._timer(slot, at_ns)
            mirrored, reason = ticket.mirrored, ""
            if request is not None and mirrored:
                held, reason = self._hold(len(request))
                mirrored = not reason
            call = next(self._serial)
            # Made of a tuple, which takes half as long as naming its fields does.
            opened = Opened._make((
                call, ticket, method, arity, metadata, get_current(), request if mirrored else None, held, reason,
                at_ns, deadline,
            ))  # fmt: skip
            handed = True
            if not self._offer(opened, Room.NEW):
                return self._no_room(opened, slot)
            tap = Tap(call, self._outlet, arity.request_streaming and mirrored, mirrored, slot, at_ns)
            if ticket.undecided is not None:
                # Somebody may have read the request already.
                ticket.undecided.unwanted.heard_by(tap.mute)
            return tap
        except Exception as error:
            self.faults.report("begin", error)
            if not handed:
                self._credit.give(held)
                self.refuse(ticket, DropReason.NOT_RECORDED)
            return Tap(0, self._nowhere, False, False)

    def receive(self, frame: Frame) -> None:
        """Take a frame from the engine; from any thread."""
        if isinstance(frame, Credit):
            self._credit.give(frame.pages)
        elif isinstance(frame, Credits):
            self._credit.give(sum(frame.pages))
        elif isinstance(frame, Outcomes):
            self._gate.give_back(frame.experiment, frame.target, len(frame.calls))
        elif isinstance(frame, Outcome):
            self._gate.give_back(frame.experiment, frame.target, 1)
        elif isinstance(frame, State):
            state = self._gate.states.get((frame.experiment, frame.target))
            if state is not None:
                state.closed = frame.closed
        elif isinstance(frame, Extra | Lost | Left):
            self.figures.hear(frame)
        elif isinstance(frame, Reported):
            self.faults.relay(frame.cause, frame.times)
        elif isinstance(frame, Aborted):
            self.aborts.hear(frame)

    def queued(self) -> int:
        """Return how many hand-overs wait for the engine."""
        return self._carrier.queued() if self._carrier is not None else 0

    def credit_taken(self) -> int:
        """Return the bytes of capture credit in use, in whole pages."""
        return self._credit.taken * PAGE_BYTES

    def _hold(self, size: int) -> tuple[int, str]:
        """Return the pages taken for a request, or why it cannot be kept."""
        if size > self._largest_request:
            settings = self._settings
            return 0, DropReason.OVERSIZE if size > settings.max_message_bytes else DropReason.OVERSIZE_CALL
        held = pages(size)
        return (held, "") if self._credit.take(held) else (0, DropReason.CAPTURE_FULL)

    def _no_room(self, opened: Opened, slot: Slot) -> Tap:
        """Give back what was taken and try to record at least that the exchange was shed."""
        self._credit.give(opened.pages)
        # A worker that drains takes no call that begins now, whatever room there is.
        reason = opened.reason or (DropReason.QUEUE_FULL if self.accepting else DropReason.SHUTDOWN)
        if not self._offer(opened._replace(request=None, pages=0, reason=reason), Room.MORE):
            self.refuse(opened.ticket, DropReason.NOT_RECORDED)
            return self._timer(slot, opened.at_ns)
        return Tap(opened.call, self._outlet, False, False, slot, opened.at_ns)

    def _timer(self, slot: Slot, at_ns: int) -> Tap:
        """Return a tap that keeps nothing: such a call is timed as any other, and that is all."""
        return Tap(0, self._nowhere, False, False, slot, at_ns)

    def _offer(self, opened: Opened, room: Room) -> bool:
        carrier = self._carrier
        if carrier is None:
            return False
        try:
            if carrier.offer(opened, room):
                return True
            if carrier.bound:
                return False
            # After its loop was closed, the carrier `loop` starts anew in the one that runs now.
            carrier.start()
            return carrier.offer(opened, room)
        except Exception as error:
            self.faults.report("carrier", error)
            return False

    def _tap_fault(self, error: Exception) -> None:
        self.faults.report("tap", error)


def _take(_frame: HandOver, _room: Room) -> bool:
    """What is only timed sends nothing to anybody."""
    return True


def _draw() -> bytes:
    return random.getrandbits(64).to_bytes(8, "big")

"""
The second half of admitting a call: what can wait until frames are taken out of the mailbox.

A live call does only what must be done in its own time, in few steps, because a step done once per call runs out of
cold caches and costs several times what it costs in a row. The rest is done here, for many calls at once, wherever the
carrier takes them: the engine's loop, or the thread that feeds the workers.

Here too it is decided whose call it is, or whether it is sampled, where only the request can tell. Here is everything
that a decision needs, and nothing has left the process yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from opentelemetry.context import Context

from shadowmesh.mirror.caller import caller
from shadowmesh.mirror.choice import Chooser, Maps
from shadowmesh.mirror.frames import Begin, Frame
from shadowmesh.model import Metadata
from shadowmesh.names import DropReason
from shadowmesh.policy.funnel import Counted
from shadowmesh.policy.limits import Tokens
from shadowmesh.policy.live_gate import LiveGate
from shadowmesh.policy.plan import Admission, Plan, Ticket, Undecided
from shadowmesh.policy.target_state import TargetState
from shadowmesh.rpc import Arity
from shadowmesh.telemetry.counters import Tally
from shadowmesh.telemetry.faults import Faults


class Opened(NamedTuple):
    """
    A call as its live side leaves it: on its way to become a ``Begin``, in the same process.

    ``request`` is the message of a call that has one only, ``pages`` the credit it holds; with a ``reason`` every
    shadow is shed. Of an undecided call that has a stream of them, ``request`` is the first, once it is there: to be
    read, it goes on in a frame of its own.
    """

    call: int
    ticket: Ticket
    method: str
    arity: Arity
    metadata: Metadata
    context: Context
    request: bytes | None
    pages: int
    reason: str
    at_ns: int
    deadline: float | None


HandOver = Frame | Opened
"""What a live call hands to a carrier."""
Admit = Callable[[Opened], Begin | None]
"""
Makes a ``Begin``; ``None`` where nobody wants the call or that failed, and then it is counted and nothing is held for
it: whoever gets later frames of it gives back what they hold.
"""


class Admitter:
    """Decides where the live gate could not, takes tokens, counts the funnel, and finds out who called."""

    def __init__(
        self,
        gate: Callable[[], LiveGate],
        funnel: Tally[Counted],
        credit: Tokens,
        faults: Faults,
        *,
        maps: Maps,
        draw: Callable[[], bytes],
        clock: Callable[[], int],
        wall: Callable[[], int],
    ) -> None:
        """
        Make one for one process.

        Args:
            gate: returns the live gate in force.
            maps: how requests are read.
            draw: gives a sampling key by chance.
            clock: monotonic, nanoseconds; ``wall`` is the time of day, likewise.
        """
        self._gate = gate
        self._funnel = funnel
        self._credit = credit
        self._faults = faults
        self._maps = maps
        self._chooser = Chooser(maps)
        self._draw = draw
        self._clock = clock
        self._wall = wall

    def admit(self, opened: Opened) -> Begin | None:
        """Return the call's first frame; see :data:`Admit`."""
        undecided, begin = opened.ticket.undecided, None
        try:
            if undecided is None:
                begin = self._begin(opened)
            elif (decided := self._decided(opened, undecided)) is not None:
                opened = decided
                begin = self._begin(opened, late=True)
        except Exception as error:
            self._faults.report("admission", error)
            # Counting runs the gate again, which may be what failed: one call must not end the others.
            with suppress(Exception):
                self.count(opened.ticket, DropReason.NOT_RECORDED)
        if begin is not None:
            plan = opened.ticket.plan
            for admission in begin.admissions:
                self._funnel.add(plan.key(admission))
        if opened.pages and (begin is None or begin.request is None):
            self._credit.give(opened.pages)
        if undecided is not None and (begin is None or all(reason for _, _, reason in begin.admissions)):
            undecided.unwanted.give()
        return begin

    def count(self, ticket: Ticket, reason: DropReason) -> None:
        """Count a call whose shadows are all shed without a leg."""
        decided: Ticket | None = ticket
        if ticket.undecided is not None:
            decided = self._unread(ticket.undecided)
        for admission in () if decided is None else decided.admissions:
            self._funnel.add(ticket.plan.key(admission._replace(drop_reason=reason)))

    def _unread(self, undecided: Undecided, plan: Plan | None = None) -> Ticket | None:
        """
        Return who takes part in a call whose request nobody has read, as one of ``plan``'s; by default of the first one
        that might have wanted it, because an exchange has one account.

        Where the sampling key stands in the request, chance tells instead: rates hold for what is shed too.
        """
        plan = plan or undecided.plans[0]
        return self._gate().decide(undecided.method, undecided.metadata, self._draw, self._clock, plan)

    def _decided(self, opened: Opened, undecided: Undecided) -> Opened | None:
        """Return the call as the live gate would have left it, had it read the request; ``None`` if nobody wants it."""
        ticket = self._unread(undecided) if opened.reason else self._chosen(undecided, opened.request)
        if ticket is not None:
            ticket = self._still_there(ticket)
        if ticket is None:
            return None
        # The first message of a stream goes on in a frame of its own.
        return opened._replace(ticket=ticket, request=None if opened.arity.request_streaming else opened.request)

    def _still_there(self, ticket: Ticket) -> Ticket | None:
        """
        Return the ticket without targets that reloads have removed while the call was held back; ``None`` if none is
        left. Nobody knows these any more, who could record a leg of theirs.
        """
        plan = ticket.plan
        now = self._gate().plans.get(plan.name)
        if now is plan:
            return ticket
        known = () if now is None else now.states.keys()
        kept = tuple(one for one in ticket.admissions if one.target in known)
        self.count(ticket._replace(admissions=tuple(set(ticket.admissions) - set(kept))), DropReason.NOT_RECORDED)
        return ticket._replace(admissions=kept) if kept else None

    def _chosen(self, undecided: Undecided, request: bytes | None) -> Ticket | None:
        """Return who takes part, by what the request says, and count whom it was not for."""
        gate, (plan, key, passed_over) = self._gate(), self._chooser.choose(undecided, request)
        for other, reason in passed_over:
            if reason is DropReason.OTHER_MODEL:
                gate.disable(other, reason)
            elif (ticket := self._unread(undecided, other)) is not None:
                self.count(ticket, reason)
        if plan is None:
            gate.told(undecided.metadata)
            return None
        place = None if plan.sampler.field is None else partial(plan.sampler.place_of, key, self._draw)
        return gate.decide(undecided.method, undecided.metadata, self._draw, self._clock, plan, place)

    def _begin(self, opened: Opened, *, late: bool = False) -> Begin:
        call, ticket, method, arity, metadata, context, request, held, reason, at_ns, deadline = opened
        plan = ticket.plan
        states, now_ns = plan.states, at_ns
        if late:
            # It may have waited long for its request: places and pace are those of now.
            states, now_ns = self._gate().states_for(plan), self._clock()
        who = caller(metadata, context)
        headers = plan.headers.filter(metadata) if plan.headers is not None else ()
        method_map = self._maps(method, plan.settings.protocol)
        if method_map is not None and method_map.metadata_keys:
            # To be read by the engine, which filters again for each target.
            known = {key for key, _ in headers}
            headers += tuple(entry for entry in metadata if entry[0] in method_map.metadata_keys - known)
        session = plan.sampler.session(metadata)
        # The wall clock of the moment that the monotonic clock has noted.
        wall_ns = self._wall() - (self._clock() - at_ns)
        if reason:
            admissions = tuple(_shed(admission, reason) for admission in ticket.admissions)
        else:
            admissions = tuple([_take_token(states, admission, now_ns) for admission in ticket.admissions])
        if request is None or all([reason for _, _, reason in admissions]):  # noqa: C419
            request, held = None, 0
        # Made of a tuple, as the call's live side makes its part.
        return Begin._make(
            (call, method, arity, plan.name, at_ns, wall_ns, deadline, who, headers, admissions, request, held, session)
        )


def _take_token(states: Mapping[str, TargetState], admission: Admission, now_ns: int) -> Admission:
    # Nothing after this may fail: a token taken is given back by an outcome only.
    if admission.drop_reason:
        return admission
    reason = states[admission.target].take(now_ns)
    return admission._replace(drop_reason=reason) if reason else admission


def _shed(admission: Admission, reason: str) -> Admission:
    """Return the admission shed for ``reason``; one that is shed already keeps its own."""
    return admission if admission.drop_reason else admission._replace(drop_reason=reason)

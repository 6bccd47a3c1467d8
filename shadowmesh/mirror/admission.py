"""
The second half of admitting a call: what can wait until frames are taken out of the mailbox.

A live call does only what must be done in its own time, in few steps, because a step done once per call runs out of
cold caches and costs several times what it costs in a row. The rest is done here, for many calls at once, wherever the
carrier takes them: the engine's loop, or the thread that feeds the workers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from opentelemetry.context import Context

from shadowmesh.mirror.caller import caller
from shadowmesh.mirror.frames import Begin, Frame
from shadowmesh.model import Metadata
from shadowmesh.names import DropReason
from shadowmesh.policy.limits import Tokens
from shadowmesh.policy.live_gate import Admission, FunnelKey, Plan, Ticket
from shadowmesh.rpc import Arity
from shadowmesh.telemetry.counters import Tally
from shadowmesh.telemetry.faults import Faults


class Opened(NamedTuple):
    """
    A call as its live side leaves it: on its way to become a ``Begin``, in the same process.

    ``request`` is the message of a call that has one only, ``pages`` the credit it holds; with a ``reason`` every
    shadow is shed.
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
"""Makes a ``Begin``; ``None`` where that failed, and then the call is counted and nothing is held for it."""


class Admitter:
    """Takes tokens, counts the funnel, and finds out who called."""

    def __init__(
        self,
        funnel: Tally[FunnelKey],
        credit: Tokens,
        faults: Faults,
        *,
        clock: Callable[[], int],
        wall: Callable[[], int],
    ) -> None:
        self._funnel = funnel
        self._credit = credit
        self._faults = faults
        self._clock = clock
        self._wall = wall

    def admit(self, opened: Opened) -> Begin | None:
        """Return the call's first frame; see :data:`Admit`."""
        try:
            begin = self._begin(opened)
        except Exception as error:
            self._faults.report("admission", error)
            self._credit.give(opened.pages)
            self.count(opened.ticket, DropReason.NOT_RECORDED)
            return None
        plan = opened.ticket.plan
        for admission in begin.admissions:
            self._funnel.add(plan.key(admission))
        if opened.pages and begin.request is None:
            self._credit.give(opened.pages)
        return begin

    def count(self, ticket: Ticket, reason: DropReason) -> None:
        """Count a call whose shadows are all shed without a leg."""
        for admission in ticket.admissions:
            self._funnel.add(ticket.plan.key(admission._replace(drop_reason=reason)))

    def _begin(self, opened: Opened) -> Begin:
        plan, metadata = opened.ticket.plan, opened.metadata
        who = caller(metadata, opened.context)
        headers = plan.headers.filter(metadata) if plan.headers is not None else ()
        # The wall clock of the moment that the monotonic clock has noted.
        wall_ns = self._wall() - (self._clock() - opened.at_ns)
        if opened.reason:
            admissions = tuple(_shed(admission, opened.reason) for admission in opened.ticket.admissions)
        else:
            at_ns = opened.at_ns
            admissions = tuple([_take_token(plan, admission, at_ns) for admission in opened.ticket.admissions])
        wanted = opened.request is not None and not all([reason for _, _, reason in admissions])  # noqa: C419
        return Begin(
            opened.call,
            opened.method,
            opened.arity,
            plan.name,
            opened.at_ns,
            wall_ns,
            opened.deadline,
            who,
            headers,
            admissions,
            opened.request if wanted else None,
            opened.pages if wanted else 0,
        )


def _take_token(plan: Plan, admission: Admission, at_ns: int) -> Admission:
    # Nothing after this may fail: a token taken is given back by an outcome only.
    if admission.drop_reason:
        return admission
    reason = plan.states[admission.target].take(at_ns)
    return admission._replace(drop_reason=reason) if reason else admission


def _shed(admission: Admission, reason: str) -> Admission:
    """Return the admission shed for ``reason``; one that is shed already keeps its own."""
    return admission if admission.drop_reason else admission._replace(drop_reason=reason)

"""Arbitrary frames, for every kind that crosses the boundary."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from shadowmesh.mirror.frames import (
    Abandon,
    Abort,
    Aborted,
    Begin,
    Caller,
    Credit,
    Credits,
    Drain,
    Extra,
    Frame,
    Left,
    LiveDone,
    Lost,
    Outcome,
    Outcomes,
    Reload,
    Reported,
    Request,
    RequestEnd,
    Response,
    Settled,
    Setup,
    State,
)
from shadowmesh.model import SESSION_BUCKETS
from shadowmesh.policy.budget import Remaining
from shadowmesh.policy.plan import Admission
from shadowmesh.rpc import Arity

CALLS = st.integers(0, 2**64 - 1)
TIMES = st.integers(-(2**63), 2**63 - 1)
SPAN_IDS = st.integers(0, 2**64 - 1)
COUNTS = st.integers(0, 2**32 - 1)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
METADATA = st.lists(st.tuples(TEXTS, st.one_of(TEXTS, st.binary(max_size=12))), max_size=4).map(tuple)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
ADMISSIONS = st.lists(st.builds(Admission, TEXTS, FINITE, TEXTS), max_size=3).map(tuple)

# The state is sent with the header it belongs to. gRPC counts previous attempts in 32 bits, and this is one more.
CALLERS = st.builds(
    lambda header, state, instrumented, attempt: Caller(header, state if header else "", instrumented, attempt),
    TEXTS,
    TEXTS,
    st.booleans(),
    st.integers(0, 2**16) | st.just(2**32),
)
BEGINS = st.builds(
    Begin,
    call=CALLS,
    method=TEXTS,
    arity=st.sampled_from(Arity),
    experiment=TEXTS,
    at_ns=TIMES,
    wall_ns=TIMES,
    deadline=st.none() | FINITE,
    caller=CALLERS,
    metadata=METADATA,
    admissions=ADMISSIONS,
    request=st.none() | st.binary(max_size=20),
    pages=COUNTS,
    session=st.none() | st.integers(0, SESSION_BUCKETS - 1),
)


@st.composite
def _messages(draw: st.DrawFn, kind: type[Request | Response]) -> Frame:
    times = draw(st.lists(TIMES, max_size=4))
    kept = draw(st.booleans())
    messages = tuple(draw(st.binary(max_size=20)) for _ in times) if kept else ()
    return kind(draw(CALLS), tuple(times), messages, draw(COUNTS))


@st.composite
def _dones(draw: st.DrawFn) -> Frame:
    last: Any = draw(_messages(Response))
    facts: Any = draw(st.tuples(CALLS, TIMES, TEXTS, TEXTS, TIMES, st.booleans(), CALLS))
    call, at_ns, status, end, stall_ns, captured, total = facts
    return LiveDone(call, at_ns, status, end, stall_ns, captured, total, last.times_ns, last.messages, last.pages)


BY_KIND: dict[type[Frame], st.SearchStrategy[Frame]] = {
    Begin: BEGINS,
    Request: _messages(Request),
    RequestEnd: st.builds(RequestEnd, CALLS, TIMES),
    Response: _messages(Response),
    LiveDone: _dones(),
    Abandon: st.builds(Abandon, CALLS, TEXTS),
    Abort: st.builds(Abort, CALLS, TIMES, TEXTS, st.binary(max_size=40)),
    Aborted: st.builds(Aborted, CALLS, TEXTS, TEXTS, TEXTS, COUNTS),
    Reload: st.builds(Reload, CALLS, st.binary(max_size=40)),
    Drain: st.builds(Drain, CALLS, FINITE),
    Outcome: st.builds(Outcome, CALLS, TEXTS, TEXTS),
    Extra: st.builds(Extra, CALLS, TEXTS, ADMISSIONS, COUNTS),
    State: st.builds(State, CALLS, TEXTS, TEXTS, TEXTS),
    Credit: st.builds(Credit, CALLS, COUNTS),
    Setup: st.builds(Setup, CALLS, st.binary(max_size=40)),
    Outcomes: st.builds(Outcomes, CALLS, TEXTS, TEXTS, st.lists(CALLS, max_size=4).map(tuple)),
    Credits: st.lists(st.tuples(CALLS, COUNTS), max_size=4).map(
        lambda both: Credits(0, tuple(call for call, _ in both), tuple(pages for _, pages in both))
    ),
    Settled: st.lists(st.tuples(CALLS, COUNTS), max_size=4).map(
        lambda both: Settled(0, tuple(call for call, _ in both), tuple(exchanges for _, exchanges in both))
    ),
    Lost: st.builds(Lost, CALLS, TEXTS, TEXTS, TEXTS, COUNTS),
    Reported: st.builds(Reported, CALLS, TEXTS, COUNTS),
    Left: st.builds(Left, CALLS, st.builds(Remaining, TEXTS, TEXTS, TEXTS, TEXTS, FINITE, FINITE), COUNTS),
}
FRAMES: st.SearchStrategy[Frame] = st.one_of(*BY_KIND.values())

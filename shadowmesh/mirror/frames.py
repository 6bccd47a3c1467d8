"""
The frames that cross from the live side to the mirror engine and back (pure).

Carriers inside one process hand the records over as they are; one that leaves the process sends their bytes, see
:mod:`shadowmesh.mirror.codec`. A call is few frames, because each costs the live side: a single request travels in
its ``Begin``, what is left of the answer in its ``LiveDone``.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from shadowmesh.model import Metadata
from shadowmesh.policy.budget import Remaining
from shadowmesh.policy.plan import Admission
from shadowmesh.rpc import Arity


class Caller(NamedTuple):
    """
    The span a call arrived under, as W3C headers say it, and which attempt of its client it is.

    ``traceparent`` is empty where there is none. ``instrumented`` says that another instrumentation of this process
    made the span; else it is the remote caller's own.
    """

    traceparent: str = ""
    tracestate: str = ""
    instrumented: bool = False
    attempt: int = 1


class Begin(NamedTuple):
    """
    An exchange has begun. ``at_ns`` is the monotonic clock that all frames of a call share, ``wall_ns`` the
    wall clock at the same moment; ``deadline`` is what the live call has left, seconds. ``request`` is the message of a
    call that has one only, if any shadow wants it, and ``pages`` the credit it holds. ``session`` is the bucket of what
    it belongs to, where metadata say that.
    """

    call: int
    method: str
    arity: Arity
    experiment: str
    at_ns: int
    wall_ns: int
    deadline: float | None
    caller: Caller
    metadata: Metadata
    admissions: tuple[Admission, ...]
    request: bytes | None = None
    pages: int = 0
    session: int | None = None


class Request(NamedTuple):
    """Request messages as they came, with the time of each; ``pages`` is the credit they hold."""

    call: int
    times_ns: tuple[int, ...]
    messages: tuple[bytes, ...]
    pages: int


class RequestEnd(NamedTuple):
    """The live client has half-closed."""

    call: int
    at_ns: int


class Response(NamedTuple):
    """Response messages as they went, with the time of each; no messages when their bytes were let go."""

    call: int
    times_ns: tuple[int, ...]
    messages: tuple[bytes, ...]
    pages: int


class LiveDone(NamedTuple):
    """
    The live leg has ended. ``status`` is empty when nobody can know it; ``captured`` says whether every response
    message is in the frames, ``total`` how many there were; ``stall_ns`` how long our writes waited for the client.
    The last response messages come with it, as in a ``Response``.
    """

    call: int
    at_ns: int
    status: str
    end: str
    stall_ns: int
    captured: bool
    total: int
    times_ns: tuple[int, ...] = ()
    messages: tuple[bytes, ...] = ()
    pages: int = 0


class Abandon(NamedTuple):
    """Request messages were let go for ``reason``: what the shadows have is not the whole request."""

    call: int
    reason: str


class Abort(NamedTuple):
    """
    A client has asked ``method`` to end calls of its own, and was answered; ``request`` is what it asked at ``at_ns``.

    Of no call: whose it ends stands in the request, and every engine gets it.
    """

    call: int
    at_ns: int
    method: str
    request: bytes


class Setup(NamedTuple):
    """The first frame a worker process gets: what it needs to build its own engine and exporter, as JSON."""

    call: int
    config: bytes


class Reload(NamedTuple):
    """The experiments in force for every call that begins after this frame, as JSON."""

    call: int
    config: bytes


class Drain(NamedTuple):
    """No call begins after this frame; what is open may take ``grace`` seconds more."""

    call: int
    grace: float


class Outcome(NamedTuple):
    """Back: the shadow of ``target`` is over."""

    call: int
    experiment: str
    target: str


class Extra(NamedTuple):
    """
    Back: the call turned out to carry ``exchanges`` more than the one it was admitted for, or shed, at each of its
    targets.
    """

    call: int
    experiment: str
    admissions: tuple[Admission, ...]
    exchanges: int


class State(NamedTuple):
    """Back: whether ``target`` of ``experiment`` may be admitted; ``closed`` is the drop reason while it may not."""

    call: int
    experiment: str
    target: str
    closed: str


class Credit(NamedTuple):
    """Back: ``pages`` of captured bytes are free again."""

    call: int
    pages: int


class Outcomes(NamedTuple):
    """Back, from a worker process: the shadows of ``target`` are over, of all these calls."""

    call: int
    experiment: str
    target: str
    calls: tuple[int, ...]


class Credits(NamedTuple):
    """Back, from a worker process: the pages of all these calls are free again, in the same order."""

    call: int
    calls: tuple[int, ...]
    pages: tuple[int, ...]


class Settled(NamedTuple):
    """
    Back, from a worker process: of each of these calls the spans of so many exchanges are exported, or said to be
    ``Lost`` in the same breath.
    """

    call: int
    calls: tuple[int, ...]
    exchanges: tuple[int, ...]


class Lost(NamedTuple):
    """Back: the legs of so many exchanges at ``target`` will reach nobody, for ``reason``."""

    call: int
    experiment: str
    target: str
    reason: str
    exchanges: int


class Reported(NamedTuple):
    """Back, from a worker process: ``cause`` has happened so many times more on its side."""

    call: int
    cause: str
    times: int


class Aborted(NamedTuple):
    """Back: so many shadows at ``target`` were to end with their live calls; ``result`` says what came of it."""

    call: int
    experiment: str
    target: str
    result: str
    times: int


class Left(NamedTuple):
    """Back: what is left of one limit of one target, for one engine; ``worker`` tells those of a process apart."""

    call: int
    remaining: Remaining
    worker: int = 0


Frame: TypeAlias = (
    Begin
    | Request
    | RequestEnd
    | Response
    | LiveDone
    | Abandon
    | Abort
    | Setup
    | Reload
    | Drain
    | Outcome
    | Extra
    | State
    | Credit
    | Outcomes
    | Credits
    | Settled
    | Lost
    | Reported
    | Aborted
    | Left
)

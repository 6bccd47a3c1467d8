"""The live process's end of a worker: of a frame that cannot be said nothing is lost but what it would have said."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.resources import Resource
from support.collector import collector
from support.conversations import answer
from support.experiments import experiment, target
from support.frames import BY_KIND
from support.records import begin
from support.resources import until
from support.wire import last_delta, request

from shadowmesh.mirror.assembly import WorkerSetup
from shadowmesh.mirror.carrier import MirrorSettings
from shadowmesh.mirror.codec import encode
from shadowmesh.mirror.engine import EXPERIMENTS
from shadowmesh.mirror.frames import (
    Abandon,
    Credit,
    Credits,
    Frame,
    LiveDone,
    Lost,
    Outcome,
    Outcomes,
    Reload,
    Request,
    RequestEnd,
    Response,
    Settled,
    Setup,
)
from shadowmesh.mirror.link import Link
from shadowmesh.mirror.stand_in import stand_ins
from shadowmesh.mirror.tap import Room
from shadowmesh.model import Leg
from shadowmesh.names import SERVICE_INSTANCE_ID, CallEnd, Role
from shadowmesh.rpc import Arity
from shadowmesh.schema.messages import GenerateRequest
from shadowmesh.telemetry.faults import Faults
from shadowmesh.telemetry.settings import OtlpSettings, TelemetrySettings
from shadowmesh.testing import Backend, SpanSink

TOO_LATE, TOO_MANY = 1 << 63, 1 << 32
"""A time and a number of pages that no frame has room for."""


@contextmanager
def link_to(backend: Backend) -> Iterator[tuple[Link, list[Frame], SpanSink]]:
    """A link with a worker that mirrors to ``backend``, what it heard, and the spans that were exported."""
    heard: list[Frame] = []
    sink = SpanSink()
    with collector(sink) as endpoint:
        telemetry = TelemetrySettings(otlp=OtlpSettings(endpoint=f"http://{endpoint}"))
        setup = WorkerSetup.of(MirrorSettings(), telemetry, Resource({SERVICE_INSTANCE_ID: "one"}))
        settings = experiment(target(address=backend.address), output_digest=True)
        first = (Setup(0, setup.model_dump_json().encode()), Reload(0, EXPERIMENTS.dump_json((settings,))))
        link = Link(
            heard.append, lambda: first, queue_items=100, admit=lambda _: None, faults=Faults(), clock=time.monotonic
        )
        link.start()
        try:
            yield link, heard, sink
        finally:
            link.end()


def conversation() -> dict[str, Frame]:
    """Return a call of one exchange in many frames."""
    now = time.monotonic_ns()
    return {
        "begin": begin(method="/acme.Model/Talk", arity=Arity.STREAM_STREAM, at_ns=now, wall_ns=time.time_ns()),
        "first request": Request(1, (now,), (request("r", prompt="a b"),), 1),
        "second request": Request(1, (now,), (request("r", prompt="c"),), 2),
        "half-close": RequestEnd(1, now),
        "response": Response(1, (now + 1,), (b"",), 4),
        "end": LiveDone(
            1, now + 2, "OK", "completed", 0, captured=True, total=2, times_ns=(now + 2,), messages=(last_delta("a"),),
            pages=8,
        ),
    }  # fmt: skip


def answering(_call: object, requests: Iterator[bytes], _context: object) -> Iterator[bytes]:
    for data in requests:
        yield from (delta.SerializeToString() for delta in answer(GenerateRequest.FromString(data)))


def broken(frame: Frame, how: str) -> Frame:
    if how == "not at all":
        return frame
    if how == "pages":
        assert isinstance(frame, (Request, Response, LiveDone))
        return frame._replace(pages=TOO_MANY)
    if isinstance(frame, (RequestEnd, LiveDone)):
        return frame._replace(at_ns=TOO_LATE)
    assert isinstance(frame, (Request, Response))
    return frame._replace(times_ns=(TOO_LATE,))


def played(name: str, how: str) -> tuple[Leg, Leg, list[Frame], int]:
    """Play a call of which one frame cannot be said; return its legs, what was heard, and the pages it held."""
    frames = conversation()
    frames[name] = broken(frames[name], how)
    with Backend(answering) as backend, link_to(backend) as (link, heard, sink):
        for frame in frames.values():
            assert link.mailbox.put(frame, Room.END)

        def settled() -> bool:
            link.turn()
            return any(isinstance(frame, Settled) for frame in heard) and not link.held

        assert until(settled, 20)
        legs = {leg.role: leg for leg in sink.wait_for_legs(2)}
    pages = sum(getattr(frame, "pages", 0) for frame in frames.values())
    return legs[Role.LIVE], legs[Role.SHADOW], heard, pages


def given_back(heard: list[Frame]) -> int:
    pages = 0
    for frame in heard:
        if isinstance(frame, Credit):
            pages += frame.pages
        elif isinstance(frame, Credits):
            pages += sum(frame.pages)
    return pages


@pytest.mark.parametrize(
    ("name", "how", "live", "shadow"),
    [
        ("first request", "pages", ("OK", CallEnd.COMPLETED), CallEnd.CUT),
        ("second request", "times", ("OK", CallEnd.COMPLETED), CallEnd.CUT),
        ("half-close", "times", ("OK", CallEnd.COMPLETED), CallEnd.CUT),
        ("response", "pages", ("OK", CallEnd.COMPLETED), CallEnd.COMPLETED),
        ("response", "times", ("OK", CallEnd.COMPLETED), CallEnd.COMPLETED),
        ("end", "pages", ("OK", CallEnd.COMPLETED), CallEnd.COMPLETED),
        ("end", "times", (None, CallEnd.CUT), None),
    ],
)
def test_a_call_of_which_a_frame_cannot_be_said_stays_the_workers_own_and_its_legs_say_what_is_missing(
    name: str, how: str, live: tuple[str | None, str], shadow: str | None
) -> None:
    ours, theirs, heard, pages = played(name, how)
    assert given_back(heard) == pages
    over = Counter(
        call
        for frame in heard
        for call in (
            frame.calls if isinstance(frame, Outcomes) else (frame.call,) if isinstance(frame, Outcome) else ()
        )
    )
    assert over == {1: 1}
    assert [frame for frame in heard if isinstance(frame, Settled)] == [Settled(0, (1,), (1,))]
    assert not [frame for frame in heard if isinstance(frame, Lost)]
    assert (ours.status, ours.end) == live
    assert shadow in (theirs.end, None)
    assert ours.output_digest is None, "nobody knows the whole call"


def test_a_call_that_is_said_whole_is_whole() -> None:
    ours, theirs, heard, pages = played("begin", "not at all")
    assert (ours.end, theirs.end, given_back(heard)) == (CallEnd.COMPLETED, CallEnd.COMPLETED, pages)
    assert ours.output_digest is not None


ANY_CALL = st.one_of(*(BY_KIND[kind] for kind in (Request, RequestEnd, Abandon, Response, LiveDone)))


@given(ANY_CALL, st.integers(0, 2**63 - 1))
def test_what_stands_in_is_of_the_same_call_holds_nothing_and_can_be_said(frame: Frame, now_ns: int) -> None:
    places = stand_ins(frame, now_ns)
    assert {one.call for one in places} == {frame.call}
    assert all(getattr(one, "pages", 0) == 0 for one in places)
    assert all(isinstance(one, LiveDone) == isinstance(frame, LiveDone) for one in places), "an end stays an end"
    assert encode(places[-1])

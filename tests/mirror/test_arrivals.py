"""Calls of which only the request tells whose they are, as they are taken out of a mailbox."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.context import get_current
from support.experiments import GENERATE, experiment, target
from support.hand_overs import DISABLED, DROPPED, LLAMA, MIRRORED, NOT_SAMPLED, REST, STICKY, HandOvers, line
from support.wire import request

from shadowmesh.mirror.admission import Admitter, Opened
from shadowmesh.mirror.frames import (
    Abandon,
    Begin,
    LiveDone,
    Request,
    RequestEnd,
    Response,
    State,
)
from shadowmesh.mirror.link import Link
from shadowmesh.mirror.tap import Room
from shadowmesh.names import META_ROLE, META_TARGET, CallEnd, DropReason
from shadowmesh.policy.funnel import Counted, lines
from shadowmesh.policy.limits import Tokens
from shadowmesh.policy.live_gate import LiveGate
from shadowmesh.protocols.protocol_map import MethodMap
from shadowmesh.rpc import Arity
from shadowmesh.telemetry.counters import Tally
from shadowmesh.telemetry.faults import Faults


def test_a_call_goes_to_whoever_its_request_names_and_the_others_say_that_it_was_not_theirs() -> None:
    them = HandOvers(LLAMA, REST)
    them.call(request(model="llama-3"))
    them.call(request(model="gpt"))
    assert them.lines() == {}, "nothing is counted before the request was read"
    them.take()
    assert them.lines() == {
        line("a", "a1", MIRRORED): 1,
        line("a", "a2", NOT_SAMPLED): 1,
        line("a", "a1", DISABLED, "other_model"): 1,
        line("a", "a2", DISABLED, "other_model"): 1,
        line("r", "r", MIRRORED): 1,
    }
    begins = [frames[0] for frames in them.known.values()]
    assert [(one.experiment, one.request) for one in begins if isinstance(one, Begin)] == [
        ("a", request(model="llama-3")),
        ("r", request(model="gpt")),
    ]


def test_a_stream_waits_for_its_first_message_and_loses_nothing_that_was_said_before() -> None:
    them = HandOvers(LLAMA)
    tap = them.call()
    for number in range(64):
        tap.response(b"greeting", number)
    them.take()
    assert (len(them.arrivals), them.known, them.lines()) == (1, {}, {})
    tap.request(request(model="llama-3"), 100)
    tap.request(request(model="gpt"), 101)
    tap.request_end(102)
    tap.done(103, "OK", CallEnd.COMPLETED)
    them.take()
    (frames,) = them.known.values()
    assert [type(frame) for frame in frames] == [Begin, Response, Request, Request, RequestEnd, LiveDone]
    begin, greeting = frames[:2]
    assert isinstance(begin, Begin)
    assert (begin.experiment, begin.request, begin.pages) == ("a", None, 0)
    assert isinstance(greeting, Response)
    assert len(greeting.messages) == 64
    assert (len(them.arrivals), them.strange) == (0, [])


@pytest.mark.parametrize(
    ("end", "kinds"), [("half-close", [RequestEnd]), ("lost", [Abandon]), ("done", list[type]())], ids=str
)
def test_a_stream_that_ends_without_a_message_says_no_model(end: str, kinds: list[type]) -> None:
    them = HandOvers(LLAMA, REST)
    tap = them.call()
    if end == "half-close":
        tap.request_end(1)
    elif end == "lost":
        tap.requests_lost()
    tap.done(2, "OK", CallEnd.COMPLETED)
    them.take()
    assert them.lines() == {
        line("a", "a1", DROPPED, "unknown_model"): 1,
        line("a", "a2", NOT_SAMPLED): 1,
        line("r", "r", MIRRORED): 1,
    }
    (frames,) = them.known.values()
    assert [type(frame) for frame in frames] == [Begin, *kinds, LiveDone]


def test_what_a_server_says_before_it_is_asked_waits_only_as_long_as_it_is_kept() -> None:
    them = HandOvers(LLAMA, max_call_bytes="16KiB")
    tap = them.call()
    for number in range(64):
        tap.response(b"x" * 1024, number)
    them.take()
    assert len(them.arrivals) == 0
    assert them.lines() == {line("a", "a1", DROPPED, "unknown_model"): 1, line("a", "a2", NOT_SAMPLED): 1}


def test_a_call_that_nobody_wants_keeps_no_memory_from_then_on() -> None:
    them = HandOvers(LLAMA)
    stream, single = them.call(), them.call(request(model="gpt"))
    stream.request(request(model="gpt"), 1)
    stream.response(b"y" * 1000, 2)
    assert them.live.credit_taken() > 0
    them.take()
    assert them.live.credit_taken() == 0
    assert not stream.capturing
    assert not single.capturing
    assert stream._messages == []
    for number in range(200):
        stream.request(b"x" * 10_000, number)
        stream.response(b"y" * 10_000, number)
    single.response(b"z" * 10_000, 1)
    assert them.live.credit_taken() == 0
    for tap in (stream, single):
        tap.done(3, "OK", CallEnd.COMPLETED)
    them.take()
    assert them.live.credit_taken() == 0
    assert them.known == {}


def test_a_request_may_be_read_before_its_tap_is_made() -> None:
    them = HandOvers(LLAMA, at_once=True)
    assert not them.call(request(model="gpt")).capturing
    assert them.call(request(model="llama-3")).capturing


def test_a_call_all_of_whose_shadows_are_shed_keeps_no_bytes_and_has_its_legs_all_the_same() -> None:
    them = HandOvers(LLAMA)
    tap = them.call(request(model="llama-3"))
    them.live.receive(State(0, "a", "a1", DropReason.BUDGET))
    them.take()
    assert not tap.capturing
    assert them.live.credit_taken() == 0
    tap.done(3, "OK", CallEnd.COMPLETED)
    them.take()
    assert them.lines() == {line("a", "a1", DROPPED, "budget"): 1, line("a", "a2", NOT_SAMPLED): 1}
    assert [type(frame) for frame in them.known[1]] == [Begin, LiveDone]


def test_places_in_the_limits_are_taken_after_the_decision_only() -> None:
    one = experiment(target("a1", max_in_flight=1), name="a", when={"models": ["llama-*"]})
    them = HandOvers(one)
    for model in ("gpt", "gpt", "llama-3", "llama-3"):
        them.call(request(model=model))
    assert them.live.figures.active() == {("a", "a1"): 0}
    them.take()
    assert them.live.figures.active() == {("a", "a1"): 1}
    assert them.lines() == {
        line("a", "a1", DISABLED, "other_model"): 2,
        line("a", "a1", MIRRORED): 1,
        line("a", "a1", DROPPED, "concurrency_limit"): 1,
    }


def test_a_call_that_has_waited_long_is_admitted_at_the_pace_of_now() -> None:
    one = experiment(target("a1", max_rate=1.0, burst=1), name="a", when={"models": ["llama-*"]})
    them = HandOvers(one)
    tap = them.call()
    them.clock.advance(60)
    them.call(request(model="llama-3"))
    them.take()
    them.clock.advance(60)
    tap.request(request(model="llama-3"), them.clock())
    them.take()
    assert them.lines() == {line("a", "a1", MIRRORED): 2}


@pytest.mark.parametrize(
    ("reason", "mirror"),
    [
        (DropReason.OVERSIZE, {"max_message_bytes": 100}),
        (DropReason.OVERSIZE_CALL, {"max_call_bytes": 100}),
        (DropReason.CAPTURE_FULL, {"capture_bytes": 1}),
    ],
)
def test_what_is_shed_before_its_request_was_read_is_the_first_ones_that_might_have_wanted_it(
    reason: DropReason, mirror: dict[str, Any]
) -> None:
    them = HandOvers(LLAMA, STICKY, REST, **mirror)
    them.call(request(model="mistral", prompt="x" * 40_000))
    them.take()
    assert them.lines() == {line("a", "a1", DROPPED, reason): 1, line("a", "a2", NOT_SAMPLED): 1}
    assert [frame.admissions for frames in them.known.values() for frame in frames if isinstance(frame, Begin)] == [
        (("a1", 1.0, reason),)
    ]


def test_rates_hold_for_what_is_shed_unread_too() -> None:
    them = HandOvers(experiment(target("b", rate=0.5), name="b", sampling={"by": {"field": "request_id"}}))
    for number in range(1000):
        ticket = them.live.decide(GENERATE, ())
        assert ticket is not None
        them.live.refuse(ticket, DropReason.OFF_SLOT if number % 2 else DropReason.NOT_STARTED)
    lines = them.lines()
    assert sum(lines.values()) == 1000
    assert set(lines) == {
        line("b", "b", NOT_SAMPLED),
        line("b", "b", DISABLED, "off_slot"),
        line("b", "b", DROPPED, "not_started"),
    }
    assert 400 < lines[line("b", "b", NOT_SAMPLED)] < 600
    assert them.live.figures.sampling()["b"].missing == 0, "nobody has looked for the key"


def test_a_shadow_call_is_mirrored_again_only_by_whom_its_request_is_for_and_who_believes_no_marker() -> None:
    them = HandOvers(LLAMA, experiment(target("r"), name="r", trust_marker=False))
    for model in ("llama-3", "gpt"):
        them.call(request(model=model), metadata=((META_ROLE, "shadow"),))
    them.take()
    assert them.lines() == {
        line("a", "a1", DISABLED, "marked"): 1,
        line("a", "a2", DISABLED, "marked"): 1,
        line("a", "a1", DISABLED, "other_model"): 1,
        line("a", "a2", DISABLED, "other_model"): 1,
        line("r", "r", MIRRORED): 1,
    }
    assert list(them.known) == [2]


def test_a_shadow_that_comes_back_is_known_for_one_though_nobody_wants_its_model() -> None:
    arrived: list[str] = []
    them = HandOvers(experiment(target("a1"), name="a", when={"models": ["llama-*"]}, trust_marker=False))
    them.live.on_shadow(arrived.append)
    them.call(request(model="gpt"), metadata=((META_ROLE, "shadow"), (META_TARGET, "a/a1")))
    them.take()
    assert arrived == ["a/a1"]


def test_what_is_held_back_at_the_end_is_shed_and_so_is_what_would_have_to_wait_after_it() -> None:
    them = HandOvers(LLAMA)
    early, late = them.call(), them.call()
    early.response(b"", 1)
    them.take(1)
    them.arrivals.end(them.feed)
    them.take()
    assert them.lines() == {line("a", "a1", DROPPED, "shutdown"): 2, line("a", "a2", NOT_SAMPLED): 2}
    for tap in (early, late):
        tap.request(request(model="llama-3"), 2)
        tap.done(3, "OK", CallEnd.COMPLETED)
    them.call(request(model="llama-3"))
    them.settle()
    assert them.strange == []
    assert them.live.credit_taken() == 0
    assert them.lines()[line("a", "a1", MIRRORED)] == 1


def test_a_reload_leaves_what_is_held_back_to_the_experiments_it_began_with_and_places_to_the_servers_of_now() -> None:
    them = HandOvers(experiment(target("a1", max_in_flight=1), name="a", when={"models": ["llama-*"]}))
    first, second = them.call(), them.call()
    them.take()
    changed = experiment(target("a1", address="127.0.0.1:2", max_in_flight=5), name="a", when={"models": ["gpt"]})
    them.live.reload((changed,))
    for tap in (first, second):
        tap.request(request(model="llama-3"), 1)
    them.take()
    assert them.lines() == {line("a", "a1", MIRRORED): 2}
    assert them.live.figures.active() == {("a", "a1"): 2}
    them.settle()
    assert them.live.figures.active() == {("a", "a1"): 0}


@pytest.mark.parametrize("reloads", [1, 2])
def test_a_call_that_is_held_back_while_its_experiment_is_removed_has_a_line_that_promises_no_leg(reloads: int) -> None:
    them = HandOvers(LLAMA)
    tap = them.call()
    them.take()
    for _ in range(reloads):
        them.live.reload((REST,))
    tap.request(request(model="llama-3"), 1)
    tap.done(2, "OK", CallEnd.COMPLETED)
    them.settle()
    assert them.lines() == {line("a", "a1", DROPPED, "not_recorded"): 1, line("a", "a2", NOT_SAMPLED): 1}
    assert them.live.credit_taken() == 0
    assert them.known == {}


def test_of_a_call_that_is_held_back_while_one_of_its_targets_is_removed_the_others_go_on() -> None:
    both = experiment(target("kept"), target("gone"), name="a", when={"models": ["llama-*"]})
    them = HandOvers(both)
    tap = them.call()
    them.take()
    them.live.reload((experiment(target("kept"), name="a", when={"models": ["llama-*"]}),))
    them.live.reload((experiment(target("kept"), target("new"), name="a", when={"models": ["llama-*"]}),))
    tap.request(request(model="llama-3"), 1)
    tap.done(2, "OK", CallEnd.COMPLETED)
    them.settle()
    assert them.lines() == {line("a", "kept", MIRRORED): 1, line("a", "gone", DROPPED, "not_recorded"): 1}


def test_beyond_so_many_calls_that_are_held_back_the_next_is_shed_and_captured_no_further() -> None:
    them = HandOvers(LLAMA, queue_items=2)
    taps = [them.call() for _ in range(3)]
    them.take()
    assert len(them.arrivals) == 2
    assert [tap.capturing for tap in taps] == [True, True, False]
    for tap in taps:
        tap.request(request(model="llama-3"), 1)
        tap.done(2, "OK", CallEnd.COMPLETED)
    them.settle()
    assert them.lines() == {
        line("a", "a1", MIRRORED): 2, line("a", "a1", DROPPED, "queue_full"): 1, line("a", "a2", NOT_SAMPLED): 3,
    }  # fmt: skip
    assert them.live.credit_taken() == 0


def test_after_every_request_that_had_to_be_read_others_get_their_turn() -> None:
    them = HandOvers(LLAMA)
    for _ in range(2):
        them.call(request(model="llama-3"))
    stream = them.call()
    stream.request(request(model="llama-3"), 1)
    handed, begun = iter(them.box), []
    while them.arrivals.pass_on(handed, them.feed):
        begun.append(len(them.known))
    assert begun == [1, 2, 3]


def test_an_error_while_a_request_is_read_costs_the_call_its_shadows_and_nothing_else() -> None:
    def broken(method: str, protocol: str | None) -> MethodMap | None:
        raise RuntimeError("broken")

    funnel, credit, faults, told = Tally[Counted](), Tokens(4), Faults(), list[bool]()
    gate = LiveGate((LLAMA,), funnel.add)
    ticket = gate.decide(GENERATE, (), bytes, lambda: 1)
    assert ticket is not None
    assert ticket.undecided is not None
    ticket.undecided.unwanted.heard_by(lambda: told.append(True))
    admitter = Admitter(
        lambda: gate, funnel, credit, faults, maps=broken, draw=bytes, clock=lambda: 1, wall=lambda: 1
    )  # fmt: skip
    assert credit.take(2)
    opened = Opened(1, ticket, GENERATE, Arity.UNARY_UNARY, (), get_current(), b"request", 2, "", 1, None)
    assert admitter.admit(opened) is None
    assert lines(funnel.totals()) == {line("a", "a1", DROPPED, "not_recorded"): 1, line("a", "a2", NOT_SAMPLED): 1}
    assert faults.totals() == {"admission: RuntimeError": 1}
    assert credit.taken == 0
    assert told


def test_what_is_held_back_for_a_worker_that_never_comes_is_settled_too() -> None:
    them = HandOvers(LLAMA)
    link = Link(
        them.live.receive, tuple, queue_items=9, admit=them.live.admit, faults=Faults(), clock=lambda: 0.0
    )  # fmt: skip
    them.call()
    (opened,) = them.box
    assert link.mailbox.put(opened, Room.NEW)
    link.turn()
    assert them.lines() == {}
    link.settle()
    assert them.lines() == {line("a", "a1", DROPPED, "shutdown"): 1, line("a", "a2", NOT_SAMPLED): 1}
    assert them.live.figures.lost() == {("a", "a1", "worker"): 1}
    assert (len(link.mailbox), link.held) == (0, 0)

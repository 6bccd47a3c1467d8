"""
A tap, told anything in any order by a live call, over a carrier that takes, refuses or breaks as it likes.

What must hold: nothing is raised, at most one LiveDone, and every page of credit is in a frame that was taken or back
in the pool.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowmesh.mirror.frames import Abandon, Frame, LiveDone, Request, RequestEnd, Response
from shadowmesh.mirror.tap import FLUSH_BYTES, FLUSH_MESSAGES, MESSAGE_BYTES, STALL_NS, Capture, Outlet, Room, Tap
from shadowmesh.names import DropReason
from shadowmesh.policy.limits import PAGE_BYTES, Tokens

CALL = 7


class Carrier:
    """Takes frames, or does what its script says next."""

    def __init__(self, script: Iterable[str] = ()) -> None:
        self._script = iter(script)
        self.taken: list[Frame] = []
        self.rooms: list[Room] = []

    def __call__(self, frame: Frame, room: Room) -> bool:
        behaviour = next(self._script, "take")
        if behaviour == "break":
            raise RuntimeError("the carrier is broken")
        if behaviour == "refuse":
            return False
        self.taken.append(frame)
        self.rooms.append(room)
        return True

    @property
    def pages(self) -> int:
        return sum(frame.pages for frame in self.taken if isinstance(frame, (Request, Response, LiveDone)))

    def of(self, kind: type[Frame]) -> list[Frame]:
        return [frame for frame in self.taken if isinstance(frame, kind)]


class Mirror:
    """A tap with everything around it."""

    def __init__(
        self,
        *,
        capacity: int = 1000,
        limit: int = 1 << 24,
        largest: int | None = None,
        captures: bool = True,
        script: Iterable[str] = (),
    ) -> None:
        self.credit = Tokens(capacity)
        self.carrier = Carrier(script)
        self.faults: list[Exception] = []
        outlet = Outlet(self.carrier, self.credit, self.faults.append, limit, largest or limit)
        self.tap = Tap(CALL, outlet, requests=captures, responses=captures)

    def responses(self) -> list[bytes]:
        return [
            data for frame in self.carrier.taken if isinstance(frame, (Response, LiveDone)) for data in frame.messages
        ]

    def times(self) -> list[int]:
        return [at for frame in self.answers() for at in frame.times_ns]

    def answers(self) -> list[Response | LiveDone]:
        return [frame for frame in self.carrier.taken if isinstance(frame, (Response, LiveDone))]


def test_a_unary_answer_goes_out_with_the_end_of_the_call() -> None:
    mirror = Mirror()
    mirror.tap.response(b"answer", 5)
    assert mirror.carrier.taken == []
    mirror.tap.done(6, "OK", "completed")
    assert mirror.carrier.taken == [
        LiveDone(CALL, 6, "OK", "completed", 0, captured=True, total=1, times_ns=(5,), messages=(b"answer",), pages=1),
    ]
    assert mirror.carrier.rooms == [Room.END]


def test_a_call_that_answered_nothing_only_ends() -> None:
    mirror = Mirror()
    mirror.tap.done(6, "UNAVAILABLE", "completed")
    assert mirror.carrier.taken == [LiveDone(CALL, 6, "UNAVAILABLE", "completed", 0, captured=True, total=0)]


def test_the_first_word_on_the_end_stands() -> None:
    mirror = Mirror()
    states = [mirror.tap.open]
    mirror.tap.done(6, "CANCELLED", "cancelled")
    mirror.tap.done(7, "OK", "completed")
    states.append(mirror.tap.open)
    assert states == [True, False]
    assert mirror.carrier.taken == [LiveDone(CALL, 6, "CANCELLED", "cancelled", 0, captured=True, total=0)]


def test_after_the_end_nothing_is_said_and_no_credit_is_taken() -> None:
    mirror = Mirror()
    mirror.tap.done(6, "CANCELLED", "cancelled")
    mirror.carrier.taken.clear()
    mirror.tap.request(b"x", 7)
    mirror.tap.request_end(8)
    mirror.tap.response(bytes(2 * FLUSH_BYTES), 9)
    for _ in range(2 * FLUSH_MESSAGES):
        mirror.tap.response(b"x", 9)
    mirror.tap.stall(10 * STALL_NS)
    assert mirror.carrier.taken == []
    assert mirror.credit.taken == 0


def test_requests_go_out_one_by_one_and_hold_the_credit_of_their_bytes() -> None:
    mirror = Mirror()
    mirror.tap.request(bytes(PAGE_BYTES), 1)
    mirror.tap.request(b"small", 2)
    mirror.tap.request_end(3)
    assert mirror.carrier.taken == [
        Request(CALL, (1,), (bytes(PAGE_BYTES),), 2),
        Request(CALL, (2,), (b"small",), 0),
        RequestEnd(CALL, 3),
    ]
    assert mirror.credit.taken == 2


@pytest.mark.parametrize("size", [1, FLUSH_BYTES // FLUSH_MESSAGES + 1])
def test_a_stream_is_handed_over_in_batches_of_messages_or_of_bytes(size: int) -> None:
    mirror = Mirror()
    for at in range(4 * FLUSH_MESSAGES):
        mirror.tap.response(bytes([at % 256]) * size, at)
    mirror.tap.done(1000, "OK", "completed")
    assert mirror.responses() == [bytes([at % 256]) * size for at in range(4 * FLUSH_MESSAGES)]
    assert mirror.times() == list(range(4 * FLUSH_MESSAGES))
    assert len(mirror.carrier.of(Response)) <= 6
    assert mirror.credit.taken == mirror.carrier.pages


def test_without_capture_times_are_kept_and_bytes_are_not() -> None:
    mirror = Mirror(captures=False)
    assert not mirror.tap.capturing
    mirror.tap.request(b"not kept", 1)
    mirror.tap.response(b"not kept", 2)
    mirror.tap.done(3, "OK", "completed")
    assert mirror.carrier.taken == [
        LiveDone(CALL, 3, "OK", "completed", 0, captured=False, total=1, times_ns=(2,)),
    ]
    assert mirror.credit.taken == 0


def test_what_is_muted_keeps_times_and_its_end_and_lets_go_of_what_it_had_kept() -> None:
    mirror = Mirror()
    mirror.tap.request(b"kept", 1)
    mirror.tap.response(b"let go", 2)
    for _ in range(2):
        mirror.tap.mute()
    mirror.tap.request(b"not kept", 3)
    mirror.tap.requests_lost()
    mirror.tap.request_end(4)
    mirror.tap.response(bytes(2 * FLUSH_BYTES), 5)
    mirror.tap.done(6, "OK", "completed")
    assert mirror.carrier.taken == [
        Request(CALL, (1,), (b"kept",), 1),
        RequestEnd(CALL, 4),
        LiveDone(CALL, 6, "OK", "completed", 0, captured=False, total=2, times_ns=(2, 5)),
    ]
    assert mirror.credit.taken == 1


def test_an_answer_beyond_the_limit_of_a_call_is_counted_and_let_go() -> None:
    mirror = Mirror(limit=1000)
    mirror.tap.response(bytes(1001), 1)
    mirror.tap.response(b"more", 2)
    mirror.tap.done(3, "OK", "completed")
    assert mirror.carrier.taken == [
        LiveDone(CALL, 3, "OK", "completed", 0, captured=False, total=2, times_ns=(1, 2)),
    ]
    assert mirror.credit.taken == 0


TOO_MUCH = [
    (1000, 1000, 1 << 24, DropReason.OVERSIZE_CALL),
    (1000, 1 << 24, 1000, DropReason.OVERSIZE),
    (1, 1 << 24, 1 << 24, DropReason.CAPTURE_FULL),
]


@pytest.mark.parametrize(("capacity", "limit", "largest", "reason"), TOO_MUCH)
def test_requests_beyond_a_limit_or_the_credit_are_abandoned_once_and_say_which(
    capacity: int, limit: int, largest: int, reason: DropReason
) -> None:
    mirror = Mirror(capacity=capacity, limit=limit, largest=largest)
    mirror.tap.request(b"fits", 1)
    mirror.tap.request(bytes(PAGE_BYTES), 2)
    mirror.tap.request(b"would fit again", 3)
    mirror.tap.request_end(4)
    assert mirror.carrier.taken == [
        Request(CALL, (1,), (b"fits",), 1),
        Abandon(CALL, reason),
        RequestEnd(CALL, 4),
    ]


def test_requests_the_carrier_has_no_room_for_are_abandoned_and_give_their_credit_back() -> None:
    mirror = Mirror(script=["take", "refuse"])
    mirror.tap.request(b"one", 1)
    mirror.tap.request(bytes(PAGE_BYTES), 2)
    mirror.tap.request(b"three", 3)
    assert mirror.carrier.taken == [Request(CALL, (1,), (b"one",), 1), Abandon(CALL, DropReason.QUEUE_FULL)]
    assert mirror.credit.taken == 1


def test_answers_the_carrier_has_no_room_for_give_their_credit_back_and_make_the_answer_unknown() -> None:
    mirror = Mirror(script=["refuse"])
    mirror.tap.response(bytes(FLUSH_BYTES), 1)
    assert mirror.credit.taken == 0
    mirror.tap.response(b"x", 2)
    mirror.tap.done(3, "OK", "completed")
    (end,) = mirror.carrier.of(LiveDone)
    assert not end.captured  # type: ignore[union-attr]  # the only LiveDone there is
    assert mirror.credit.taken == 0


def test_only_what_waits_longer_than_a_scheduler_makes_anybody_wait_is_a_stall() -> None:
    mirror = Mirror()
    for stall_ns in (STALL_NS, 1, STALL_NS + 1, 2 * STALL_NS):
        mirror.tap.stall(stall_ns)
    mirror.tap.done(1, "OK", "completed")
    assert mirror.carrier.taken == [LiveDone(CALL, 1, "OK", "completed", 3 * STALL_NS + 1, captured=True, total=0)]


def test_what_is_no_bytes_is_a_fault_and_reaches_nobody() -> None:
    mirror = Mirror()
    mirror.tap.request(None, 1)  # type: ignore[arg-type]  # a serialiser may return anything
    mirror.tap.response(None, 2)  # type: ignore[arg-type]  # likewise
    assert [type(fault) for fault in mirror.faults] == [TypeError, TypeError]
    assert mirror.carrier.taken == []
    mirror.tap.done(3, "OK", "completed")
    assert mirror.carrier.taken == [
        LiveDone(CALL, 3, "OK", "completed", 0, captured=True, total=1, times_ns=(2,)),
    ]


@pytest.mark.parametrize("size", [0, 1])
def test_credit_covers_what_a_message_costs_beside_its_bytes(size: int) -> None:
    mirror = Mirror(capacity=64)
    for at in range(100_000):
        mirror.tap.response(bytes(size), at)
        mirror.tap.request(bytes(size), at)
    mirror.tap.done(100_000, "OK", "completed")
    assert len(mirror.carrier.of(Request)) + len(mirror.responses()) <= 64 * PAGE_BYTES // MESSAGE_BYTES
    assert mirror.carrier.of(Abandon) == [Abandon(CALL, DropReason.CAPTURE_FULL)]
    assert len(mirror.times()) == 100_000, "times are counted all the same"


STEPS = st.one_of(
    st.tuples(st.just("request"), st.integers(0, 3 * PAGE_BYTES)),
    st.tuples(st.just("response"), st.integers(0, 3 * PAGE_BYTES)),
    st.tuples(st.just("burst"), st.integers(0, 3 * FLUSH_MESSAGES)),
    st.tuples(st.just("request_end"), st.just(0)),
    st.tuples(st.just("stall"), st.integers(0, 3 * STALL_NS)),
    st.tuples(st.just("mute"), st.just(0)),
    st.tuples(st.just("done"), st.just(0)),
)


def tell(tap: Tap, step: str, amount: int, at: int) -> None:
    if step == "request":
        tap.request(bytes(amount), at)
    elif step == "response":
        tap.response(bytes(amount), at)
    elif step == "burst":
        for _ in range(amount):
            tap.response(b"x", at)
    elif step == "request_end":
        tap.request_end(at)
    elif step == "stall":
        tap.stall(amount)
    elif step == "mute":
        tap.mute()
    else:
        tap.done(at, "OK", "completed")


@given(
    st.lists(STEPS, max_size=25),
    st.lists(st.sampled_from(["take", "take", "refuse", "break"]), max_size=25),
    st.integers(1, 12),
    st.integers(0, 8 * PAGE_BYTES),
    st.booleans(),
)
def test_whatever_a_tap_is_told_and_whatever_its_carrier_does(
    steps: list[tuple[str, int]], script: list[str], capacity: int, limit: int, captures: bool
) -> None:
    mirror = Mirror(capacity=capacity, limit=limit, captures=captures, script=script)
    ended = False
    for at, (step, amount) in enumerate(steps):
        before = len(mirror.carrier.taken)
        tell(mirror.tap, step, amount, at)
        assert not ended or len(mirror.carrier.taken) == before, "silent after the end"
        ended = ended or step == "done"
        assert mirror.tap.open is not ended
        assert mirror.credit.taken == mirror.carrier.pages, "every page is in a frame or back in the pool"
    ends = mirror.carrier.of(LiveDone)
    assert len(ends) <= 1
    assert not ends or mirror.carrier.taken[-1] == ends[0]
    assert "break" in script or not mirror.faults
    assert len(mirror.carrier.of(Abandon)) <= 1
    if ends and ends[0].captured:  # type: ignore[union-attr]  # the only LiveDone there is
        said = [amount for step, amount in until_done(steps) if step == "response"]
        assert [len(data) for data in mirror.responses() if len(data) != 1] == [size for size in said if size != 1]


def until_done(steps: list[tuple[str, int]]) -> list[tuple[str, int]]:
    end = next((at for at, (step, _) in enumerate(steps) if step == "done"), len(steps))
    return steps[:end]


def test_of_many_threads_that_end_a_call_exactly_one_does() -> None:
    threads = 8
    start = Barrier(threads)

    def end(mirror: Mirror, number: int) -> None:
        start.wait()
        mirror.tap.done(number, "OK", "completed")

    with ThreadPoolExecutor(threads) as pool:
        for _ in range(200):
            mirror = Mirror()
            mirror.tap.response(b"x", 1)
            list(pool.map(end, [mirror] * threads, range(threads)))
            assert len(mirror.carrier.of(LiveDone)) == 1
            assert mirror.responses() == [b"x"]
            assert mirror.credit.taken == mirror.carrier.pages


@given(st.integers(1, 10), st.integers(0, 6 * PAGE_BYTES), st.lists(st.integers(0, 2 * PAGE_BYTES), max_size=20))
def test_a_capture_never_keeps_more_than_its_limit_or_than_its_pages_hold(
    capacity: int, limit: int, sizes: list[int]
) -> None:
    credit = Tokens(capacity)
    capture, kept, held = Capture(credit, limit), 0, 0
    for size in sizes:
        taken = capture.take(size)
        if taken is None:
            continue
        kept += size + MESSAGE_BYTES
        held += taken
        assert kept <= limit
        assert kept <= held * PAGE_BYTES
        assert held == credit.taken

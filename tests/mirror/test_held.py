"""What a worker holds: given back to the page and the token, and counted, however it ends."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from support.records import begin

from shadowmesh.mirror.frames import (
    Begin,
    Credit,
    Credits,
    Extra,
    Frame,
    LiveDone,
    Lost,
    Outcome,
    Outcomes,
    Request,
    Settled,
)
from shadowmesh.mirror.held import Held
from shadowmesh.names import DropReason
from shadowmesh.policy.live_gate import Admission

TWO = (Admission("a", 1.0), Admission("b", 0.5, DropReason.CONCURRENCY_LIMIT), Admission("c", 0.5))


def opened(held: Held, call: int = 1, pages: int = 1) -> Begin:
    frame = begin(call=call, admissions=TWO, request=b"prompt", pages=pages)
    assert held.sent(frame)
    return frame


def done(call: int, pages: int = 0) -> LiveDone:
    return LiveDone(call, 9, "OK", "completed", 0, captured=True, total=1, times_ns=(8,), messages=(b"x",), pages=pages)


def test_what_is_settled_is_held_no_longer() -> None:
    held = Held()
    opened(held)
    held.sent(done(1, pages=2))
    for frame in (Outcomes(0, "summaries", "a", (1,)), Outcomes(0, "summaries", "c", (1,)), Credits(0, (1,), (3,))):
        held.came_back(frame)
        assert len(held) == 1, "its spans are not exported yet"
    held.came_back(Settled(0, (1,)))
    assert len(held) == 0
    assert held.write_off() == []


def test_a_worker_that_dies_leaves_tokens_pages_and_a_loss_for_every_leg_shed_ones_included() -> None:
    held = Held()
    opened(held, pages=1)
    held.sent(Request(1, (1,), (b"more",), 2))
    held.came_back(Outcomes(0, "summaries", "a", (1,)))
    held.came_back(Credits(0, (1,), (1,)))
    assert held.write_off() == [
        Outcome(1, "summaries", "c"),
        Credit(1, 2),
        *(Lost(1, "summaries", target, "worker", 1) for target in "abc"),
    ]
    assert len(held) == 0


def test_pages_that_were_on_their_way_when_a_call_was_settled_come_back_too() -> None:
    held = Held()
    opened(held, pages=1)
    held.came_back(Credits(0, (1,), (1,)))
    held.sent(done(1, pages=5))
    held.came_back(Settled(0, (1,)))
    assert held.write_off() == [Credit(1, 5)]
    opened(held, 2, pages=1)
    held.came_back(Settled(0, (2,)))
    held.came_back(Credits(0, (2,), (1,)))
    assert len(held) == 0


def test_a_call_of_several_exchanges_loses_all_of_them() -> None:
    held = Held()
    opened(held)
    held.came_back(Extra(1, "summaries", "a", 2))
    lost = [frame for frame in held.write_off() if isinstance(frame, Lost)]
    assert {frame.exchanges for frame in lost} == {3}


def test_one_call_can_be_written_off_alone() -> None:
    held = Held()
    opened(held, 1)
    opened(held, 2)
    assert {frame.call for frame in held.write_off(2)} == {2}
    assert held.write_off(2) == []
    assert len(held) == 1


def test_frames_of_a_call_that_was_written_off_are_not_the_workers_business() -> None:
    held = Held()
    opened(held)
    held.write_off()
    assert not held.sent(done(1))
    held.came_back(Outcomes(0, "summaries", "a", (1,)))
    assert held.write_off() == []


WORDS = ("begin", "request", "done", "outcome a", "outcome c", "credit", "settle")
STEPS = st.lists(st.tuples(st.integers(1, 4), st.sampled_from(WORDS)), max_size=60)


class Book:
    """Both sides of what passes: what a worker got, and what it or its account gave back."""

    def __init__(self) -> None:
        self.held = Held()
        self.begun: set[int] = set()
        self.out: Counter[int] = Counter()
        self.back: Counter[int] = Counter()
        self.tokens: Counter[tuple[int, str]] = Counter()

    def sends(self, call: int, step: str) -> None:
        if step == "begin":
            if call not in self.begun:
                self.begun.add(call)
                self.out[call] += opened(self.held, call).pages
            return
        frame = Request(call, (1,), (b"x",), 2) if step == "request" else done(call, pages=3)
        if self.held.sent(frame):
            self.out[call] += frame.pages

    def answers(self, call: int, step: str) -> None:
        """Say what an engine may say next of a call it knows."""
        left = self.out[call] - self.back[call]
        answer: Frame = Settled(0, (call,))
        if step.startswith("outcome"):
            answer = Outcomes(0, "summaries", step[-1], (call,))
        elif step == "credit":
            answer = Credits(0, (call,), (left,))
        elif left or self.tokens[call, "a"] + self.tokens[call, "c"] < 2:
            return
        if not self.tokens[call, step[-1]]:
            self.held.came_back(answer)
            self.said(answer)

    def said(self, frame: Frame) -> None:
        if isinstance(frame, Credit):
            self.back[frame.call] += frame.pages
        elif isinstance(frame, Credits):
            self.back.update(dict(zip(frame.calls, frame.pages, strict=True)))
        elif isinstance(frame, Outcome):
            self.tokens[frame.call, frame.target] += 1
        elif isinstance(frame, Outcomes):
            self.tokens.update((call, frame.target) for call in frame.calls)


@given(STEPS)
def test_every_page_and_every_token_comes_back_exactly_once(steps: list[tuple[int, str]]) -> None:
    book = Book()
    for call, step in steps:
        if step in ("begin", "request", "done"):
            book.sends(call, step)
        elif call in book.begun:
            book.answers(call, step)
    for frame in book.held.write_off():
        book.said(frame)
    assert book.back + Counter() == book.out + Counter()
    assert book.tokens == {(call, target): 1 for call in book.begun for target in "ac"}

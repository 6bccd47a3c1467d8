"""What a worker holds: given back to the page and the token, and counted, however it ends."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from support.records import begin

from shadowmesh.mirror.answers import Answers
from shadowmesh.mirror.codec import Decoder, encode, together
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
from shadowmesh.policy.plan import Admission

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
    held.came_back(Settled(0, (1,), (1,)))
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
    held.came_back(Settled(0, (1,), (1,)))
    assert [frame for frame in held.write_off() if not isinstance(frame, Outcome)] == [Credit(1, 5)]
    opened(held, 2, pages=1)
    held.came_back(Settled(0, (2,), (1,)))
    held.came_back(Credits(0, (2,), (1,)))
    assert len(held) == 0


def test_a_call_of_several_exchanges_loses_those_that_nobody_has_accounted_for() -> None:
    held = Held()
    for call in (1, 2, 3):
        opened(held, call)
        held.came_back(Extra(call, "summaries", TWO, 2))
    held.came_back(Settled(0, (2, 3), (2, 1)))
    held.came_back(Credits(0, (3,), (1,)))
    held.came_back(Settled(0, (3,), (2,)))
    lost = Counter({(one.call, one.target): one.exchanges for one in held.write_off() if isinstance(one, Lost)})
    assert lost == {(call, target): exchanges for call, exchanges in ((1, 3), (2, 1)) for target in "abc"}


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


class Mirror:
    """A worker as it may be killed: what it has, what it says in one breath, and how much of that is heard."""

    def __init__(self) -> None:
        self.held = Held()
        self.begun: set[int] = set()
        self.out: Counter[int] = Counter()
        self.back: Counter[int] = Counter()
        self.tokens: Counter[tuple[int, str]] = Counter()
        self.counted: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.arrived = 0
        """Exchanges of every target whose spans were exported, and said to be."""
        self._answers = Answers()
        self._decoder = Decoder()
        self._unheard = b""
        self._pages: Counter[int] = Counter()
        self._running: set[tuple[int, str]] = set()
        self._exported = 0
        self._breaths: list[tuple[int, int]] = []

    def play(self, call: int, step: str, number: int) -> None:
        if step == "begin":
            self._begin(call)
        elif step in ("request", "done"):
            self._pass(Request(call, (1,), (b"x",), number) if step == "request" else done(call, pages=number))
        elif step == "outcome":
            self._end(call, "ac"[number % 2])
        elif step == "record":
            self._record(call, number)
        elif step in ("exported", "failed"):
            self._export(call, number, lost=step == "failed")

    def speak(self) -> None:
        """Say what there is to say."""
        self._unheard += together([*map(encode, self._answers.take())])
        self._breaths.append((len(self._unheard), self._exported))
        self._exported = 0

    def hear(self, part: float) -> None:
        """Take in that part of what was said and not heard; a breath is heard with its last byte."""
        size = round(part * len(self._unheard))
        data, self._unheard = self._unheard[:size], self._unheard[size:]
        for frame in self._decoder.feed(data):
            self.held.came_back(frame)
            self._receive(frame)
        self._breaths = [(end - size, exchanges) for end, exchanges in self._breaths]
        self.arrived += sum(exchanges for end, exchanges in self._breaths if end <= 0)
        self._breaths = [(end, exchanges) for end, exchanges in self._breaths if end > 0]

    def die(self, part: float) -> None:
        """Kill it when so much of what it has said is on its way."""
        self.hear(part)
        for frame in self.held.write_off():
            self._receive(frame)

    def _begin(self, call: int) -> None:
        if call not in self.begun:
            self.begun.add(call)
            self.out[call] += opened(self.held, call).pages
            self._pages[call] += 1
            self._running |= {(call, "a"), (call, "c")}
            self.counted.update("abc")

    def _pass(self, frame: Request | LiveDone) -> None:
        if self.held.sent(frame):
            self.out[frame.call] += frame.pages
            if frame.call in self._pages:
                self._pages[frame.call] += frame.pages
            else:
                self._answers.add(Credit(frame.call, frame.pages))

    def _end(self, call: int, target: str) -> None:
        if (call, target) in self._running:
            self._running.remove((call, target))
            self._answers.add(Outcome(call, "summaries", target))

    def _record(self, call: int, exchanges: int) -> None:
        if call in self._pages:
            if exchanges > 1:
                self._answers.add(Extra(call, "summaries", TWO, exchanges - 1))
            self._answers.add(Credit(call, self._pages.pop(call)))

    def _export(self, call: int, exchanges: int, *, lost: bool) -> None:
        if lost:
            for target in "abc":
                self._answers.add(Lost(0, "summaries", target, "export", exchanges))
        else:
            self._exported += exchanges
        self._answers.add(Settled(0, (call,), (exchanges,)))

    def _receive(self, frame: Frame) -> None:
        if isinstance(frame, Credit):
            self.back[frame.call] += frame.pages
        elif isinstance(frame, Credits):
            self.back.update(dict(zip(frame.calls, frame.pages, strict=True)))
        elif isinstance(frame, Outcome):
            self.tokens[frame.call, frame.target] += 1
        elif isinstance(frame, Outcomes):
            self.tokens.update((call, frame.target) for call in frame.calls)
        elif isinstance(frame, Extra):
            self.counted.update({target: frame.exchanges for target, _, _ in frame.admissions})
        elif isinstance(frame, Lost):
            self.lost[frame.target] += frame.exchanges


@st.composite
def lives(draw: st.DrawFn) -> list[tuple[str, int]]:
    """Return what happens to a call, in order; an engine that is told to end may record it before its live leg ends."""
    exchanges = draw(st.integers(1, 3))
    heard = [("request", draw(st.integers(1, 3))), ("done", draw(st.integers(0, 3)))]
    late = draw(st.integers(0, 2))
    fates = [(draw(st.sampled_from(("exported", "exported", "failed"))), 1) for _ in range(exchanges)]
    ends = [("outcome", 0), ("outcome", 1), ("record", exchanges)]
    return [("begin", 0), *heard[late:], *ends, *heard[:late], *fates]


CALLS = (1, 2)
# Long enough for both calls to come to their end; the worker is killed somewhere on the way.
TURNS = st.tuples(
    st.lists(st.sampled_from((*CALLS, *CALLS, "speak", "hear")), min_size=40, max_size=40), st.integers(1, 40)
).map(lambda both: both[0][: both[1]])


@settings(max_examples=300)
@given(st.tuples(*(lives() for _ in CALLS)), TURNS, st.floats(0, 1), st.floats(0, 1))
def test_wherever_a_worker_is_killed_every_page_token_and_exchange_is_accounted_for_exactly_once(
    lived: tuple[list[tuple[str, int]], ...], turns: list[int | str], heard: float, last: float
) -> None:
    mirror = Mirror()
    ahead = dict(zip(CALLS, map(iter, lived), strict=True))
    for turn in turns:
        if isinstance(turn, int):
            mirror.play(turn, *next(ahead[turn], ("over", 0)))
        elif turn == "speak":
            mirror.speak()
        else:
            mirror.hear(heard)
    mirror.die(last)
    assert +mirror.back == +mirror.out
    assert mirror.tokens == {(call, target): 1 for call in mirror.begun for target in "ac"}
    for target in "abc":
        assert mirror.counted[target] == mirror.arrived + mirror.lost[target]
    assert len(mirror.held) == 0

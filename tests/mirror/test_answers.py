"""What a worker says together is what it would have said one by one."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from support.frames import FRAMES

from shadowmesh.mirror.answers import Answers
from shadowmesh.mirror.frames import Credit, Credits, Extra, Frame, Lost, Outcome, Outcomes, Settled


def test_a_call_is_settled_after_everything_else_about_it() -> None:
    answers = Answers()
    said: list[Frame] = [
        Settled(0, (1,)),
        Credit(1, 2),
        Outcome(1, "x", "a"),
        Extra(1, "x", "a", 1),
        Lost(1, "x", "a", "export", 1),
    ]
    for frame in said:
        answers.add(frame)
    assert [type(frame) for frame in answers.take()] == [Extra, Lost, Outcomes, Credits, Settled]
    assert answers.take() == []


@given(st.lists(FRAMES.filter(lambda frame: not isinstance(frame, (Outcomes, Credits))), max_size=30))
def test_nothing_is_added_and_nothing_left_out(frames: list[Frame]) -> None:
    answers = Answers()
    for frame in frames:
        answers.add(frame)
    apart: list[object] = []
    for frame in answers.take():
        if isinstance(frame, Outcomes):
            apart += [Outcome(call, frame.experiment, frame.target) for call in frame.calls]
        elif isinstance(frame, Credits):
            apart += [Credit(*one) for one in zip(frame.calls, frame.pages, strict=True)]
        elif isinstance(frame, Settled):
            apart += frame.calls
        else:
            apart.append(frame)
    before: list[object] = []
    for frame in frames:
        before += frame.calls if isinstance(frame, Settled) else [frame]
    assert Counter(map(repr, apart)) == Counter(map(repr, before))

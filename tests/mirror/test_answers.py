"""What a worker says together is what it would have said one by one."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.frames import BY_KIND

from shadowmesh.mirror.answers import Answers
from shadowmesh.mirror.frames import (
    Abandon,
    Aborted,
    Credit,
    Credits,
    Extra,
    Frame,
    Left,
    Lost,
    Outcome,
    Outcomes,
    Reported,
    Settled,
    State,
)
from shadowmesh.policy.budget import Remaining
from shadowmesh.policy.plan import Admission


def test_a_call_is_settled_after_everything_else_about_it() -> None:
    answers = Answers()
    said: list[Frame] = [
        Settled(0, (1,), (1,)),
        Credit(1, 2),
        Outcome(1, "x", "a"),
        Extra(1, "x", (Admission("a", 1.0),), 1),
        Lost(1, "x", "a", "export", 1),
    ]
    for frame in said:
        answers.add(frame)
    assert [type(frame) for frame in answers.take()] == [Extra, Lost, Outcomes, Credits, Settled]
    assert answers.take() == []


ANSWERS = st.one_of(
    *(BY_KIND[kind] for kind in (Outcome, Credit, Settled, Extra, Lost, State, Left, Reported, Aborted))
)


def total(frames: list[Frame]) -> Counter[Any]:
    """Return how much is said of what; of states and limits the last word counts, of which nothing is summed."""
    amounts: Counter[Any] = Counter()
    last: dict[Any, Frame] = {}
    for frame in frames:
        if isinstance(frame, Outcome):
            amounts[Outcome, frame.experiment, frame.target, frame.call] += 1
        elif isinstance(frame, Outcomes):
            amounts.update((Outcome, frame.experiment, frame.target, call) for call in frame.calls)
        elif isinstance(frame, Credit):
            amounts[Credit, frame.call] += frame.pages
        elif isinstance(frame, Extra):
            amounts[frame] += 1
        elif isinstance(frame, Lost):
            amounts[Lost, frame.experiment, frame.target, frame.reason] += frame.exchanges
        elif isinstance(frame, (Reported, Aborted)):
            amounts[type(frame), frame[1:-1]] += frame.times
        elif isinstance(frame, State):
            last[State, frame.experiment, frame.target] = frame
        elif isinstance(frame, Left):
            last[Left, frame.remaining[:3]] = frame
        elif isinstance(frame, (Credits, Settled)):
            kind, numbers = (Credit, frame.pages) if isinstance(frame, Credits) else (Settled, frame.exchanges)
            for call, number in zip(frame.calls, numbers, strict=True):
                amounts[kind, call] += number
    amounts.update(map(repr, last.values()))
    return +amounts


@given(st.lists(ANSWERS, max_size=30))
def test_nothing_is_added_and_nothing_left_out(frames: list[Frame]) -> None:
    answers = Answers()
    for frame in frames:
        answers.add(frame)
    assert total(answers.take()) == total(frames)


def test_what_is_not_about_a_call_does_not_gather_however_often_it_is_said() -> None:
    answers = Answers()
    for number in range(1000):
        for target in "ab":
            answers.add(State(0, "x", target, "circuit_open" if number % 2 else ""))
            answers.add(Left(0, Remaining("x", target, "per_day", "USD", 20.0, float(number))))
            answers.add(Lost(0, "x", target, "export", 2))
        answers.add(Reported(0, "export: queue full", 3))
    assert answers.take() == [
        *(State(0, "x", target, "circuit_open") for target in "ab"),
        *(Left(0, Remaining("x", target, "per_day", "USD", 20.0, 999.0)) for target in "ab"),
        Reported(0, "export: queue full", 3000),
        *(Lost(0, "x", target, "export", 2000) for target in "ab"),
    ]


def test_what_no_engine_says_is_refused_before_anything_is_lost_of_it() -> None:
    with pytest.raises(TypeError, match="nobody answers with Abandon"):
        Answers().add(Abandon(1, "oversize"))

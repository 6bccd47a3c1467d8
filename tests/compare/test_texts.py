"""What the captured outputs of two legs show beside each other, whatever somebody has captured."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.legs import live, shadow, usage

from shadowmesh.compare.divergence import Output
from shadowmesh.compare.similarity import Lexical
from shadowmesh.compare.texts import MOST_CHARACTERS, TextComparison, captured_output, compare_texts
from shadowmesh.model import Leg

ALIKE = Lexical()
OUTPUT = "gen_ai.output.messages"


def messages(*texts: Any) -> str:
    return json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": text} for text in texts]}])


def shown(one: str, other: str, **changes: Any) -> TextComparison:
    shadow_leg = shadow(**changes)
    output = captured_output(shadow_leg, messages(other), ())
    assert output is not None
    return compare_texts((live(), Output(one)), (shadow_leg, output), ALIKE)


def test_equal_outputs_are_all_alike_and_differ_nowhere() -> None:
    same = shown("yes, 5 mg", "yes, 5 mg")
    assert (same.equal, same.similarity, same.divergence_at, same.divergence_share) == (True, 1.0, None, None)
    assert not any(of_shadow for _, of_shadow in same.guards.values())


def test_outputs_that_differ_say_where_and_how_much_and_what_is_wrong() -> None:
    differ = shown("Take 5 mg.", "Take 50 mg.")
    assert (differ.equal, differ.divergence_at, differ.divergence_share) == (False, 6, 0.6)
    assert differ.similarity == 0.75
    assert differ.guards["numbers"] == (None, True)


def test_a_shadow_that_failed_shows_where_it_differs_and_nothing_else() -> None:
    failed = shown("four score", "four seven", status="INTERNAL", complete=False)
    assert failed == TextComparison(None, 6, 0.6, False)
    assert shown("four score", "four", status="INTERNAL", complete=False) == TextComparison()


def test_an_empty_answer_to_a_live_one_has_nothing_in_common() -> None:
    empty = shown("yes", "")
    assert (empty.equal, empty.similarity, empty.divergence_share) == (False, 0.0, 0.0)


def test_two_answers_without_text_show_nothing() -> None:
    assert shown("", "") == TextComparison()


def test_finish_reasons_say_which_answer_was_cut_short() -> None:
    pair = (live(fields=usage(1, 1, finish_reasons=("stop",))), Output("a b"))
    cut = (shadow(fields=usage(1, 1, finish_reasons=("length",))), Output("a"))
    assert compare_texts(pair, cut, ALIKE).guards["length"] == (False, True)


@pytest.mark.parametrize(
    ("leg", "said", "truncated", "output"),
    [
        (live(), messages("a", "b"), (), Output("a\nb")),
        (live(), messages("a"), (OUTPUT,), Output("a", whole=False)),
        (live(), messages("a"), ("gen_ai.input.messages",), Output("a")),
        (live(complete=False), messages("a"), (), Output("a", whole=False)),
        (live(message_count=0), None, (), Output("")),
        (live(message_count=3), None, (), None),
        (live(status="INTERNAL"), None, (), None),
        (live(), messages("x" * (MOST_CHARACTERS + 1)), (), Output("x" * MOST_CHARACTERS, whole=False)),
        (live(), messages({"b": 1, "a": [2]}), (), Output('{"a": [2], "b": 1}')),
    ],
)
def test_what_a_leg_answered(leg: Leg, said: str | None, truncated: tuple[str, ...], output: Output | None) -> None:
    assert captured_output(leg, said, truncated) == output


@pytest.mark.parametrize(
    "said",
    [
        "",
        "{",
        "42",
        "null",
        '"text"',
        "[1]",
        "[[]]",
        '["parts"]',
        "{}",
        '[{"parts": 1}]',
        '[{"parts": [1]}]',
        "[" * 100_000,
    ],
)
def test_what_has_another_form_says_nothing(said: str) -> None:
    output = captured_output(live(), said, ())
    assert output is None or output == Output("")


@given(st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_whatever_was_captured_nothing_is_raised(said: Any) -> None:
    for hostile in (said, [{"parts": [{"content": said, "arguments": said}]}]):
        output = captured_output(live(), json.dumps(hostile), ())
        if output is not None:
            compare_texts((live(), output), (shadow(), Output("a")), ALIKE)

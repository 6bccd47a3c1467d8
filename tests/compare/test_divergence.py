"""Where two outputs begin to differ, and what can be said when one of them is not whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.wire import delta, reference

from shadowmesh.compare.divergence import Divergence, Output, first_divergence, output_of, outputs_match
from shadowmesh.protocols.content import read_output
from shadowmesh.protocols.messages import Answer
from shadowmesh.schema import messages

TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)
FEW = st.text("ab\u00e9e\u0301\U0001f600", max_size=12)
"""Texts that often begin alike."""


@given(TEXTS | FEW)
def test_equal_texts_diverge_nowhere(text: str) -> None:
    assert first_divergence(text, text) is None


@given(FEW, FEW)
def test_the_order_of_the_two_changes_nothing(one: str, other: str) -> None:
    assert first_divergence(one, other) == first_divergence(other, one)


@given(FEW, FEW)
def test_all_before_it_is_the_same_and_what_stands_there_is_not(one: str, other: str) -> None:
    found = first_divergence(one, other)
    assert (found is None) == (one == other)
    if found is not None:
        assert one[: found.at] == other[: found.at]
        assert one[found.at : found.at + 1] != other[found.at : found.at + 1]
        shorter = min(len(one), len(other))
        assert found.share == (found.at / shorter if shorter else 0)
        assert 0 <= found.share <= 1


@given(TEXTS.filter(bool), TEXTS.filter(bool))
def test_a_beginning_diverges_at_its_end(beginning: str, more: str) -> None:
    assert first_divergence(beginning, beginning + more) == Divergence(at=len(beginning), share=1.0)


@given(TEXTS.filter(bool))
def test_an_empty_text_has_nothing_in_common(text: str) -> None:
    assert first_divergence("", text) == Divergence(at=0, share=0.0)


def test_characters_are_counted_and_not_bytes() -> None:
    assert first_divergence("\U0001f600\U0001f600a", "\U0001f600\U0001f600b") == Divergence(at=2, share=2 / 3)


def test_long_texts_that_differ_at_their_very_end_are_found() -> None:
    text = "word " * 50_000
    assert first_divergence(text + "a", text + "b") == Divergence(at=len(text), share=len(text) / (len(text) + 1))


def test_the_output_of_captured_messages_is_their_text_and_their_tool_calls() -> None:
    call = messages.ToolCall(id="c-1", name="weather", arguments_json="{}")
    deltas = [delta("Let "), delta("me see."), delta(tool_calls=[call])]
    captured = read_output(Answer(reference("StreamGenerate"), deltas), "stop", 1 << 16)
    assert output_of(captured.items, whole=True) == Output("Let me see.\nweather\n{}")
    assert output_of([], whole=False) == Output("", whole=False)


@pytest.mark.parametrize(
    ("live", "shadow", "equal", "at"),
    [
        (Output("abc"), Output("abc"), True, None),
        (Output("abc"), Output("abX"), False, 2),
        (Output("abc"), Output("ab"), False, 2),
        (Output("abc", whole=False), Output("abX"), False, 2),
        (Output("abc", whole=False), Output("ab"), False, 2),
        (Output("abc", whole=False), Output("abcd"), None, None),
        (Output("abc", whole=False), Output("abc"), None, None),
        (Output("abc", whole=False), Output("abc", whole=False), None, None),
        (Output("abc", whole=False), Output("ab", whole=False), None, None),
        (Output("", whole=False), Output("ab"), None, None),
    ],
)
def test_where_an_output_is_not_whole_only_a_difference_before_its_end_shows_something(
    live: Output, shadow: Output, equal: bool | None, at: int | None
) -> None:
    for pair in ((live, shadow), (shadow, live)):
        matches, divergence = outputs_match(*pair)
        assert matches is equal
        assert (divergence.at if divergence is not None else None) == at

"""How alike two texts are, and that it takes bounded time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowmesh.compare.similarity import MOST_WORDS, Lexical, words

TEXTS = st.text(st.sampled_from("ab 1.,-é日本\u0301\ud800\n"), max_size=40)
ALIKE = Lexical()


@given(TEXTS)
def test_a_text_is_all_like_itself(text: str) -> None:
    assert ALIKE(text, text) == 1.0


@given(TEXTS, TEXTS)
def test_it_is_a_share_and_the_order_of_the_two_changes_nothing(one: str, other: str) -> None:
    assert 0.0 <= ALIKE(one, other) == ALIKE(other, one) <= 1.0


@given(TEXTS, TEXTS)
def test_it_is_1_exactly_where_the_words_are_the_same(one: str, other: str) -> None:
    assert (ALIKE(one, other) == 1.0) == (words(one) == words(other))


def test_spaces_do_not_count_and_everything_else_does() -> None:
    assert ALIKE("a  b\n\tc", "a b c") == 1.0
    assert ALIKE("Yes.", "Yes!") == 0.5
    assert ALIKE("dog bit man", "man bit dog") == pytest.approx(1 / 3)


def test_nothing_has_nothing_in_common_with_something() -> None:
    assert ALIKE("", "a b c") == 0.0


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Take 5 mg, not 2.5mg!", ["Take", "5", "mg", ",", "not", "2.5", "mg", "!"]),
        ("1,000.50 x_y", ["1,000.50", "x_y"]),
        ("東京は", ["東", "京", "は"]),
        ("GPT日本", ["GPT", "日", "本"]),
    ],
)
def test_what_a_word_is(text: str, found: list[str]) -> None:
    assert words(text) == found


def test_only_the_beginnings_of_very_long_texts_are_compared() -> None:
    beginning = "a " * MOST_WORDS
    assert ALIKE(beginning + "b", beginning + "c") == 1.0
    assert ALIKE("b " + beginning, "c " + beginning) < 1.0

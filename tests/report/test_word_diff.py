"""Two outputs word by word."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shadowmesh.report.candidate import Piece
from shadowmesh.report.word_diff import MOST_CHARACTERS, MOST_WORDS, word_diff

words = st.lists(st.sampled_from(["a", "b", "cc", "\n", " ", "χ"]), max_size=40).map(" ".join)


@given(words, words)
def test_the_pieces_of_either_side_joined_are_its_text(live: str, shadow: str) -> None:
    pieces, cut = word_diff(live, shadow)
    assert not cut
    assert "".join(piece.text for piece in pieces if piece.kind != "shadow") == live
    assert "".join(piece.text for piece in pieces if piece.kind != "live") == shadow


def test_what_differs_is_told_by_side() -> None:
    assert word_diff("take 5 mg now", "take 50 mg now")[0] == (
        Piece("same", "take "),
        Piece("live", "5 "),
        Piece("shadow", "50 "),
        Piece("same", "mg now"),
    )


def test_long_texts_are_cut_and_said_to_be() -> None:
    pieces, cut = word_diff("w " * (MOST_WORDS + 1), "w")
    assert cut
    assert sum(len(piece.text.split()) for piece in pieces) <= MOST_WORDS + 1
    pieces, cut = word_diff("x" * (MOST_CHARACTERS + 1), "")
    assert cut
    assert pieces == (Piece("live", "x" * MOST_CHARACTERS),)

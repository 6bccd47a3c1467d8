"""Two outputs word by word, within bounds: a page is read by people, and comparing is quadratic."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import SequenceMatcher

from shadowmesh.report.candidate import Piece

MOST_WORDS = 600
MOST_CHARACTERS = 6000
# A word with the space behind it, so that joining the pieces gives the text.
_WORD = re.compile(r"\s*\S+\s*|\s+")


def word_diff(live: str, shadow: str) -> tuple[tuple[Piece, ...], bool]:
    """
    Return the pieces of both texts in order, and whether more was there than :data:`MOST_WORDS` words of either.

    Joined, ``same`` and ``live`` pieces are the beginning of the live text, ``same`` and ``shadow`` pieces the other's.
    """
    before, cut_before = _words(live)
    after, cut_after = _words(shadow)
    return tuple(_pieces(before, after)), cut_before or cut_after


def _words(text: str) -> tuple[list[str], bool]:
    words = _WORD.findall(text[:MOST_CHARACTERS])
    return words[:MOST_WORDS], len(words) > MOST_WORDS or len(text) > MOST_CHARACTERS


def _pieces(before: list[str], after: list[str]) -> Iterator[Piece]:
    for kind, start, end, other_start, other_end in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind == "equal":
            yield Piece("same", "".join(before[start:end]))
            continue
        for side, words in (("live", before[start:end]), ("shadow", after[other_start:other_end])):
            if words:
                yield Piece(side, "".join(words))

"""
How alike two texts are, by their words.

No cheap measure knows what matters: "5 mg" and "50 mg" are nearly the same text. So a similarity is held against what
the live model scores against itself, and stands beside the ``guards``.
"""

from __future__ import annotations

import re
from typing import Protocol

from shadowmesh.errors import StartError

MOST_WORDS = 8192
"""Of each text so many words are compared, from the beginning: the time it takes grows with their square."""

# A number is one word, and so is a letter of the scripts that put no spaces between words (Thai to Burmese, Khmer,
# kana, ideographs). A character that is neither letter, digit nor space stands alone.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_UNSPACED}]|\d+(?:[.,]\d+)*|[^\W\d{_UNSPACED}]+|[^\w\s]")


class Similarity(Protocol):
    """
    Says how alike two texts are: 0 for nothing in common, 1 for all that it looks at.

    It depends on nothing but the two texts, and their order changes nothing.
    """

    name: str

    def __call__(self, one: str, other: str, /) -> float:
        """Return it; never raises."""
        ...


class Lexical:
    """
    The share of words that stay: ``1 - d / n``, with ``n`` words in the longer text and ``d`` that have to be put in,
    left out or replaced to make one text of the other (V. I. Levenshtein, Soviet Physics Doklady 10, 1966).

    Spaces and line breaks do not count, the order of words does. Words and not characters: it is quicker on long
    texts, and a changed word weighs the same whatever its length.

    Raises:
        StartError: rapidfuzz is not installed.
    """

    name = "lexical"

    def __init__(self) -> None:
        try:
            from rapidfuzz.distance import Levenshtein
        except ImportError as error:
            raise StartError("comparing texts needs rapidfuzz: pip install 'shadowmesh[processor]'") from error
        self._alike = Levenshtein.normalized_similarity

    def __call__(self, one: str, other: str, /) -> float:
        """Return the share; 1 for two texts without words."""
        return float(self._alike(words(one), words(other)))


def words(text: str) -> list[str]:
    """Return the first :data:`MOST_WORDS` words of a text."""
    return _WORD.findall(text)[:MOST_WORDS]

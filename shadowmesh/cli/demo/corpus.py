"""
English text that ships with CPython: the language reference behind ``help()``, cleaned of markup.

The text differs a little between Python versions and is otherwise the same on every machine, so what is
learnt from it is too. Words and punctuation marks are the tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from shadowmesh.errors import StartError

_TOKEN = re.compile(r"\w+(?:[.'-]\w+)*|[.,;:!?]")
_MARKS = ".,;:!?"
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_LIST_MARK = re.compile(r"^(?:\*|\d+\.|\[\d+\])\s+")
_EMPHASIS = re.compile(r"\*{1,2}([^*\s][^*]*)\*{1,2}")
_ASIDE = re.compile(r"\s*(?:\([^()]*\)|\[\d+\])")
# What only code, grammar, tables and headings have, and the gap where markup stood for a word.
_NOT_PROSE = re.compile(r"\.\.\.|--|[][|{}<>@\\^~=+*/%&]|\w\(|\s[\s.,;:!?]")
_QUOTES = str.maketrans({'"': None, "\N{RIGHT SINGLE QUOTATION MARK}": "'"})
_PROSE_WORD = re.compile(r"[A-Za-z][a-z'-]*")

_LEAST_WORDS = 5
_LEAST_PROSE_SHARE = 0.8
"""A sentence about code names things; one with more names than this is not worth learning English from."""

_PASSAGE = 3
"""Sentences in a passage, at least. Most paragraphs are a sentence or two once the code is gone; a model that
learnt them one by one would have little to say after a full stop."""


@cache
def passages() -> tuple[tuple[str, ...], ...]:
    """
    Return the text in passages of a few sentences that stand together.

    Raises:
        StartError: this Python was packaged without the text.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError as missing:
        raise StartError("this Python lacks pydoc_data, the text the demo's models learn from") from missing
    known: set[str] = set()
    found: list[tuple[str, ...]] = []
    for name in sorted(topics):
        passage: list[str] = []
        for block in topics[name].split("\n\n"):
            # Some paragraphs stand under several topics; a model should not learn them twice.
            fresh = [sentence for sentence in dict.fromkeys(_prose(block)) if sentence not in known]
            known.update(fresh)
            passage += fresh
            if len(passage) >= _PASSAGE:
                found.append(tuple(passage))
                passage = []
        if passage:
            found.append(tuple(passage))
    return tuple(found)


def sentences() -> tuple[str, ...]:
    """Return every sentence once, in the order of the text."""
    return tuple(sentence for passage in passages() for sentence in passage)


def training_texts() -> tuple[list[str], ...]:
    """Return the passages as token sequences."""
    return tuple(tokens(" ".join(passage)) for passage in passages())


def tokens(text: str) -> list[str]:
    """Split text into words (names with dots and hyphens are one) and punctuation marks."""
    return _TOKEN.findall(text)


def spaced(token: str) -> str:
    """Return the token as it continues a text: words after a space, punctuation marks without."""
    return token if token in _MARKS else f" {token}"


def _prose(block: str) -> Iterator[str]:
    text = _LIST_MARK.sub("", " ".join(block.split()))
    text = _ASIDE.sub("", _EMPHASIS.sub(r"\1", text)).translate(_QUOTES)
    return (sentence for sentence in _SENTENCE_END.split(text) if _is_prose(sentence))


def _is_prose(sentence: str) -> bool:
    if not sentence[:1].isupper() or sentence[-1] not in ".!?" or _NOT_PROSE.search(sentence):
        return False
    words = [token for token in tokens(sentence) if token[0].isalnum() or token[0] == "_"]
    prose = sum(_PROSE_WORD.fullmatch(word) is not None for word in words)
    return len(words) >= _LEAST_WORDS and prose >= _LEAST_PROSE_SHARE * len(words)

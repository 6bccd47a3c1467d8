"""Text of the wire as it may be shown: nothing in it moves a cursor, turns a line round or fills the page."""

from __future__ import annotations

_SHOWN = "\N{REPLACEMENT CHARACTER}"
_KEPT = frozenset("\n\t")


def one_line(text: str, most: int = 160) -> str:
    """Return a name or an id on one line; what cannot be printed (also control and direction marks) is replaced."""
    cut = text if len(text) <= most else text[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"
    return "".join(letter if letter.isprintable() else _SHOWN for letter in cut)


def many_lines(text: str) -> str:
    """Return the same of a text that has lines."""
    return "".join(letter if letter.isprintable() or letter in _KEPT else _SHOWN for letter in text)

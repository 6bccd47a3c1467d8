"""One word from whoever finds something out to whoever has to know, given once, in any order and from any threads."""

from __future__ import annotations

from collections.abc import Callable


class Notice:
    """
    Nothing is locked: each side leaves its word before it looks for the other's, so whoever comes second makes the
    call. When both come at once, both may make it.
    """

    __slots__ = ("_given", "_hear")

    def __init__(self) -> None:
        self._hear: Callable[[], None] | None = None
        self._given = False

    def heard_by(self, hear: Callable[[], None]) -> None:
        """Say what is to be called; at once, where the word has been given already."""
        self._hear = hear
        if self._given:
            hear()

    def give(self) -> None:
        """Give the word."""
        self._given = True
        if self._hear is not None:
            self._hear()

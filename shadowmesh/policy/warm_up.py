"""
A target's first pairs, which are no evidence, by a rule fixed beforehand (pure: the clock is an argument).

A server that has just started compiles, fills its caches and opens its connections, and so does the way to it. The rule
looks at the clock and at how many calls went there, never at what became of them, and every shadow leg bears what it
said: so ledgers that are made anew, by however many processors, leave out the very same pairs.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from shadowmesh.settings import Seconds, Settings

_NS = 1e9


class WarmUpSettings(Settings):
    """
    Which of a target's first pairs are no evidence: those before both have passed.

    Each engine counts by itself, from the first call on that it sends to the target under this configuration: after a
    start of the live server that is new, too, and so are the connections between the two.

    Args:
        time: how long from the first call on.
        calls: how many calls that were sent.
    """

    time: Seconds | None = None
    calls: Annotated[int, Field(strict=True, gt=0, le=1_000_000)] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> WarmUpSettings:
        if self.time is None and self.calls is None:
            raise ValueError("needs a time or a number of calls")
        return self


class WarmUp:
    """
    The warm-up of one target in one engine.

    Args:
        settings: ``None``: there is none.
    """

    def __init__(self, settings: WarmUpSettings | None) -> None:
        self._time_ns = 0 if settings is None else round((settings.time or 0.0) * _NS)
        self._left = 0 if settings is None else settings.calls or 0
        self._sent_ns: int | None = None
        self._over = settings is None

    def lasts(self, at_ns: int, *, sent: bool) -> bool:
        """
        Take in a call, and return whether its pair is left out.

        Args:
            at_ns: when it began, nanoseconds of a monotonic clock.
            sent: whether it goes to the target, or is shed.
        """
        if self._over:
            return False
        if sent and self._sent_ns is None:
            self._sent_ns = at_ns
        self._over = not self._left and self._sent_ns is not None and at_ns - self._sent_ns >= self._time_ns
        if sent and self._left:
            self._left -= 1
        return not self._over

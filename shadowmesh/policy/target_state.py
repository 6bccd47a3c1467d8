"""What the live side knows of one target: its places, its pace, and whether it is closed."""

from __future__ import annotations

from collections import deque

from shadowmesh.names import DropReason
from shadowmesh.policy.experiment import TargetSettings
from shadowmesh.policy.limits import RateLimit, Tokens


class TargetState:
    """What the live side knows of one target now; ``closed`` is a drop reason sent back by the engine."""

    __slots__ = ("_owed", "_settings", "closed", "pace", "tokens")

    def __init__(self, settings: TargetSettings, before: TargetState | None = None) -> None:
        """Begin; ``before`` is the state of another server, or under another cap, that had the same name."""
        self._settings = settings
        self.closed = ""
        self.tokens = Tokens(settings.max_in_flight)
        self.pace = None if settings.max_rate is None else RateLimit(settings.max_rate, settings.burst)
        others = before.outstanding if before is not None else 0
        if before is not None and before.is_of(settings):
            # What runs there counts under the new cap as well, and the pace goes on where it was.
            while others and self.tokens.take():
                others -= 1
            if before.has_pace_of(settings):
                self.pace = before.pace
        # Calls of the one before are still under way: their places are not ours to give.
        self._owed = deque((None,) * others)

    def fits(self, settings: TargetSettings) -> bool:
        """Return whether this is the state of the same server under the same caps."""
        same = self.is_of(settings) and self.has_pace_of(settings)
        return same and self._settings.max_in_flight == settings.max_in_flight

    def is_of(self, settings: TargetSettings) -> bool:
        """Return whether this is the state of the server that ``settings`` mean."""
        return (self._settings.address, self._settings.tls) == (settings.address, settings.tls)

    def has_pace_of(self, settings: TargetSettings) -> bool:
        """Return whether as many calls a second may start as ``settings`` say."""
        return (self._settings.max_rate, self._settings.burst) == (settings.max_rate, settings.burst)

    @property
    def outstanding(self) -> int:
        """How many calls under this name have not ended."""
        return self.tokens.taken + len(self._owed)

    def give(self, times: int) -> None:
        """So many calls under this name have ended."""
        for _ in range(min(times, len(self._owed))):
            try:
                self._owed.pop()
            except IndexError:
                break
            times -= 1
        self.tokens.give(times)

    def take(self, now_ns: int) -> str:
        """Take a place among the calls in flight, and return why there is none; empty where there is."""
        if not self.tokens.take():
            return DropReason.CONCURRENCY_LIMIT
        if self.pace is None or self.pace.take(now_ns):
            return ""
        self.tokens.give()
        return DropReason.RATE_LIMIT

"""
Time slots in which mirroring is on or off, and what the sampled calls of each came to.

Nothing here locks. A count is an ``itertools.count``, whose ``next`` is atomic, so threads count without losing a call
and a slot takes the same memory at any call rate; reading advances it, which is why a slot is closed once.
"""

from __future__ import annotations

from itertools import count
from typing import NamedTuple

NEVER_NS = 1 << 63
"""Later than any monotonic clock, and longer than any call."""

# Durations kept of each slot, to learn from which duration on a call is slow.
_SAMPLE = 48


class Tally(NamedTuple):
    """
    How many calls of a slot began, and what is known of them when it is closed.

    ``slow`` and ``quick`` are all whose latency is known, ``failed`` and ``succeeded`` all whose status is known. A
    call can be in either pair, in both, or in none.
    """

    begun: int = 0
    slow: int = 0
    quick: int = 0
    failed: int = 0
    succeeded: int = 0

    @property
    def slow_share(self) -> float | None:
        """Of the calls whose latency is known, ``None`` without one."""
        return self.slow / (self.slow + self.quick) if self.slow + self.quick else None

    @property
    def failed_share(self) -> float | None:
        """Of the calls whose status is known, ``None`` without one."""
        return self.failed / (self.failed + self.succeeded) if self.failed + self.succeeded else None

    def __add__(self, other: object) -> Tally:
        if not isinstance(other, Tally):
            return NotImplemented
        return Tally(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


class Slot:
    """
    One stretch of time; a sampled call holds the slot it began in and notes its end there, however late.

    Args:
        off: whether sampled calls of this slot are timed without being mirrored.
        end_ns: the first instant after it, on the caller's monotonic clock.
        limit_ns: a call that lasts longer is slow; without a limit the slot knows no call's latency.
    """

    __slots__ = ("_begun", "_failed", "_quick", "_slow", "_succeeded", "_unknown", "durations", "end_ns", "limit_ns",
                 "off")  # fmt: skip

    def __init__(self, *, off: bool, end_ns: int, limit_ns: int = NEVER_NS) -> None:
        self.off = off
        self.end_ns = end_ns
        self.limit_ns = limit_ns
        self.durations: list[int] = []
        self._begun, self._slow, self._quick = count(), count(), count()
        self._failed, self._succeeded, self._unknown = count(), count(), count()

    def begin(self) -> None:
        """A sampled call begins; whoever says so says ``note`` once, or the call counts as hanging."""
        next(self._begun)

    def note(self, duration_ns: int, failed: bool | None) -> None:
        """
        A call has ended; from any thread.

        What lasted beyond the limit is slow, whatever became of it. Below the limit only a success was quick: what
        failed or was cancelled early says nothing of how long it would have taken.

        Args:
            duration_ns: what the live call took, without what a slow client stalled.
            failed: ``None`` when nobody can know: the client cancelled, or the status was not seen. Such a call
                neither failed nor succeeded (law 6). A deadline that passed is a failure.
        """
        if failed:
            next(self._failed)
        else:
            next(self._unknown if failed is None else self._succeeded)
        if duration_ns > self.limit_ns:
            next(self._slow)
        elif failed is False:
            next(self._quick)
        if failed is False and len(self.durations) < _SAMPLE:
            self.durations.append(duration_ns)

    def close(self, waited_ns: int) -> Tally:
        """
        Return what the slot came to; once.

        Args:
            waited_ns: the least time since any call of it began. One that has not ended by then is slow if that
                is beyond the limit (calls that hang are the worst harm), and otherwise not known.
        """
        begun, slow, quick = next(self._begun), next(self._slow), next(self._quick)
        failed, succeeded, unknown = next(self._failed), next(self._succeeded), next(self._unknown)
        if self.limit_ns == NEVER_NS:
            slow = quick = 0
        elif waited_ns > self.limit_ns:
            slow += max(0, begun - failed - succeeded - unknown)
        return Tally(begun, slow, quick, failed, succeeded)


class Block:
    """
    Consecutive slots of one length, of which at most one is off.

    Args:
        off: the place of the slot that is off; -1 for none.
        limit_ns: beyond which a call is slow in an off-slot.
        limit_on_ns: the same in an on-slot, margin included.
    """

    __slots__ = ("_slot_ns", "end_ns", "length_ns", "off", "slots", "start_ns")

    def __init__(
        self, start_ns: int, slot_ns: int, size: int, *, off: int, limit_ns: int = NEVER_NS, limit_on_ns: int = NEVER_NS
    ) -> None:
        self._slot_ns = slot_ns
        self.start_ns = start_ns
        self.length_ns = size * slot_ns
        self.end_ns = start_ns + self.length_ns
        self.off = off
        self.slots = tuple(
            Slot(
                off=place == off,
                end_ns=start_ns + (place + 1) * slot_ns,
                limit_ns=limit_ns if place == off else limit_on_ns,
            )
            for place in range(size)
        )

    def at(self, now_ns: int) -> Slot:
        """Return the slot of an instant; one outside the block gets its first or its last."""
        place = (now_ns - self.start_ns) // self._slot_ns
        return self.slots[min(max(place, 0), len(self.slots) - 1)]

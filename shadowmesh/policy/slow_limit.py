"""From which duration on the harm guard calls a call slow."""

from __future__ import annotations

from collections import deque
from math import ceil

from shadowmesh.policy.harm_settings import HarmGuardSettings
from shadowmesh.policy.slots import NEVER_NS, Block

_NANOSECONDS = 1e9
# Durations the limit is learned from (the newest; of all slots about a block's), and how many it needs.
_REMEMBERED = 1024
_REMEMBERED_OFF = 256
_ENOUGH = 100


class SlowLimit:
    """
    A quantile of the calls seen last in off-slots, in nanoseconds: how long calls take that nobody mirrors.

    It changes at the turn of a block only, so it is known before the calls it judges: such a limit cannot be bent by
    what it judges. One limit serves both kinds of slot; learned for each apart, it would hide the very difference it
    is there to show. Nor may it be learned from both together once there is a choice: nineteen of twenty calls are
    mirrored, so that where calls take much the same time the limit would be that of mirrored ones, and calls three
    times as slow as they should be would not exceed it.

    Attributes:
        off_ns: for slots without mirroring; ``NEVER_NS`` until a hundred calls were seen.
        on_ns: the same with the margins, for slots with mirroring.
    """

    def __init__(self, settings: HarmGuardSettings) -> None:
        self._settings = settings
        self._durations: deque[int] = deque(maxlen=_REMEMBERED)
        self._off: deque[int] = deque(maxlen=_REMEMBERED_OFF)
        self.off_ns = self.on_ns = NEVER_NS

    @property
    def seconds(self) -> float | None:
        """The limit of off-slots, ``None`` while there is none."""
        return None if self.off_ns == NEVER_NS else self.off_ns / _NANOSECONDS

    def learn(self, block: Block) -> None:
        """Take in the successful calls of a block that has ended; calls that are still running are not waited for."""
        for slot in block.slots:
            # A copy: late calls of other threads may still be adding theirs.
            self._durations.extend(slot.durations[:])
            if slot.off:
                self._off.extend(slot.durations[:])
        known = self._off if len(self._off) >= _ENOUGH else self._durations
        if len(known) < _ENOUGH:
            return
        ordered, settings = sorted(known), self._settings
        self.off_ns = ordered[ceil(settings.quantile * len(ordered)) - 1]
        self.on_ns = round(self.off_ns * (1 + settings.latency_margin) + settings.latency_floor * _NANOSECONDS)

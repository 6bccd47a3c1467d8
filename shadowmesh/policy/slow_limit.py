"""From which duration on the harm guard calls a call slow."""

from __future__ import annotations

from collections import deque
from math import ceil

from shadowmesh.policy.harm_settings import HarmGuardSettings
from shadowmesh.policy.slots import NEVER_NS, Block

_NANOSECONDS = 1e9
# Durations the limit is learned from (the newest, about a block's), and how many it needs.
_REMEMBERED = 1024
_ENOUGH = 100


class SlowLimit:
    """
    A quantile of the calls seen last, of both kinds of slot together, in nanoseconds.

    It changes at the turn of a block only, so it is known before the calls it judges: such a limit cannot be bent by
    what it judges. Learned for on- and off-slots apart, it would hide the very difference it is there to show.

    Attributes:
        off_ns: for slots without mirroring; ``NEVER_NS`` until a hundred calls were seen.
        on_ns: the same with the margins, for slots with mirroring.
    """

    def __init__(self, settings: HarmGuardSettings) -> None:
        self._settings = settings
        self._durations: deque[int] = deque(maxlen=_REMEMBERED)
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
        if len(self._durations) < _ENOUGH:
            return
        ordered, settings = sorted(self._durations), self._settings
        self.off_ns = ordered[ceil(settings.quantile * len(ordered)) - 1]
        self.on_ns = round(self.off_ns * (1 + settings.latency_margin) + settings.latency_floor * _NANOSECONDS)

"""The breaker of one target in the engine's loop: what wakes it, and what the live side is told of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from shadowmesh.mirror.observation import Observation
from shadowmesh.names import DropReason
from shadowmesh.policy.breaker import Breaker, BreakerSettings, BreakerState, succeeded


class Guard:
    """
    Admits shadows. ``tell`` hears the drop reason whenever the target closes, and an empty one when it opens again.

    The live gate sheds what it knows to be closed, at no cost to the call. It learns of it a moment late, and a burst
    brings more calls than there are probes, so the last word is here.
    """

    def __init__(self, settings: BreakerSettings, *, clock: Callable[[], int], tell: Callable[[str], None]) -> None:
        self._breaker = Breaker(settings)
        self._clock = clock
        self._tell = tell
        self._told = False
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False

    @property
    def closed(self) -> str:
        """The drop reason while no call may be made, else empty."""
        return DropReason.CIRCUIT_OPEN if self._breaker.refusing else ""

    def admit(self) -> int:
        """Return a pass for one shadow, or 0: it is to be shed."""
        admitted = self._breaker.admit()
        if self._breaker.state is not BreakerState.CLOSED:
            self._changed()
        return admitted

    def settle(self, admitted: int, seen: Observation, now_ns: int) -> None:
        """Take in how the shadow with this pass ended."""
        if self._stopped:
            return
        before = self._breaker.state
        self._breaker.settle(admitted, succeeded(seen.status, seen.end), now_ns)
        if before is not BreakerState.CLOSED or self._breaker.state is not before:
            self._changed()

    def stop(self) -> None:
        """Tell nothing more; the target is gone."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _changed(self) -> None:
        if self._stopped:
            return
        refusing = self._breaker.refusing
        if refusing is not self._told:
            self._told = refusing
            self._tell(self.closed)
        if self._breaker.state is BreakerState.OPEN and self._timer is None:
            left = max(0, self._breaker.until_ns - self._clock()) / 1e9
            self._timer = asyncio.get_running_loop().call_later(left, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._breaker.wake(self._clock())
        self._changed()

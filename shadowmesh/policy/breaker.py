"""
Whether a shadow target is worth calling at all: closed, open, half-open (pure: time is an argument).

A breaker is here to keep calls away from a backend that cannot serve, not to judge a model: a candidate that answers
badly is evidence, and evidence must go on being collected. Hence what counts (:func:`succeeded`):

- failures: ``UNAVAILABLE`` and ``DEADLINE_EXCEEDED`` (nobody there, or nobody who answers in time), ``INTERNAL``,
  ``UNKNOWN`` and ``DATA_LOSS`` (a broken transport, a crashed handler, a lost worker), ``RESOURCE_EXHAUSTED`` (the
  backend asks for less, and shadows are the first to go), ``CANCELLED`` that nobody on our side asked for;
- good: ``OK``, and every other status: the backend answered, and it was the request that provoked the answer;
- neither: a shadow that was cut, shed, or stopped with its live call. The backend never had its say.

gRPC's outlier detection (gRFC A50) counts every status but ``OK``, which would let one client's bad requests switch
the mirror off. Envoy's (5xx after its mapping of statuses) and go-zero's breaker draw the line about where we do. They
count ``UNIMPLEMENTED`` too; here a breaker guards a whole target, and one method that a candidate does not have yet
must not stop the others. They leave ``RESOURCE_EXHAUSTED`` out; a shadow is not a load test.

The price of "neither": a backend that hangs behind clients which always give up first never opens its breaker. What it
may cost is bounded by ``max_in_flight``.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Self

from pydantic import Field, model_validator

from shadowmesh.names import CallEnd
from shadowmesh.settings import Seconds, Settings

_FAILURES = frozenset(
    {"UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "UNKNOWN", "DATA_LOSS", "RESOURCE_EXHAUSTED", "CANCELLED"}
)
_BUCKETS = 10


class BreakerSettings(Settings):
    """
    When a target is left alone, and how it is tried again.

    Args:
        enabled: whether there is a breaker.
        window: the time over which calls are judged; the oldest tenth of it is forgotten at a time.
        failures: the share of failed calls in the window that opens the breaker, above 0 and up to 1.
        least_calls: with fewer calls in the window it stays closed, whatever became of them.
        open: how long it stays open at first; exchanges are shed with ``circuit_open`` meanwhile. Doubles each time the
            target fails again, up to ``open_most``.
        open_most: the longest it stays open before the target is tried again.
        probes: calls let through after that. All of them good closes the breaker, the first failure opens it again.
            A probe may last as long as the target's ``deadline``.
    """

    enabled: bool = True
    window: Seconds = 30.0
    failures: Annotated[float, Field(strict=True, gt=0, le=1, allow_inf_nan=False)] = 0.5
    least_calls: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = 20
    open: Seconds = 5.0
    open_most: Seconds = 60.0
    probes: Annotated[int, Field(strict=True, ge=1, le=1000)] = 3

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.open_most < self.open:
            raise ValueError("open_most is shorter than open")
        return self


def succeeded(status: str, end: str) -> bool | None:
    """Return whether a call that ended so shows a backend that serves; ``None`` where it shows nothing."""
    if not status or end in (CallEnd.CUT, CallEnd.SHED):
        return None
    if status == "CANCELLED" and end != CallEnd.COMPLETED:
        return None
    return status not in _FAILURES


class BreakerState(Enum):
    """The three states."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """
    One target's breaker. Moments are nanoseconds of one monotonic clock.

    :meth:`admit` gives a pass, a number that :meth:`settle` wants back: a call that was admitted before the state last
    changed says nothing about the state it ends in.
    """

    __slots__ = ("_back_off", "_closed_ns", "_good", "_left", "_pass", "_settings", "_window", "state", "until_ns")

    def __init__(self, settings: BreakerSettings) -> None:
        self.state = BreakerState.CLOSED
        self.until_ns = 0
        self._settings = settings
        self._window = _Window(settings.window)
        self._pass = 1
        self._back_off = 0.0
        self._closed_ns = 0
        self._left = 0
        self._good = 0

    @property
    def refusing(self) -> bool:
        """Whether the next call would be refused."""
        return self.state is not BreakerState.CLOSED and not self._left

    def admit(self) -> int:
        """Return a pass for one call, or 0: it is not to be made."""
        if self.state is BreakerState.CLOSED:
            return self._pass
        if not self._left:
            return 0
        self._left -= 1
        return self._pass

    def settle(self, admitted: int, good: bool | None, now_ns: int) -> None:
        """Take in how a call with this pass ended; ``good`` is what :func:`succeeded` says."""
        if admitted != self._pass:
            return
        if self.state is BreakerState.CLOSED:
            self._judge(good, now_ns)
        elif good is None:
            # A probe that shows nothing is made again.
            self._left += 1
        elif not good:
            self._open(2 * self._back_off, now_ns)
        else:
            self._good += 1
            if self._good == self._settings.probes:
                self._closed_ns = now_ns
                self._enter(BreakerState.CLOSED, 0)

    def wake(self, now_ns: int) -> None:
        """Go from open to half-open, if it is time."""
        if self.state is BreakerState.OPEN and now_ns >= self.until_ns:
            self._good = 0
            self._enter(BreakerState.HALF_OPEN, self._settings.probes)

    def _judge(self, good: bool | None, now_ns: int) -> None:
        settings = self._settings
        if good is None or not settings.enabled:
            return
        self._window.add(now_ns, failed=not good)
        calls, failures = self._window.calls, self._window.failures
        if not good and calls >= settings.least_calls and failures >= settings.failures * calls:
            # Probes are few: one that they let close, and that the full load fells at once, goes on where it was.
            again = self._back_off and now_ns - self._closed_ns < settings.window * 1e9
            self._open(2 * self._back_off if again else settings.open, now_ns)

    def _open(self, seconds: float, now_ns: int) -> None:
        self._back_off = min(seconds, self._settings.open_most)
        self.until_ns = now_ns + round(self._back_off * 1e9)
        self._window.clear()
        self._enter(BreakerState.OPEN, 0)

    def _enter(self, state: BreakerState, left: int) -> None:
        self.state = state
        self._left = left
        self._pass += 1


class _Window:
    """Calls and failures of the last while, in buckets."""

    __slots__ = ("_buckets", "_last", "_width_ns", "calls", "failures")

    def __init__(self, seconds: float) -> None:
        self._width_ns = max(1, round(seconds * 1e9 / _BUCKETS))
        self.clear()

    def clear(self) -> None:
        self.calls = 0
        self.failures = 0
        self._last = 0
        self._buckets = [[0, 0] for _ in range(_BUCKETS)]

    def add(self, now_ns: int, *, failed: bool) -> None:
        number = now_ns // self._width_ns
        if number > self._last:
            self._forget(number)
        bucket = self._buckets[number % _BUCKETS]
        bucket[0] += 1
        bucket[1] += failed
        self.calls += 1
        self.failures += failed

    def _forget(self, number: int) -> None:
        """Empty the buckets between the last one and this, once round at most."""
        for stale in range(max(self._last, number - _BUCKETS) + 1, number + 1):
            bucket = self._buckets[stale % _BUCKETS]
            self.calls -= bucket[0]
            self.failures -= bucket[1]
            bucket[0] = bucket[1] = 0
        self._last = number

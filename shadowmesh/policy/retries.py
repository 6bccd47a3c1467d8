"""
One shadow per logical call, when a client tries a call again or hedges it.

What gRPC itself retries says so (``grpc-previous-rpc-attempts``, see the live gate). Retries of applications, proxies
and gateways do not, but often bear a key that all attempts share. The first attempt that this process sees is the
call; for a while, others with the same key are attempts of it.

Only hashes are kept, by Python's own hash function: quick, and keyed anew in every process, so that they say nothing to
anybody else. Of two calls in 2⁶⁴ one may be taken for the other, and is not mirrored then.
"""

from __future__ import annotations

from collections import deque
from typing import Annotated, TypeAlias

from pydantic import Field, field_validator

from shadowmesh.model import Metadata
from shadowmesh.policy.conditions import metadata_key
from shadowmesh.settings import Seconds, Settings

_NANOSECONDS = 1e9

_Seen: TypeAlias = tuple[int, int]


class RetrySettings(Settings):
    """
    How attempts of one call are known for what they are, besides gRPC's own.

    Args:
        keys: metadata keys whose value all attempts share, and other calls of the method do not; of several that a call
            bears, the first in this list decides. Without any, every attempt is a call.
        window: how long after the first attempt another one is recognised.
        capacity: calls remembered at once, about 250 bytes each; beyond, the oldest is forgotten early.
    """

    keys: tuple[str, ...] = ()
    window: Seconds = 60.0
    capacity: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = 16_384

    @field_validator("keys")
    @classmethod
    def _lower(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(metadata_key(key) for key in keys)


class Attempts:
    """
    The calls seen lately, of one experiment.

    Any thread may ask, and none waits: ``dict.setdefault``, which says who was first, is atomic, and so are the ends of
    a ``deque``. A call forgets as many others as it adds, and one more, so none pays for many.

    Attributes:
        crowded: about how many were forgotten before their time, because ``capacity`` was too small.
    """

    __slots__ = ("_capacity", "_order", "_ranks", "_seen", "_window_ns", "crowded")

    def __init__(self, settings: RetrySettings) -> None:
        self._ranks = {key: rank for rank, key in reversed(list(enumerate(settings.keys)))}
        self._window_ns = round(settings.window * _NANOSECONDS)
        self._capacity = settings.capacity
        self._seen: dict[int, _Seen] = {}
        self._order: deque[_Seen] = deque()
        self.crowded = 0

    def __len__(self) -> int:
        return len(self._seen)

    def first(self, method: str, metadata: Metadata, now_ns: int) -> bool:
        """
        Return whether this is the first attempt of its call, and remember it.

        A call without a key, or with an empty one, is its own first attempt.

        Args:
            now_ns: of a monotonic clock.
        """
        ranks = self._ranks
        if not ranks:
            return True
        best, key = len(ranks), None
        for name, value in metadata:
            if name in ranks and value and ranks[name] < best:
                best, key = ranks[name], value
        if key is None:
            return True
        self._forget(now_ns)
        mine = (now_ns, hash((method, best, key)))
        known = self._seen.setdefault(mine[1], mine)
        if known is not mine:
            if now_ns - known[0] < self._window_ns:
                return False
            # Its time is over, though nobody has cleared it away yet.
            self._seen[mine[1]] = mine
        self._order.append(mine)
        return True

    def _forget(self, now_ns: int) -> None:
        """Forget up to two calls whose time is over, or for which there is no room."""
        order, seen = self._order, self._seen
        try:
            for _ in range(2):
                timely = now_ns - order[0][0] < self._window_ns
                if timely and len(order) < self._capacity:
                    return
                oldest = order.popleft()
                self.crowded += timely
                if seen.get(oldest[1]) is oldest:
                    seen.pop(oldest[1], None)
        except IndexError:
            # Nothing is left, or another thread was quicker.
            return

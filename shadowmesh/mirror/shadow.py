"""A shadow leg in flight, as the engine sees it, whichever API runs it."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from shadowmesh.mirror.observation import Observation
from shadowmesh.mirror.tap import MESSAGE_BYTES
from shadowmesh.model import Metadata
from shadowmesh.names import CallEnd
from shadowmesh.rpc import Arity


@dataclass(frozen=True, slots=True)
class Dispatch:
    """What a shadow needs to know: where and how to call, with what, for how long, and who wants to hear of its end."""

    loop: AbstractEventLoop
    multicallable: Any
    arity: Arity
    # It carries the target's credentials.
    metadata: Metadata = field(repr=False)
    span_id: int
    deadline: float
    max_bytes: int
    clock: Callable[[], int]
    finished: Callable[[], None]


class Shadow(Protocol):
    """One shadow leg. All methods run in the engine's loop and return at once."""

    @property
    def observation(self) -> Observation:
        """What is seen of it; the engine reads it when the shadow is over."""
        ...

    def send(self, message: bytes) -> None:
        """Give it the next request message."""

    def half_close(self) -> None:
        """Say that no request message follows."""

    def stop(self, end: CallEnd) -> None:
        """Cancel it; its leg ends as ``end`` unless it had ended already."""


class Answer:
    """Collects the response messages of a shadow into its observation, up to ``max_bytes``."""

    __slots__ = ("_left", "_observation")

    def __init__(self, observation: Observation, max_bytes: int) -> None:
        self._observation = observation
        self._left = max_bytes

    def add(self, message: bytes, at_ns: int) -> None:
        """Count one message, and keep it while there is room."""
        self._left -= len(message) + MESSAGE_BYTES
        self._observation.add_responses((at_ns,), (message,) if self._left >= 0 else ())


def conclude(observation: Observation, status: str, now_ns: int, *, deadline: float, stopped: CallEnd | None) -> None:
    """Write the end of a shadow: the status its backend (or the deadline, or we) gave it, and by what it ended."""
    observation.ended_ns = now_ns
    observation.status = status
    if stopped is not None and status == "CANCELLED":
        observation.end = stopped
    elif status == "DEADLINE_EXCEEDED" and now_ns - observation.started_ns >= deadline * 0.99e9:
        observation.end = CallEnd.DEADLINE
    else:
        observation.end = CallEnd.COMPLETED

"""A shadow leg in flight, as the engine sees it, whichever API runs it."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from shadowmesh.mirror.observation import Observation
from shadowmesh.mirror.tap import Capture
from shadowmesh.model import Metadata
from shadowmesh.names import CallEnd, DropReason
from shadowmesh.rpc import Arity


@dataclass(frozen=True, slots=True)
class Dispatch:
    """
    What a shadow needs to know: where and how to call, with what, for how long, and who wants to hear of its end.

    ``capture`` is the account of what is kept of its answer; ``let_go`` hears that others had taken the room for it.
    """

    loop: AbstractEventLoop
    multicallable: Any
    arity: Arity
    # It carries the target's credentials.
    metadata: Metadata = field(repr=False)
    span_id: int
    deadline: float
    capture: Capture
    let_go: Callable[[str], None]
    clock: Callable[[], int]
    finished: Callable[[], None]


class Shadow(Protocol):
    """One shadow leg. All methods run in the engine's loop and return at once."""

    @property
    def observation(self) -> Observation:
        """What is seen of it; the engine reads it when the shadow is over."""
        ...

    @property
    def further(self) -> Sequence[Observation]:
        """What is seen of the exchanges beside the first, where each of them is asked in a call of its own."""
        ...

    def send(self, message: bytes) -> None:
        """Give it the next request message."""

    def half_close(self) -> None:
        """Say that no request message follows."""

    def stop(self, end: CallEnd) -> None:
        """Cancel it; its leg ends as ``end`` unless it had ended already."""


class Answer:
    """
    Collects the response messages of a shadow into its observation, as far as there is room.

    They stay until the live call has ended too, which may be long after the shadow: their number is bounded by nothing
    else.
    """

    __slots__ = ("_capture", "_let_go", "_observation")

    def __init__(self, observation: Observation, dispatch: Dispatch) -> None:
        self._observation = observation
        self._capture = dispatch.capture
        self._let_go = dispatch.let_go

    def add(self, message: bytes, at_ns: int) -> None:
        """Count one message, and keep it while there is room; where there is none, nothing of the answer is kept."""
        seen = self._observation
        taken = self._capture.take(len(message)) if seen.captured else None
        if taken is not None:
            seen.pages += taken
            seen.add_responses((at_ns,), (message,))
            return
        if seen.captured and self._capture.refusal(len(message)) is DropReason.CAPTURE_FULL:
            self._let_go(DropReason.CAPTURE_FULL)
        seen.add_responses((at_ns,), ())
        held, seen.pages = seen.pages, 0
        self._capture.give(held)


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

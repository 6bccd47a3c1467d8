"""What is measured, as data: the shapes of load, and how long and how often."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any, Final

from bench import payload
from bench.modes import AGAIN, MODES, REFERENCE, Mode


@dataclass(frozen=True, slots=True)
class Shape:
    """
    One kind of load: closed with ``concurrency`` calls in flight, or open at ``rate`` calls a second.

    An open shape that starts with the rate 0 gets one that the whole chain sustains.

    Args:
        metadata: whether calls bear what policies read, in every mode.
        model_seconds: how long the handlers of live server and shadow wait before they answer.
        modes: the modes it is for; none named, all with a healthy shadow, but those of the policies.
        bare_every: how many windows of other modes may stand between two of the bare server.
        every: measured in every so manieth round.
        passes: how often every mode is visited in a round.
        seconds, warm_up: of a window, instead of the settings'.
    """

    name: str
    connections: int
    concurrency: int | None = None
    rate: float = 0.0
    streaming: bool = False
    metadata: bool = False
    model_seconds: float = 0.0
    modes: tuple[str, ...] = ()
    bare_every: int = 2
    every: int = 1
    passes: int = 1
    seconds: float | None = None
    warm_up: float | None = None

    @property
    def messages(self) -> int:
        """Response messages of one call."""
        return payload.STREAM_MESSAGES if self.streaming else 1

    @property
    def pooled(self) -> bool:
        """
        Whether a window has too few calls for a P99 of its own, so that the calls of all are put together, and every
        mode is measured at the same time as the bare servers.
        """
        return self.model_seconds > 0

    def takes(self, mode: Mode) -> bool:
        """Whether the mode is measured under this shape."""
        if self.modes:
            return mode.name in self.modes
        return mode.shadow == "healthy" and not mode.policies

    def job(self, servers: Sequence[Sequence[int]], seconds: float, seed: int) -> dict[str, Any]:
        """
        Return the order for the load generator, by the ports of each server; several servers are for open loops of one
        connection.
        """
        return {
            "servers": [list(ports) for ports in servers],
            "streaming": self.streaming,
            "metadata": self.metadata,
            "connections": self.connections,
            "concurrency": self.concurrency,
            "rate": self.rate,
            "seconds": seconds,
            "seed": seed,
            "latencies": self.pooled,
        }

    def at(self, rate: float) -> Shape:
        """Return this shape as an open loop at ``rate``."""
        return replace(self, rate=rate, concurrency=None)


MODEL: Final = Shape(
    "model_20ms", connections=1, rate=50.0, model_seconds=0.02, every=4, seconds=8.0,
    warm_up=0.5, modes=(REFERENCE, AGAIN, "process", "process_slow", "process_hanging", "process_dead"),
)  # fmt: skip
_POLICIES: Final = (REFERENCE, AGAIN, "policies_off", "policies_on")
SHAPES: Final = (
    Shape("unary_1", connections=1, concurrency=1),
    Shape("unary_16", connections=4, concurrency=16),
    Shape("unary_open", connections=4, passes=3),
    Shape("stream64_4", connections=4, concurrency=4, streaming=True),
    Shape("stream64_open", connections=4, streaming=True),
    MODEL,
    Shape("unary_policies", connections=4, passes=3, metadata=True, modes=_POLICIES),
    Shape("stream64_policies", connections=4, streaming=True, metadata=True, modes=_POLICIES),
)


def choose(shapes: Sequence[Shape], wanted: AbstractSet[str]) -> tuple[tuple[Shape, ...], tuple[Mode, ...]]:
    """Return the shapes that modes of these names are measured under, and those modes, the bare server among them."""
    subjects = [mode for mode in MODES if mode.name in wanted - {REFERENCE, AGAIN}]
    chosen = tuple(shape for shape in shapes if not subjects or any(map(shape.takes, subjects)))
    named = [mode for mode in MODES if mode.name in wanted | {REFERENCE}]
    return chosen, tuple(mode for mode in named if any(shape.takes(mode) for shape in chosen))


@dataclass(frozen=True, slots=True)
class Settings:
    """How long, how often, and from which seed; ``most_seconds`` ends the run between two rounds."""

    seed: int
    rounds: int
    seconds: float
    warm_up: float
    most_seconds: float


QUICK: Final = Settings(seed=1, rounds=3, seconds=0.15, warm_up=0.05, most_seconds=60.0)
FULL: Final = Settings(seed=1, rounds=40, seconds=0.2, warm_up=0.05, most_seconds=690.0)

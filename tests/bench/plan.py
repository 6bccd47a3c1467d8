"""What is measured, as data: the modes, the shapes of load, and how long and how often."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from bench import payload


@dataclass(frozen=True, slots=True)
class Mode:
    """One way to run the live server; ``rate`` is the sampling rate of a mesh, ``None`` without one."""

    name: str
    about: str
    noop: bool = False
    carrier: Literal["loop", "thread"] = "loop"
    rate: float | None = None

    @property
    def mirrors(self) -> bool:
        """Whether shadow calls and spans are to be expected."""
        return bool(self.rate)

    def arguments(self, shadow_port: int, sink_port: int) -> list[str]:
        """Return the arguments of the live server."""
        if self.rate is None:
            return ["--noop"] if self.noop else []
        return ["--config", json.dumps(self._config(shadow_port, sink_port))]

    def _config(self, shadow_port: int, sink_port: int) -> dict[str, Any]:
        """Defaults wherever there is one: what a user gets."""
        target = {"name": "candidate", "address": f"127.0.0.1:{shadow_port}", "rate": self.rate}
        experiment = {"name": "bench", "methods": ["/shadowmesh.v1.Inference/*"], "targets": [target]}
        return {
            "experiments": [experiment],
            "mirror": {"carrier": self.carrier},
            "telemetry": {"service_name": "bench", "otlp": {"endpoint": f"http://127.0.0.1:{sink_port}"}},
        }


REFERENCE: Final = "bare"
"""The mode every other is compared with, round by round."""
MODES: Final = (
    Mode(REFERENCE, "grpc.aio server without interceptor"),
    Mode("bare_again", "the same once more, in a process of its own (A/A): what lies within its difference is noise"),
    Mode("noop", "an interceptor that only passes the call on"),
    Mode("off", "ShadowMesh, 0 % sampled", rate=0.0),
    Mode("loop", "ShadowMesh, 100 % mirrored, carrier loop", rate=1.0, carrier="loop"),
    Mode("thread", "ShadowMesh, 100 % mirrored, carrier thread", rate=1.0, carrier="thread"),
)


@dataclass(frozen=True, slots=True)
class Shape:
    """
    One kind of load: closed with ``concurrency`` calls in flight, or open at ``rate`` calls a second.

    An open shape starts with the rate 0 and gets one that the whole chain sustains.
    """

    name: str
    connections: int
    concurrency: int | None = None
    rate: float = 0.0
    streaming: bool = False

    @property
    def messages(self) -> int:
        """Response messages of one call."""
        return payload.STREAM_MESSAGES if self.streaming else 1

    def job(self, port: int, seconds: float, seed: int) -> dict[str, Any]:
        """Return the order for the load generator."""
        return {
            "port": port,
            "streaming": self.streaming,
            "connections": self.connections,
            "concurrency": self.concurrency,
            "rate": self.rate,
            "seconds": seconds,
            "seed": seed,
        }

    def at(self, rate: float) -> Shape:
        """Return this shape as an open loop at ``rate``."""
        return replace(self, rate=rate, concurrency=None)


SHAPES: Final = (
    Shape("unary_1", connections=1, concurrency=1),
    Shape("unary_16", connections=4, concurrency=16),
    Shape("unary_open", connections=4),
    Shape("stream64_4", connections=4, concurrency=4, streaming=True),
    Shape("stream64_open", connections=4, streaming=True),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """How long, how often, and from which seed; ``most_seconds`` ends the run between two rounds."""

    seed: int
    rounds: int
    seconds: float
    warm_up: float
    most_seconds: float


QUICK: Final = Settings(seed=1, rounds=3, seconds=0.3, warm_up=0.1, most_seconds=60.0)
FULL: Final = Settings(seed=1, rounds=12, seconds=1.0, warm_up=0.2, most_seconds=690.0)

"""What is measured of the proxy, and what was expected, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from bench.modes import AGAIN, REFERENCE, Mode
from bench.plan import Settings, Shape

PROXY, PROXIES, APART, ENVOY = "proxy", "proxy_2", "proxies_apart", "envoy"
EXTRACTION: Final = "extraction"

NAMES: Final = {REFERENCE: "direct", AGAIN: "direct_again"}
"""How the report names the modes that every benchmark here has."""

MODES: Final = (
    Mode(REFERENCE, "the live server without anything before it"),
    Mode(AGAIN, "the same once more, in a process of its own (A/A): what lies within its difference is noise"),
    Mode(PROXY, "through shadowmesh proxy, one worker, without a mesh", hop="proxy"),
    Mode(ENVOY, "through Envoy as a plain hop, one worker", hop="plain"),
    Mode(PROXIES, "through shadowmesh proxy --workers 2, each with a core", hop="proxy", workers=2),
    Mode(
        APART,
        "through two proxies that share nothing but the live server: what the cores allow",
        hop="proxy",
        workers=2,
        apart=True,
    ),
)
_HOPS: Final = (REFERENCE, AGAIN, PROXY, ENVOY)
_WORKERS: Final = (REFERENCE, PROXY, PROXIES, APART)
SHAPES: Final = (
    Shape("unary_1", connections=1, concurrency=1, modes=_HOPS),
    Shape("unary_16", connections=4, concurrency=16, modes=_HOPS),
    Shape("stream64_4", connections=4, concurrency=4, streaming=True, modes=_HOPS),
    # The kernel gives each connection to a worker by chance: many of them make both alike.
    Shape("unary_64", connections=32, concurrency=64, modes=_WORKERS),
    Shape("stream64_32", connections=32, concurrency=32, streaming=True, modes=_WORKERS),
)


@dataclass(frozen=True, slots=True)
class Gate:
    """One expectation; with ``against`` it is about the ratio to that mode's figure, round by round."""

    mode: str
    shape: str
    figure: str
    relation: Literal["<=", ">="]
    limit: float
    against: str = ""


GATES: Final = (
    Gate(PROXY, "unary_1", "cpu_us_hop", "<=", 4.0, against=ENVOY),
    Gate(PROXY, "unary_16", "cpu_us_hop", "<=", 4.0, against=ENVOY),
    Gate(PROXY, "stream64_4", "cpu_us_hop", "<=", 6.0, against=ENVOY),
    Gate(PROXIES, "unary_64", "rps", ">=", 1.8, against=PROXY),
    Gate(PROXIES, "stream64_32", "rps", ">=", 1.8, against=PROXY),
    Gate(PROXIES, "unary_64", "rps", ">=", 0.95, against=APART),
    Gate(PROXIES, "stream64_32", "rps", ">=", 0.95, against=APART),
    Gate(EXTRACTION, "unary", "cpu_us_per_pair", "<=", 30.0),
)

QUICK: Final = Settings(seed=1, rounds=3, seconds=0.3, warm_up=0.1, most_seconds=120.0)
FULL: Final = Settings(seed=1, rounds=15, seconds=0.4, warm_up=0.1, most_seconds=690.0)

"""How long and how often the processor is measured, as data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """
    One plan.

    Args:
        rounds: of processor and Collector in turns.
        seconds: of each load.
        shares: of the throughput that the open loops have.
        sizes: stored pairs at which the cost of one more is measured.
        open_pairs: live legs that wait at once.
        seed: of ids, times and figures.
    """

    rounds: int
    seconds: float
    shares: tuple[float, ...]
    sizes: tuple[int, ...]
    open_pairs: int
    seed: int = 7


FULL = Settings(3, 15.0, (0.1, 0.25, 0.5, 0.75, 0.9), (1_000, 10_000, 100_000, 1_000_000), 100_000)
QUICK = Settings(1, 5.0, (0.25, 0.75), (1_000, 10_000), 50_000)

"""From windows to one value per round and figure: of the mode itself, and against the bare windows beside it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from bench.modes import REFERENCE
from bench.plan import Shape
from bench.schedule import Visit, pairs
from bench.window import Sample
from numpy.typing import NDArray

Values = NDArray[np.float64]
_RESAMPLES = 4000
_RESAMPLES_OF_CALLS = 1000
_TRIM = 0.25
_OWN = (
    "rps", "p50_us", "p99_us", "cpu_us_per_call", "cpu_us_hop", "cpu_us_path", "cpu_us_raw", "cpu_us_all", "live_busy",
    "load_busy", "slowdown", "mirrored_share", "admitted_share", "exported_share",
)  # fmt: skip
_ADDED = {
    "p50_us_added": "p50_us",
    "p99_us_added": "p99_us",
    "cpu_us_added": "cpu_us_per_call",
    "cpu_us_path_added": "cpu_us_path",
    "cpu_us_raw_added": "cpu_us_raw",
}
_RATIO = {"rps_ratio": "rps", "cpu_ratio": "cpu_us_path"}


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float


def by_round(visits: Sequence[Visit], mode: str, shape: Shape) -> dict[str, dict[int, float]]:
    """Return every figure of a mode, by name and round; of several windows in a round, the median."""
    found: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for number, own, bare in pairs(visits, mode):
        for name, value in _figures(own, bare, shape.messages).items():
            found[name][number].append(value)
    return {name: {number: float(np.median(values)) for number, values in rounds.items()}
            for name, rounds in found.items()}  # fmt: skip


def _figures(own: Sample, bare: Sequence[Sample], messages: int) -> dict[str, float]:
    def beside(name: str) -> float:
        return sum(float(getattr(sample, name)) for sample in bare) / len(bare)

    figures = {name: float(getattr(own, name)) for name in _OWN}
    figures |= {name: figures[of] - beside(of) for name, of in _ADDED.items()}
    figures |= {name: figures[of] / beside(of) for name, of in _RATIO.items()}
    return figures | {"cpu_us_added_per_message": figures["cpu_us_added"] / messages}


def middle(values: Sequence[float], generator: np.random.Generator) -> Estimate:
    """
    Return the mean of the middle half of the rounds, and its percentile-bootstrap interval over the rounds.

    It shrugs off the rounds in which the machine was busy as the median does, and wastes fewer of the others.
    """
    array = np.asarray(values)
    resampled = _midmean(generator.choice(array, (_RESAMPLES, array.size)))
    low, high = np.percentile(resampled, (2.5, 97.5))
    return Estimate(float(_midmean(array)), float(low), float(high))


def _midmean(values: Values) -> Values:
    cut = int(values.shape[-1] * _TRIM)
    inner = np.sort(values, axis=-1)[..., cut : values.shape[-1] - cut]
    return np.asarray(inner.mean(axis=-1))


def quantile_added(visits: Sequence[Visit], mode: str, quantile: float, generator: np.random.Generator) -> Estimate:
    """
    Return how much a quantile of the latencies of all windows together is above the bare server's, in percent.

    The interval resamples the rounds, the same for both, and within them the calls.
    """
    own, bare = _latencies(visits, mode), _latencies(visits, REFERENCE)
    numbers = sorted(own.keys() & bare.keys())

    def added(drawn: Sequence[int], draw: Callable[[Values], Values]) -> float:
        of, to = (float(np.quantile(np.concatenate([draw(side[number]) for number in drawn]), quantile))
                  for side in (own, bare))  # fmt: skip
        return (of / to - 1) * 100

    resampled = [
        added([int(n) for n in generator.choice(numbers, len(numbers))], lambda v: generator.choice(v, v.size))
        for _ in range(_RESAMPLES_OF_CALLS)
    ]
    low, high = np.percentile(resampled, (2.5, 97.5))
    return Estimate(added(numbers, lambda values: values), float(low), float(high))


def _latencies(visits: Sequence[Visit], mode: str) -> dict[int, Values]:
    found: dict[int, list[int]] = defaultdict(list)
    for visit in visits:
        if visit.mode == mode:
            found[visit.round] += visit.sample.latencies_us
    return {number: np.asarray(values, dtype=np.float64) for number, values in found.items()}

"""From samples to rows: medians over the rounds, with bootstrap intervals, and what was expected of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from bench.plan import REFERENCE, Mode, Shape
from bench.window import Sample

Samples = dict[tuple[str, str], list[Sample]]
"""By mode and shape, in the order of the rounds."""
_RESAMPLES = 4000
_OWN = (
    "rps", "p50_us", "p99_us", "cpu_us_per_call", "cpu_us_all", "live_busy", "load_busy",
    "mirrored_share", "admitted_share", "exported_share",
)  # fmt: skip

EXPECTED: tuple[tuple[str, str, str, str, float], ...] = (
    ("off", "unary_16", "cpu_us_added", "<=", 6.0),
    ("loop", "unary_16", "rps_ratio", ">=", 0.30),
    ("loop", "unary_16", "mirrored_share", ">=", 0.99),
    ("loop", "unary_open", "mirrored_share", ">=", 0.99),
    ("thread", "unary_open", "mirrored_share", ">=", 0.99),
    ("loop", "stream64_open", "mirrored_share", ">=", 0.99),
    ("thread", "stream64_open", "mirrored_share", ">=", 0.99),
)
"""Mode, shape, figure, and what was hoped for. Reported beside the figures; nothing fails by them."""


def rows(samples: Samples, modes: tuple[Mode, ...], shapes: tuple[Shape, ...], seed: int) -> list[dict[str, Any]]:
    """Return one row per mode and shape; see the text of ``overhead.py`` for its keys."""
    generator = np.random.default_rng(seed)
    return [_row(samples, mode, shape, generator) for shape in shapes for mode in modes]


def expectations(table: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what was expected beside what was measured."""
    found = {(row["mode"], row["shape"]): row for row in table}
    results = []
    for mode, shape, figure, relation, limit in EXPECTED:
        row = found.get((mode, shape))
        if row is not None:
            value = row[figure]
            met = value <= limit if relation == "<=" else value >= limit
            facts = {"mode": mode, "shape": shape, "figure": figure, "relation": relation, "limit": limit}
            results.append({**facts, "value": value, "ci": row[f"{figure}_ci"], "met": met})
    return results


def notes(table: list[dict[str, Any]]) -> list[str]:
    """Return what a reader must know to read the figures right."""
    found = []
    for row in table:
        name = f"{row['mode']}, {row['shape']}"
        if row["faults"]:
            found.append(f"{name}: errors on the mirror side: {row['faults']}")
        if row["bad_calls"]:
            found.append(f"{name}: {row['bad_calls']} of {row['calls']} calls had a wrong answer")
        if row["mirrored_share"] and row["exported_share"] < 0.99:
            found.append(f"{name}: only {row['exported_share']:.1%} of the calls were exported")
        if abs(row["mirrored_share"] - row["admitted_share"]) > 0.005:
            found.append(f"{name}: the funnel says {row['admitted_share']:.3f} were mirrored")
        if row["load_busy"] > 0.9 and row["live_busy"] < 0.9:
            found.append(f"{name}: the load generator was the limit ({row['load_busy']:.0%} of its core)")
    return found


def _row(samples: Samples, mode: Mode, shape: Shape, generator: np.random.Generator) -> dict[str, Any]:
    own, reference = samples[mode.name, shape.name], samples[REFERENCE, shape.name]
    row: dict[str, Any] = {
        "mode": mode.name,
        "shape": shape.name,
        "concurrency": shape.concurrency,
        "rate": shape.rate or None,
        "rounds": len(own),
        "calls": sum(sample.calls for sample in own),
        "bad_calls": sum(sample.bad for sample in own),
        "shed": _total(sample.shed for sample in own),
        "faults": _total(sample.faults for sample in own),
    }
    series = {name: [float(getattr(sample, name)) for sample in own] for name in _OWN}
    pairs = list(zip(own, reference, strict=True))
    series["rps_ratio"] = [sample.rps / bare.rps for sample, bare in pairs]
    series["cpu_us_added"] = [sample.cpu_us_per_call - bare.cpu_us_per_call for sample, bare in pairs]
    series["cpu_us_added_per_message"] = [added / shape.messages for added in series["cpu_us_added"]]
    series["p50_us_added"] = [sample.p50_us - bare.p50_us for sample, bare in pairs]
    series["p99_us_added"] = [sample.p99_us - bare.p99_us for sample, bare in pairs]
    for name, values in series.items():
        row[name], row[f"{name}_ci"] = _median(values, generator)
    return row


def _total(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return {name: number for name, number in total.items() if number}


def _median(values: list[float], generator: np.random.Generator) -> tuple[float, list[float]]:
    """Return the median and its 95 % percentile-bootstrap interval."""
    array = np.asarray(values)
    resampled = np.median(generator.choice(array, (_RESAMPLES, array.size)), axis=1)
    low, high = np.percentile(resampled, (2.5, 97.5))
    return round(float(np.median(array)), 4), [round(float(low), 4), round(float(high), 4)]

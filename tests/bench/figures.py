"""The rows of the report and what a reader must know about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from bench.modes import MODES, REFERENCE, Mode
from bench.plan import Shape
from bench.schedule import Visit
from bench.series import Estimate, by_round, middle, quantile_added

Visits = dict[str, list[Visit]]
"""By shape, in the order they were made."""
_POOLED = {"p50_added_percent": 0.5, "p99_added_percent": 0.99}
_BUSY = 0.9
_FOREIGN = 0.02


def rows(visits: Visits, modes: tuple[Mode, ...], shapes: tuple[Shape, ...], seed: int) -> list[dict[str, Any]]:
    """Return one row per mode and shape; see the text of ``overhead.py`` for its keys."""
    generator = np.random.default_rng(seed)
    return [_row(visits[shape.name], mode, shape, generator) for shape in shapes for mode in modes if shape.takes(mode)]


def notes(table: list[dict[str, Any]], visits: Visits, modes: tuple[Mode, ...] = MODES) -> list[str]:
    """Return what a reader must know to read the figures right."""
    by_name = {mode.name: mode for mode in modes}
    found = [f"{row['mode']}, {row['shape']}: {note}" for row in table for note in _notes(row, by_name[row["mode"]])]
    # Other modes have the load generator's softer work on it too; the bare server's windows show the machine's.
    foreign = [visit.sample.foreign_busy for of in visits.values() for visit in of if visit.mode == REFERENCE]
    if foreign and (mean := float(np.mean(foreign))) > _FOREIGN:
        found.append(f"other programs used {mean:.0%} of the live core meanwhile: the figures are noisy")
    return found


def _notes(row: dict[str, Any], mode: Mode) -> Iterable[str]:
    well = mode.shadow == "healthy"
    if row["faults"] and well:
        yield f"errors on the mirror side: {row['faults']}"
    if row["bad_calls"]:
        yield f"{row['bad_calls']} of {row['calls']} calls had a wrong answer"
    if mode.records and well and row["exported_share"] < 0.99:
        yield f"only {row['exported_share']:.1%} of the calls were exported"
    if mode.records and well and abs(row["mirrored_share"] - row["admitted_share"]) > 0.005:
        yield f"the funnel says {row['admitted_share']:.3f} were mirrored"
    if row["load_busy"] > _BUSY > row["live_busy"]:
        yield f"the load generator was the limit ({row['load_busy']:.0%} of its core)"


def _row(visits: list[Visit], mode: Mode, shape: Shape, generator: np.random.Generator) -> dict[str, Any]:
    own = [visit.sample for visit in visits if visit.mode == mode.name]
    row: dict[str, Any] = {
        "mode": mode.name,
        "shape": shape.name,
        "concurrency": shape.concurrency,
        "rate": shape.rate or None,
        "rounds": len({visit.round for visit in visits}),
        "windows": len(own),
        "calls": sum(sample.calls for sample in own),
        "bad_calls": sum(sample.bad for sample in own),
        "shed": _total(sample.shed for sample in own),
        "faults": _total(sample.faults for sample in own),
    }
    for name, rounds in by_round(visits, mode.name, shape).items():
        put(row, name, middle(list(rounds.values()), generator))
    if shape.pooled:
        for name, quantile in _POOLED.items():
            put(row, name, quantile_added(visits, mode.name, quantile, generator))
    return row


def put(row: dict[str, Any], name: str, estimate: Estimate) -> None:
    """Write a figure and its interval into a row."""
    row[name] = round(estimate.value, 4)
    row[f"{name}_ci"] = [round(estimate.low, 4), round(estimate.high, 4)]


def _total(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return {name: number for name, number in total.items() if number}

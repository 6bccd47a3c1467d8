"""What was expected of the proxy beside what was measured; nothing fails by it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from bench.figures import Visits
from bench.plan import Shape
from bench.proxy_plan import GATES, MODES, Gate
from bench.series import Estimate, by_round, middle

_BUSY = 0.9
_WORKERS = {mode.name: mode.workers for mode in MODES}

Row = dict[str, Any]


def expectations(table: list[Row], visits: Visits, shapes: tuple[Shape, ...], seed: int) -> list[Row]:
    """
    Return every gate whose rows were measured with ``value``, ``ci``, ``met``, whether that is ``certain`` (both ends
    of the interval say the same), and ``void``: why the answer means nothing, or empty.
    """
    found = {(row["mode"], row["shape"]): row for row in table}
    by_name = {shape.name: shape for shape in shapes}
    generator = np.random.default_rng(seed)
    results = []
    for gate in GATES:
        row = found.get((gate.mode, gate.shape))
        if row is None or (gate.against and (gate.against, gate.shape) not in found):
            continue
        measured = Estimate(row[gate.figure], *row[f"{gate.figure}_ci"])
        if gate.against:
            measured = _ratio(visits, gate, by_name[gate.shape], generator)
        met = _met(gate, measured.value)
        results.append(
            {
                **asdict(gate),
                "value": round(measured.value, 3),
                "ci": [round(measured.low, 3), round(measured.high, 3)],
                "met": met,
                "certain": met == _met(gate, measured.low) == _met(gate, measured.high),
                "void": _void(gate, row),
            }
        )
    return results


def _ratio(visits: Visits, gate: Gate, shape: Shape, generator: np.random.Generator) -> Estimate:
    own, other = (by_round(visits[shape.name], mode, shape)[gate.figure] for mode in (gate.mode, gate.against))
    return middle([own[number] / other[number] for number in sorted(own.keys() & other.keys())], generator)


def _met(gate: Gate, value: float) -> bool:
    return value <= gate.limit if gate.relation == "<=" else value >= gate.limit


def _void(gate: Gate, row: Row) -> str:
    if gate.figure != "rps":
        return ""
    # A limit that is not the proxy's says nothing about the proxy.
    limits = {"live_busy": "the live server", "load_busy": "the load generator"}
    found = [f"{what} was the limit ({row[name]:.2f})" for name, what in limits.items() if row[name] > _BUSY]
    if row["hop_busy"] < _BUSY * _WORKERS[gate.mode]:
        found.append(f"its workers had {row['hop_busy']:.2f} of {_WORKERS[gate.mode]} cores")
    return ", ".join(found)

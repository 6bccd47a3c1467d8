"""What was expected of the figures, as data; reported beside what was measured, and nothing fails by it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np
from bench.modes import AGAIN
from bench.plan import MODEL, Shape
from bench.schedule import Visit
from bench.series import Estimate, by_round, middle

_EQUAL_SHARE = 0.99


@dataclass(frozen=True, slots=True)
class Gate:
    """
    One expectation.

    Args:
        relation: ``within`` is for a figure that may be off to both sides.
        against: a mode whose figure, round by round, is taken off first; its share must be as high as the mode's own.
        again_within: what A/A may show of the same figure for the answer to mean anything.
    """

    mode: str
    shape: str
    figure: str
    relation: Literal["<=", ">=", "<", "within"]
    limit: float
    against: str = ""
    again_within: float | None = None


GATES: Final = (
    Gate(AGAIN, "unary_open", "cpu_us_added", "within", 3.0),
    Gate("off", "unary_open", "cpu_us_added", "<=", 6.0),
    Gate("off", "unary_16", "cpu_us_added", "<=", 6.0),
    Gate("process", "unary_open", "cpu_us_added", "<=", 25.0),
    Gate("process", "stream64_open", "cpu_us_added_per_message", "<=", 3.0),
    *(Gate(mode, shape, "mirrored_share", ">=", _EQUAL_SHARE)
      for shape in ("unary_open", "stream64_open") for mode in ("loop", "thread", "process", "envoy_mirror")),
    *(Gate("policies_on", shape, figure, "<=", limit, against=other)
      for shape, figure, limit in (("unary_policies", "cpu_us_added", 25.0),
                                   ("stream64_policies", "cpu_us_added_per_message", 3.0))
      for other in ("", "policies_off")),
    *(Gate(mode, shape, "mirrored_share", ">=", _EQUAL_SHARE)
      for shape in ("unary_policies", "stream64_policies") for mode in ("policies_off", "policies_on")),
    *(Gate("process", shape, figure, "<", 0.0, against="envoy_mirror")
      for shape in ("unary_open", "unary_1") for figure in ("cpu_us_path_added", "p50_us_added", "p99_us_added")),
    *(Gate(mode, MODEL.name, "p99_added_percent", "<=", 2.0, again_within=1.0)
      for mode in MODEL.modes if mode.startswith("process")),
)  # fmt: skip


def expectations(
    table: list[dict[str, Any]], visits: dict[str, list[Visit]], shapes: tuple[Shape, ...], seed: int
) -> list[dict[str, Any]]:
    """
    Return every gate whose rows were measured with ``value``, ``ci``, ``met``, whether that is ``certain`` (both ends
    of the interval say the same), and ``void`` with the reason why the answer means nothing, if it does.
    """
    found = {(row["mode"], row["shape"]): row for row in table}
    by_name = {shape.name: shape for shape in shapes}
    generator = np.random.default_rng(seed)
    results = []
    for gate in GATES:
        row, other = found.get((gate.mode, gate.shape)), found.get((gate.against, gate.shape))
        if row is None or (gate.against and other is None):
            continue
        measured = Estimate(row[gate.figure], *row[f"{gate.figure}_ci"])
        if gate.against:
            measured = _difference(visits[gate.shape], gate, by_name[gate.shape], generator)
        facts = {"value": round(measured.value, 4), "ci": [round(measured.low, 4), round(measured.high, 4)]}
        void = _void(gate, row, other, found.get((AGAIN, gate.shape)))
        results.append({**asdict(gate), **facts, **_judged(gate, measured), "void": void})
    return results


def _difference(visits: list[Visit], gate: Gate, shape: Shape, generator: np.random.Generator) -> Estimate:
    own, other = (by_round(visits, mode, shape)[gate.figure] for mode in (gate.mode, gate.against))
    return middle([own[number] - other[number] for number in sorted(own.keys() & other.keys())], generator)


def _judged(gate: Gate, measured: Estimate) -> dict[str, bool]:
    met = _met(gate, measured.value)
    return {"met": met, "certain": met == _met(gate, measured.low) == _met(gate, measured.high)}


def _met(gate: Gate, value: float) -> bool:
    match gate.relation:
        case "<=":
            return value <= gate.limit
        case ">=":
            return value >= gate.limit
        case "<":
            return value < gate.limit
        case "within":
            return abs(value) <= gate.limit


def _void(gate: Gate, row: dict[str, Any], other: dict[str, Any] | None, again: dict[str, Any] | None) -> str:
    if other is not None and min(row["mirrored_share"], other["mirrored_share"]) < _EQUAL_SHARE:
        return f"the shares are {row['mirrored_share']:.3f} and {other['mirrored_share']:.3f}"
    if gate.again_within is not None:
        if again is None:
            return f"{AGAIN} was not measured"
        if abs(again[gate.figure]) > gate.again_within:
            return f"{AGAIN} shows {again[gate.figure]:+.2g}"
    return ""

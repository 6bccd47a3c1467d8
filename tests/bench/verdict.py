"""
What a verdict costs: ``python tests/bench/verdict.py --json FILE [--quick]``.

``ledger_pairs_per_s``: pairs a second that a ledger takes in batches, latencies, errors, tokens, costs, similarity and
two guards included, until its cells are in order. ``verdict_ms``: a whole verdict by the default criteria over ledgers
of four methods and a control, as a processor reads them from the store. ``rebuild_s``: reading all pairs back from a
store of SQLite and making their ledgers (``verdict_rebuild.py``); ``rebuild_with_controls_s`` the same where every
20th exchange went to a control, too. A figure is the quickest of seven rounds, of rebuilding there is one; all of it is
one thread and the clock on the wall, so a busy machine shows.

The JSON::

    {"schema": "shadowmesh.bench.verdict/1", "machine": {...}, "pairs": how many,
     "ledger_pairs_per_s", "verdict_ms", "rebuild_s", "rebuild_with_controls_s": the figures,
     "ledger_pairs_per_s_by_batch": {size of a batch: figure}, "ledger_bytes", "expectations": [...]}
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from bench import machine
from bench.verdict_rebuild import rebuild_seconds
from rich.console import Console
from rich.table import Table
from support.columns import drawn

from shadowmesh.verdict.facts import PairColumns, TextColumns
from shadowmesh.verdict.ledger import Ledger
from shadowmesh.verdict.records import EvidenceKey
from shadowmesh.verdict.settings import CriteriaSettings
from shadowmesh.verdict.verdict import judge

_KEY = EvidenceKey(experiment="bench", target="candidate", target_digest="", config_digest="")
_FULL, _QUICK = 1_000_000, 100_000
_ROUNDS = 7
_BATCHES = (1000, 10_000, 100_000)
_METHODS = 4
_EXPECTED = (("ledger_pairs_per_s", ">=", 1e6), ("verdict_ms", "<", 50.0), ("rebuild_s", "<", 20.0))
_CONTROLS = 20


def main() -> None:
    """Measure, print a table, and write the JSON where it is wanted."""
    parser = argparse.ArgumentParser(description="What a verdict costs.")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--quick", action="store_true", help=f"{_QUICK} pairs instead of {_FULL}")
    chosen = parser.parse_args()
    report = measure(_QUICK if chosen.quick else _FULL)
    _print(report)
    if chosen.json:
        chosen.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def measure(pairs: int) -> dict[str, Any]:
    """Return all figures; what is expected of them is of a million pairs."""
    columns = _pairs(pairs)
    by_batch = {size: pairs / _quickest(partial(_filled, _batches(columns, size))) for size in _BATCHES}
    ledgers, control = _ledgers(columns)
    now_ns = int(columns.dispatched_ns.max())
    figures = {
        "ledger_pairs_per_s": by_batch[_BATCHES[0]],
        "verdict_ms": 1e3 * _quickest(lambda: judge(_KEY, ledgers, CriteriaSettings(), control=control, now_ns=now_ns)),
        "rebuild_s": rebuild_seconds(pairs),
        "rebuild_with_controls_s": rebuild_seconds(pairs, controls=_CONTROLS),
    }
    return {
        "schema": "shadowmesh.bench.verdict/1",
        "machine": machine.describe(),
        "pairs": pairs,
        **figures,
        "ledger_pairs_per_s_by_batch": by_batch,
        "ledger_bytes": sum(len(each.to_bytes()) for each in ledgers.values()),
        "expectations": [
            {"figure": name, "relation": relation, "limit": limit, "met": _met(figures[name], relation, limit)}
            for name, relation, limit in _EXPECTED
        ],
    }


def _pairs(count: int) -> PairColumns:
    columns = drawn(count, minutes=2000, similarity=0.8, floor=0.8)
    random = np.random.default_rng(9)
    flags = [(random.random(count) < 0.05).astype(np.float64) for _ in range(4)]
    guards = {"numbers": (flags[0], flags[1]), "refusal": (flags[2], flags[3])}
    assert columns.texts is not None
    texts = TextColumns(similarity=columns.texts.similarity, floor=columns.texts.floor, guards=guards)
    return replace(columns, texts=texts, exact=flags[0])


def _batches(columns: PairColumns, size: int) -> list[PairColumns]:
    places = np.arange(len(columns))
    return [columns.where(places[start : start + size]) for start in range(0, len(columns), size)]


def _filled(batches: list[PairColumns]) -> Ledger:
    ledger = Ledger(currency="USD")
    for batch in batches:
        ledger.add(batch)
    for tally in ledger.tallies.values():
        tally.items()
    return ledger


def _ledgers(columns: PairColumns) -> tuple[dict[str, Ledger], dict[str, Ledger]]:
    place = np.arange(len(columns))
    ledgers = {f"/bench/{at}": _filled([columns.where(place % _METHODS == at)]) for at in range(_METHODS)}
    control = {"/bench/0": _filled([drawn(len(columns) // 20, seed=2)])}
    return _read_back(ledgers), _read_back(control)


def _read_back(ledgers: dict[str, Ledger]) -> dict[str, Ledger]:
    return {name: Ledger.from_bytes(each.to_bytes()) for name, each in ledgers.items()}


def _quickest(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def _met(figure: float, relation: str, limit: float) -> bool:
    return figure >= limit if relation == ">=" else figure < limit


def _print(report: dict[str, Any]) -> None:
    table = Table(title=f"The verdict over {report['pairs']:,} pairs")
    for heading in ("figure", "measured", "expected", "met"):
        table.add_column(heading, justify="left" if heading == "figure" else "right")
    for one in report["expectations"]:
        name = one["figure"]
        met = "yes" if one["met"] else "no"
        table.add_row(name, f"{report[name]:,.1f}", f"{one['relation']} {one['limit']:,.0f}", met)
    for size, figure in report["ledger_pairs_per_s_by_batch"].items():
        table.add_row(f"  batches of {size:,}", f"{figure:,.0f}", "", "")
    table.add_row("rebuild_with_controls_s", f"{report['rebuild_with_controls_s']:,.1f}", "", "")
    table.add_row("ledger_bytes", f"{report['ledger_bytes']:,}", "", "")
    Console().print(table)


if __name__ == "__main__":
    main()

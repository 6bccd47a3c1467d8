"""
How often the verdict is wrong, and how soon it is right: ``make sim``, or ``python tests/sim/simulate.py``.

Every row draws worlds whose truth is known (``draws.py``, ``worlds.py``), lets the product's own code look at them
again and again, and counts the runs in which it said what the row names. Rows of an error hold that share against the
99.9 % quantile of a binomial with the error that is promised; rows of power have a share to reach within so many pairs.
Straw men are read in the same way and have to break the same limits. Seeds are fixed: two runs of one version print the
same figures, whatever the number of processes. ``--quick`` takes the smaller runs of the tests.

The JSON::

    {"schema": "shadowmesh.sim/1", "took_seconds": 1.5, "ok": true,
     "rows": [{name, about, runs, share, limit, at_most, within, straw, median, most, ok}, ...]}

``share`` of the runs decided so; ``limit`` is the most it may be with ``at_most``, else the least; ``median`` and
``most`` are the pairs after which half and four fifths of the runs had, null where fewer did.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from rich.console import Console
from rich.progress import track
from sim.draws import Floats
from sim.outcome import Outcome
from sim.plan import Simulation
from sim.rows import ROWS
from sim.table import print_table

SCHEMA = "shadowmesh.sim/1"


def main() -> None:
    """Parse the command line, run, print and write; exits with 1 where a row is not as it has to be."""
    parser = argparse.ArgumentParser(description="How often the verdict is wrong, and how soon it is right.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    parser.add_argument("--quick", action="store_true", help="the few runs of the tests")
    parser.add_argument("--only", metavar="TEXT", default="", help="rows whose name contains this")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    if arguments.json is not None and not arguments.json.resolve().parent.is_dir():
        parser.error(f"--json: there is no directory {arguments.json.resolve().parent}")
    rows = [row for row in chosen(quick=arguments.quick) if arguments.only in row.name]
    if not rows:
        parser.error("--only: no row has that name")
    began = time.monotonic()
    running = simulate(rows, quick=arguments.quick, processes=arguments.processes)
    console = Console(width=100)
    outcomes = list(track(running, total=len(rows), console=console, description="rows", transient=True))
    took = time.monotonic() - began
    ok = all(outcome.ok for outcome in outcomes)
    print_table(outcomes, took, console)
    if arguments.json is not None:
        document = {
            "schema": SCHEMA,
            "took_seconds": round(took, 1),
            "ok": ok,
            "rows": [{**asdict(outcome), "ok": outcome.ok} for outcome in outcomes],
        }
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")
    sys.exit(not ok)


def chosen(*, quick: bool) -> list[Simulation]:
    """Return the rows of the full table, or those of the tests."""
    return [row.small() for row in ROWS if row.quick] if quick else list(ROWS)


def simulate(rows: Sequence[Simulation], *, quick: bool, processes: int) -> Iterator[Outcome]:
    """Run rows, spread over processes, and yield their outcomes in order."""
    with ProcessPoolExecutor(processes) as pool:
        waiting = [(row, [pool.submit(_chunk, row.name, quick, *chunk) for chunk in row.chunks()]) for row in rows]
        for row, chunks in waiting:
            yield row.outcome(np.concatenate([chunk.result() for chunk in chunks]))


def _chunk(name: str, quick: bool, number: int, runs: int) -> Floats:
    """Do a part of the row of that name: what goes between processes is names and numbers."""
    return next(row for row in chosen(quick=quick) if row.name == name).decided(number, runs)


if __name__ == "__main__":
    main()

"""
What the proxy costs as a hop: ``python tests/bench/proxy.py --json FILE [--quick]``.

A bare grpc.aio server reached directly, through ``shadowmesh proxy`` (one worker, no mesh), through Envoy as a plain
hop, and directly again (A/A), and for throughput through ``--workers 2``: interleaved, each live server and each hop in
a process of its own, started anew in every round. The live servers share a core, as do the proxy with one worker and
Envoy; of two workers each has a core, the second one of those of the load. Two proxies that share nothing but the live
server show what these cores allow to two workers.

The shapes: unary calls with 1 and 16 in flight, 64-message server streams with 4 in flight, and both with many
connections at saturation for the second worker. What is expected is about ``cpu_us_hop``, read from the kernel's clock
of the hop's processes, as a ratio to Envoy's of the same round; a ratio of throughput is void where something other
than the proxy was the limit, or other programs took its cores.

The JSON::

    {"schema": "shadowmesh.bench.proxy/1",
     "machine": {...}, "settings": {...}, "rows": [...], "expectations": [...], "notes": [...]}

A row is one mode (``direct``, ``direct_again``, ``proxy``, ``envoy``, ``proxy_2``, ``proxies_apart``) under one shape,
with the figures of ``overhead.py`` and ``hop_busy``, how many cores the hop used; one more, ``extraction``, has
``cpu_us_per_pair``: µs to read the fields and the outputs of a unary pair, which happens off the live path. An
expectation has ``value``, ``ci``, ``met``, ``certain`` and ``void``.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import figures, machine, payload
from bench.plan import Settings, Shape
from bench.proxy_expected import expectations
from bench.proxy_extraction import extraction
from bench.proxy_plan import FULL, MODES, NAMES, QUICK, SHAPES
from bench.proxy_table import print_report
from bench.rounds import measure_rounds
from bench.stage import Stage
from bench.steady import at_one_pace
from rich.console import Console
from rich.progress import Progress

SCHEMA = "shadowmesh.bench.proxy/1"


def run(settings: Settings, shapes: tuple[Shape, ...], progress: Progress) -> dict[str, Any]:
    """Measure everything and return the report."""
    began = time.monotonic()
    facts = machine.describe()
    modes = tuple(mode for mode in MODES if any(shape.takes(mode) for shape in shapes))
    fields = extraction(settings)
    with Stage(modes) as stage:
        stage.renew()
        ours = {mode.name: stage.cores.of_hop(mode.workers) for mode in modes if mode.hop}
        facts["pinning"] = {**stage.cores.by_process(), **ours}
        visits, done = measure_rounds(stage, shapes, settings, began, progress)
    visits = {shape: at_one_pace(windows) for shape, windows in visits.items()}
    rows = figures.rows(visits, modes, shapes, settings.seed)
    for row in rows:
        row["hop_busy"] = round(row["cpu_us_hop"] * row["rps"] / 1e6, 2)
    notes = figures.notes(rows, visits, modes)
    expected = expectations([*rows, fields], visits, shapes, settings.seed)
    return {
        "schema": SCHEMA,
        "machine": facts,
        "settings": {
            **asdict(settings),
            "rounds_done": done,
            "request_bytes": payload.REQUEST_BYTES,
            "reply_bytes": payload.REPLY_BYTES,
            "shapes": [{**asdict(shape), "messages": shape.messages} for shape in shapes],
            "took_seconds": round(time.monotonic() - began, 1),
        },
        "rows": [{**row, "mode": NAMES.get(row["mode"], row["mode"])} for row in [*rows, fields]],
        "expectations": expected,
        "notes": notes,
    }


def main() -> None:
    """Parse the command line, run, print and write."""
    parser = argparse.ArgumentParser(description="What the proxy costs as a hop.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    parser.add_argument("--quick", action="store_true", help="few short rounds, about two minutes")
    parser.add_argument("--rounds", type=int, help="how many rounds instead")
    parser.add_argument("--only", metavar="A,B,...", help="only these shapes of load")
    arguments = parser.parse_args()
    if arguments.json is not None and not arguments.json.resolve().parent.is_dir():
        parser.error(f"--json: there is no directory {arguments.json.resolve().parent}")
    wanted = {*(arguments.only or ",".join(shape.name for shape in SHAPES)).split(",")}
    if unknown := wanted - {shape.name for shape in SHAPES}:
        parser.error(f"--only: no such name: {', '.join(sorted(unknown))}")
    settings = QUICK if arguments.quick else FULL
    settings = replace(settings, rounds=arguments.rounds or settings.rounds)
    # Ended politely by a supervisor, it ends its processes as on Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with Progress(console=Console(stderr=True), transient=True) as progress:
            report = run(settings, tuple(shape for shape in SHAPES if shape.name in wanted), progress)
    except KeyboardInterrupt:
        sys.exit(130)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print_report(report, Console(width=120))


if __name__ == "__main__":
    main()

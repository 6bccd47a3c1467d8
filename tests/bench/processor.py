"""
What the processor bears on one core: ``python tests/bench/processor.py --json FILE [--quick]``.

Spans come in over OTLP/gRPC as real mirrored pairs, 512 of them in a request, with everything on: a journal that is
synced before each answer, pairing, prices, comparison, the SQLite store, metrics, and compare spans by the default
threshold, for which one pair in eight differs enough. The processor is the real command, pinned to a core; the sender
and the receiver of metrics and compare spans have others. Requests are prepared before and get new ids as they are
sent (``processor_requests.py``); ``load_busy`` says how much of a core the sender used.

A pair is done when a reader of the store sees it. The throughput is that of a closed loop of eight senders, who come
again after the time they were told when they are refused: all pairs, from the first request until the last is done,
what waited in queues included. The Collector is measured in the same rounds, in turns, on the same core and with the
same requests: ``groupbytrace`` and ``span_metrics``, without anything behind them and less the second that
``groupbytrace`` waits on purpose, as far as that was idle; it is done with a span when ``groupbytrace`` has handed it
on. It joins nothing, compares nothing and keeps nothing. Where the stack is not built (``make stack``) its figures are
absent.

Lags are from the end of a pair's later leg, which for an open loop is up to five milliseconds before its request was
due, until the pair was seen in the store, ten milliseconds of looking included. Each processor is a new one with an
empty store; only the rows ``growth`` go on with one that grows. ``others_on_core`` is how much of the core somebody
else used meanwhile: above some hundredths the figures per second say little, and those per CPU time are to be read.

The JSON::

    {"schema": "shadowmesh.bench.processor/1", "machine": {...}, "settings": {...},
     "pairs_per_s", "spans_per_s", "pairs_per_cpu_s", "collector_spans_per_s", "collector_spans_per_cpu_s", "ratio",
     "ratio_cpu", "p99_lag_s", "bytes_per_open_pair": the figures, medians over the rounds,
     "saturation": [one per subject and round], "load": [one per open loop], "growth": [one per size of the store],
     "parts_us_per_pair": {what a pair costs by part}, "expectations": [...], "notes": [...]}

``p99_lag_s`` is that of the open loop at 75 % of what the closed one reached. ``ratio`` is spans of the processor to
spans of the Collector, ``ratio_cpu`` the same by CPU time. ``bytes_per_open_pair`` is what the resident memory grew by
for each of many live legs whose shadows have not come. The parts are measured in this process, one after the other, by
CPU time; ``elsewhere`` is what the whole processor took beyond them: gRPC, the event loop, threads that take turns (and
find their caches cold), export.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import machine
from bench.processor_figures import expectations, headline, notes
from bench.processor_parts import parts
from bench.processor_plan import FULL, QUICK, Settings
from bench.processor_requests import PAIRS, attribute_counts
from bench.processor_stage import Stage
from bench.processor_table import print_report
from rich.console import Console
from rich.progress import Progress

SCHEMA = "shadowmesh.bench.processor/1"


def run(settings: Settings, directory: Path, progress: Progress) -> dict[str, Any]:
    """Measure everything and return the report."""
    began, task = time.monotonic(), progress.add_task("", total=settings.rounds + 4)

    def next_is(what: str) -> None:
        progress.update(task, description=what, advance=1)

    facts = machine.describe()
    with Stage(directory, settings) as stage:
        facts["pinning"] = stage.pinning()
        saturation = []
        for number in range(settings.rounds):
            next_is(f"saturation, round {number + 1}")
            saturation += stage.saturate(number)
        figures = headline(saturation)
        next_is("load")
        load = stage.under_load(figures["pairs_per_s"])
        next_is("growth")
        growth = stage.grow(figures["pairs_per_s"])
        next_is("open pairs")
        figures |= {"bytes_per_open_pair": stage.open_pairs(), "p99_lag_s": _lag(load)}
        request_bytes = stage.request_bytes
        next_is("parts")
        by_part = parts(settings, directory, stage.core)
    report = {
        "schema": SCHEMA,
        "machine": facts,
        "settings": {
            **asdict(settings),
            "pairs_per_request": PAIRS,
            "request_bytes": request_bytes,
            "attributes_per_span": attribute_counts(),
            "took_seconds": round(time.monotonic() - began, 1),
        },
        **figures,
        "saturation": saturation,
        "load": load,
        "growth": growth,
        "parts_us_per_pair": by_part | {"elsewhere": round(figures["cpu_us_per_pair"] - sum(by_part.values()), 1)},
    }
    return report | {"expectations": expectations(report), "notes": notes(report)}


def _lag(load: list[dict[str, Any]]) -> float:
    return float(next(row["p99_lag_s"] for row in load if row["share"] == 0.75))


def main() -> None:
    """Parse the command line, run, print and write."""
    parser = argparse.ArgumentParser(description="What the processor bears on one core.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    parser.add_argument("--quick", action="store_true", help="one short round and a small store, about a minute")
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()), help="whose disk is written to")
    arguments = parser.parse_args()
    if arguments.json is not None and not arguments.json.resolve().parent.is_dir():
        parser.error(f"--json: there is no directory {arguments.json.resolve().parent}")
    # The telemetry is what the benchmark says, not what the shell happens to say.
    for name in [name for name in os.environ if name.startswith(("OTEL_", "GRPC_"))]:
        del os.environ[name]
    # Ended politely by a supervisor, it ends its processes as on Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with (
            tempfile.TemporaryDirectory(prefix="shadowmesh-bench-", dir=arguments.directory) as place,
            Progress(console=Console(stderr=True), transient=True) as progress,
        ):
            report = run(QUICK if arguments.quick else FULL, Path(place), progress)
    except KeyboardInterrupt:
        sys.exit(130)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print_report(report, Console(width=100))


if __name__ == "__main__":
    main()

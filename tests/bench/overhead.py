"""
What mirroring costs a live server: ``python tests/bench/overhead.py --json FILE [--quick]``.

A bare grpc.aio server, the same with ShadowMesh in several modes, and the bare server again (A/A), each in a process
of its own, interleaved: in every round each shape of load is put on each mode, in an order shuffled by the seed. The
shadow backend, the OTLP receiver and the load generator are processes too; all on loopback, pinned as the output
says. Handlers answer at once with fixed bytes and no (de)serialisers, so the bare figures are grpc's own; the bytes
are messages of the reference API, so a mirrored call is decoded and recorded with all that a real one has.

A window covers all that its calls cause: it ends when every call has been answered and every span has arrived. CPU
is read from the kernel's clock of the live process (user and system, all threads, nanoseconds): the figure to trust.
The load generator speaks HTTP/2 by hand over plain sockets and takes about a quarter of a bare server's CPU.
``live_busy`` near 1 says that the server's core limited a closed loop, ``load_busy`` near 1 that the generator did;
with neither, it was the way between two processes (one call in flight) or the shadow on the generator's core.

The JSON::

    {"schema": "shadowmesh.bench.overhead/1",
     "machine": {cpu, cores, kernel, python, packages, pinning, ...},
     "settings": {seed, rounds, rounds_done, seconds, warm_up, sizes, modes, shapes with their rates, ...},
     "rows": [...], "expectations": [...], "notes": [...]}

A row is one mode under one shape: ``mode``, ``shape``, ``concurrency`` (null for an open loop, which has a
``rate``), ``rounds``, ``calls``, ``bad_calls``, ``shed`` by reason, ``faults`` by cause, and these figures, each the
median over the rounds with its 95 % bootstrap interval as ``<name>_ci: [low, high]``:

- ``rps`` calls answered per second, ``rps_ratio`` to the bare server in the same round;
- ``p50_us``, ``p99_us`` latency at the client, from when the call was due; ``p50_us_added``, ``p99_us_added``;
- ``cpu_us_per_call`` of the live process, ``cpu_us_added`` to the bare server in the same round, and
  ``cpu_us_added_per_message``; ``cpu_us_all`` of live, shadow and OTLP receiver together;
- ``mirrored_share`` shadow calls counted by the shadow itself, per live call; ``admitted_share`` the same by the
  funnel of the live process; ``exported_share`` calls whose spans all reached the receiver, shed ones included;
- ``live_busy``, ``load_busy`` share of a core that the live process and the generator used.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import time
from collections import defaultdict
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import figures, machine, payload
from bench.calibration import with_rates
from bench.plan import FULL, MODES, QUICK, REFERENCE, SHAPES, Mode, Settings, Shape
from bench.stage import Stage
from bench.table import print_report
from bench.window import measure
from rich.console import Console
from rich.progress import Progress

SCHEMA = "shadowmesh.bench.overhead/1"


def run(settings: Settings, modes: tuple[Mode, ...], shapes: tuple[Shape, ...], progress: Progress) -> dict[str, Any]:
    """Measure everything and return the report; shapes without a rate get one first."""
    began = time.monotonic()
    chance = random.Random(settings.seed)
    samples: figures.Samples = defaultdict(list)
    facts = machine.describe()
    task = progress.add_task("calibrating", total=settings.rounds * len(modes) * len(shapes))
    with Stage(modes) as stage:
        stage.renew()
        shapes = with_rates(shapes, stage, settings)
        facts["pinning"] = stage.pinning
        done = 0
        longest = 0.0
        while done < settings.rounds and time.monotonic() - began + longest < settings.most_seconds:
            round_began = time.monotonic()
            if done:
                stage.renew()
            for shape in chance.sample(shapes, len(shapes)):
                seed = chance.getrandbits(32)
                for mode in chance.sample(modes, len(modes)):
                    progress.update(task, description=f"round {done + 1}: {shape.name}, {mode.name}")
                    samples[mode.name, shape.name].append(measure(stage, mode, shape, settings, seed))
                    progress.advance(task)
            done += 1
            longest = max(longest, time.monotonic() - round_began)
    rows = figures.rows(samples, modes, shapes, settings.seed)
    return {
        "schema": SCHEMA,
        "machine": facts,
        "settings": {
            **asdict(settings),
            "rounds_done": done,
            "request_bytes": payload.REQUEST_BYTES,
            "reply_bytes": payload.REPLY_BYTES,
            "modes": [asdict(mode) for mode in modes],
            "shapes": [{**asdict(shape), "messages": shape.messages} for shape in shapes],
            "took_seconds": round(time.monotonic() - began, 1),
        },
        "rows": rows,
        "expectations": figures.expectations(rows),
        "notes": figures.notes(rows),
    }


def main() -> None:
    """Parse the command line, run, print and write."""
    parser = argparse.ArgumentParser(description="What mirroring costs a live server.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    parser.add_argument("--quick", action="store_true", help="few short rounds, about a minute")
    parser.add_argument("--rounds", type=int, help="how many rounds instead")
    parser.add_argument("--seed", type=int, help="of orders, arrivals and resampling")
    parser.add_argument("--only", metavar="SHAPE", choices=[shape.name for shape in SHAPES], help="one shape of load")
    parser.add_argument("--modes", metavar="A,B,...", help=f"only these modes, and {REFERENCE}")
    parser.add_argument("--rate", type=float, help="calls/s of the open loop named by --only, instead of calibrating")
    arguments = parser.parse_args()
    if arguments.json is not None and not arguments.json.resolve().parent.is_dir():
        parser.error(f"--json: there is no directory {arguments.json.resolve().parent}")
    if arguments.rate and arguments.only is None:
        parser.error("--rate needs --only: the shapes sustain different rates")
    settings = QUICK if arguments.quick else FULL
    changes = {name: value for name in ("rounds", "seed") if (value := getattr(arguments, name)) is not None}
    shapes = tuple(shape for shape in SHAPES if arguments.only in (None, shape.name))
    if arguments.rate:
        shapes = tuple(shape.at(arguments.rate) for shape in shapes)
    wanted = {REFERENCE, *arguments.modes.split(",")} if arguments.modes else {mode.name for mode in MODES}
    if unknown := wanted - {mode.name for mode in MODES}:
        parser.error(f"--modes: no such mode: {', '.join(sorted(unknown))}")
    modes = tuple(mode for mode in MODES if mode.name in wanted)
    # Ended politely by a supervisor, it ends its processes as on Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with Progress(console=Console(stderr=True), transient=True) as progress:
            report = run(replace(settings, **changes), modes, shapes, progress)
    except KeyboardInterrupt:
        sys.exit(130)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print_report(report, Console(width=100))


if __name__ == "__main__":
    main()

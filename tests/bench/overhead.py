"""
What mirroring costs a live server: ``python tests/bench/overhead.py --json FILE [--quick]``.

A bare grpc.aio server, the same with ShadowMesh in several modes, the same behind Envoy, and the bare server again
(A/A), each in a process of its own, interleaved: in every round all live servers are started anew, and each shape of
load is put on each mode in random order, with a window of the bare server after every other one. The shadow backends,
the OTLP receiver and the load generator are processes too; all on loopback, pinned as the output says: the live server
has a core of its own, and Envoy or the carrier's children have another, if there are four. Handlers answer at once
with fixed bytes and no (de)serialisers, so the bare figures are grpc's own; the bytes are messages of the reference
API, so a mirrored call is decoded and recorded with all that a real one has.

A window covers all that its calls cause: it ends when every call has been answered and every shadow call and span has
arrived. CPU is read from the kernel's clock of the process (user and system, all threads, nanoseconds): the figure to
trust. The load generator speaks HTTP/2 by hand over plain sockets and takes about a quarter of a bare server's CPU.
``live_busy`` near 1 says that the server's core limited a closed loop, ``load_busy`` near 1 that the generator did;
with neither, it was the way between two processes (one call in flight) or the shadow on the generator's cores.

Against the noise of the machine every window is compared with the bare windows next to it, the CPU is brought to one
pace of the core (``pace.py`` measures it, ``steady.py`` applies it), and the figures are midmeans over the rounds.

The shape ``model_20ms`` is a model that takes 20 ms, at 50 calls a second, with a shadow that is healthy, slow,
hanging or dead. A window has too few calls for a P99, so the calls of all windows are put together; and what stalls a
machine for milliseconds makes a P99, so each of these modes is measured at the same time as both bare servers, which
get their calls in turns with it. It is measured in every fourth round of a full run, or when named.

The shapes ``unary_policies`` and ``stream64_policies`` tell what policies cost: the plain experiment (``policies_off``)
and the same with every policy on (``policies_on``, see ``policies.py``). Every mode there, the bare server too, gets
calls with the metadata that the policies read. They are measured only when they or their modes are named.

The JSON::

    {"schema": "shadowmesh.bench.overhead/2",
     "machine": {cpu, cores, kernel, python, packages, pinning, ...},
     "settings": {seed, rounds, rounds_done, seconds, warm_up, sizes, modes, shapes with their rates, ...},
     "rows": [...], "expectations": [...], "notes": [...]}

A row is one mode under one shape: ``mode``, ``shape``, ``concurrency`` (null for an open loop, which has a
``rate``), ``rounds``, ``windows``, ``calls``, ``bad_calls``, ``shed`` by reason, ``faults`` by cause, and these
figures, each the midmean over the rounds with its 95 % bootstrap interval as ``<name>_ci: [low, high]``:

- ``rps`` calls answered per second, ``rps_ratio`` to the bare server's;
- ``p50_us``, ``p99_us`` latency at the client, from when the call was due; ``p50_us_added``, ``p99_us_added``;
- ``cpu_us_per_call`` of the live process, its children apart; ``cpu_us_hop`` of the Envoy before it; ``cpu_us_path``
  both, which is what a mode puts into the path of the live calls; ``cpu_us_all`` these with the live process's
  children, the shadows and the OTLP receiver;
- ``cpu_us_added`` of the live process, ``cpu_us_added_per_message``, ``cpu_us_path_added``, all to the bare server;
  ``cpu_ratio`` the path's CPU to the bare server's, for comparing machines; ``cpu_us_raw``, ``cpu_us_raw_added`` the
  path's as read, not brought to one pace;
- ``mirrored_share`` shadow calls counted by the shadow itself, per live call; ``admitted_share`` the same by the
  funnel of the live process; ``exported_share`` calls whose spans all reached the receiver, shed ones included;
- ``live_busy``, ``load_busy`` share of a core that the live process and the generator used; ``slowdown`` of the live
  core, 1 at its best;
- ``p50_added_percent``, ``p99_added_percent`` of ``model_20ms`` only, over the calls of all windows.

An expectation is a gate of ``expected.py`` with ``value``, ``ci``, ``met``, ``certain`` (the whole interval says so)
and ``void``: why it means nothing, or empty. With ``against`` it is about the difference to that mode.
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
from bench.calibration import with_rates
from bench.expected import expectations
from bench.modes import MODES, REFERENCE, Mode
from bench.plan import FULL, QUICK, SHAPES, Settings, Shape, choose
from bench.rounds import measure_rounds
from bench.settling import settle
from bench.stage import Stage
from bench.steady import at_one_pace
from bench.table import print_report
from rich.console import Console
from rich.progress import Progress

SCHEMA = "shadowmesh.bench.overhead/2"


def run(settings: Settings, modes: tuple[Mode, ...], shapes: tuple[Shape, ...], progress: Progress) -> dict[str, Any]:
    """Measure everything and return the report; shapes without a rate get one first."""
    began = time.monotonic()
    facts = machine.describe()
    with Stage(modes) as stage:
        stage.renew()
        settle(stage)
        shapes = with_rates(shapes, stage, settings)
        facts["pinning"] = stage.cores.by_process()
        visits, done = measure_rounds(stage, shapes, settings, began, progress)
    visits = {shape: at_one_pace(windows) for shape, windows in visits.items()}
    rows = figures.rows(visits, modes, shapes, settings.seed)
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
        "expectations": expectations(rows, visits, shapes, settings.seed),
        "notes": figures.notes(rows, visits),
    }


def main() -> None:
    """Parse the command line, run, print and write."""
    parser = argparse.ArgumentParser(description="What mirroring costs a live server.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    parser.add_argument("--quick", action="store_true", help="few short rounds, about a minute")
    parser.add_argument("--rounds", type=int, help="how many rounds instead")
    parser.add_argument("--seed", type=int, help="of orders, arrivals and resampling")
    parser.add_argument("--only", metavar="A,B,...", help="only these shapes of load")
    parser.add_argument("--modes", metavar="A,B,...", help=f"only these modes, and {REFERENCE}")
    parser.add_argument("--rate", type=float, help="calls/s of the one open loop named by --only, not calibrated")
    arguments = parser.parse_args()
    if arguments.json is not None and not arguments.json.resolve().parent.is_dir():
        parser.error(f"--json: there is no directory {arguments.json.resolve().parent}")
    settings = QUICK if arguments.quick else FULL
    changes = {name: value for name in ("rounds", "seed") if (value := getattr(arguments, name)) is not None}
    known = [mode.name for mode in MODES]
    usual = known if arguments.only else [mode.name for mode in MODES if not mode.policies]
    wanted = _names(parser, "--modes", arguments.modes or ",".join(usual), known)
    shapes, modes = choose(_shapes(parser, arguments), {*wanted})
    if not shapes:
        parser.error("none of these modes is measured under one of these shapes")
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


def _shapes(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> tuple[Shape, ...]:
    wanted = _names(parser, "--only", arguments.only, [shape.name for shape in SHAPES])
    if arguments.only:
        shapes = tuple(replace(shape, every=1) for shape in SHAPES if shape.name in wanted)
    else:
        shapes = tuple(shape for shape in SHAPES if not (arguments.quick and shape.pooled))
    if not arguments.rate:
        return shapes
    if len(shapes) > 1:
        parser.error("--rate needs --only with one shape: the shapes sustain different rates")
    return tuple(shape.at(arguments.rate) for shape in shapes)


def _names(parser: argparse.ArgumentParser, option: str, given: str | None, known: list[str]) -> list[str]:
    names = given.split(",") if given else known
    if unknown := set(names) - set(known):
        parser.error(f"{option}: no such name: {', '.join(sorted(unknown))}")
    return names


if __name__ == "__main__":
    main()

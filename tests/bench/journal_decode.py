"""
What the first steps of the processor cost, each on its own: journal, decoding, pairing.

    python tests/bench/journal_decode.py [--json FILE] [--quick] [--directory DIRECTORY]

The journal is written in DIRECTORY, whose disk decides what a sync costs (default: the one for temporary files). Spans
are real legs in the SDK's own encoding, 20 attributes on the live and 22 on the shadow one. Times of decoding and
pairing are the fastest of many short stretches, which is what they cost while nobody else uses the core.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.machine import describe
from support.legs import lasting, live, shadow, usage
from support.otlp import legs_request

from shadowmesh.model import Leg
from shadowmesh.processor.decode import SpanDecoder, Spans
from shadowmesh.processor.decode_view import otlp_view
from shadowmesh.processor.journal import Journal
from shadowmesh.processor.journal_format import Kind
from shadowmesh.processor.journal_settings import JournalSettings
from shadowmesh.processor.pairing import Pairing
from shadowmesh.telemetry.faults import Faults

SCHEMA = "shadowmesh.bench.journal_decode/1"
SPANS = 512
APPENDERS = 64
_STRETCH = 1000


def pairs(count: int, chance: Random) -> Iterator[tuple[Leg, Leg]]:
    """Yield the legs of pairs, with all that differs from one to the next."""
    for _ in range(count):
        pair_id, trace_id, inbound = f"{chance.getrandbits(128):032x}", chance.getrandbits(128), chance.getrandbits(63)

        def common(trace_id: int = trace_id, inbound: int = inbound) -> dict[str, Any]:
            return {
                "span_id": chance.getrandbits(63),
                "trace_id": trace_id,
                "parent_span_id": inbound,
                "streaming": True,
                "message_count": chance.randrange(1, 64),
                "time_to_first_chunk": chance.random(),
                "fields": usage(
                    chance.randrange(4000),
                    chance.randrange(500),
                    request_model="m-large",
                    response_model="m-large-1",
                    finish_reasons=("stop",),
                ),
                **lasting(chance.random()),
            }

        yield live(pair_id, **common()), shadow(pair_id, queue_time=chance.random(), **common())


def requests(count: int, spans: int = SPANS) -> list[bytes]:
    """Return trace requests of so many spans each, a pair beside the other."""
    chance = Random(7)
    return [legs_request(leg for pair in pairs(spans // 2, chance) for leg in pair) for _ in range(count)]


async def appending(directory: Path, sync: str, payload: bytes, count: int) -> dict[str, Any]:
    """Append from many tasks at once, as many requests arrive at once."""
    settings = JournalSettings(directory=str(directory), sync=sync, max_bytes=16 << 30)  # type: ignore[arg-type]
    journal = Journal(settings, faults=Faults())
    left, waits = iter(range(count)), list[float]()

    async def append() -> None:
        for _ in left:
            begun = time.perf_counter()
            position = await journal.append(Kind.TRACES, payload)
            waits.append(time.perf_counter() - begun)
            if journal.size > 1 << 30:
                await journal.truncate(position)

    begun, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(append() for _ in range(APPENDERS)))
    took, cpu = time.perf_counter() - begun, time.process_time() - cpu
    await journal.close()
    waits.sort()
    return {
        "sync": sync,
        "payload_bytes": len(payload),
        "appends_per_s": round(count / took),
        "mb_per_s": round(count * len(payload) / took / 1e6, 1),
        "cpu_us_per_append": round(cpu / count * 1e6, 1),
        "appends_per_write": round(count / journal.counts.writes, 1),
        "p50_ms": round(waits[count // 2] * 1e3, 2),
        "p99_ms": round(waits[count * 99 // 100] * 1e3, 2),
    }


def journal_figures(directory: Path, quick: bool) -> list[dict[str, Any]]:
    """Measure large and small requests with every way to sync."""
    (large,), (small,) = requests(1), requests(1, spans=2)
    rows = []
    for sync in ("always", "interval", "never"):
        for payload, count in ((large, 300 if quick else 3000), (small, 3000 if quick else 30_000)):
            with tempfile.TemporaryDirectory(dir=directory) as place:
                rows.append(asyncio.run(appending(Path(place), sync, payload, count)))
    return rows


def fastest(work: Callable[[], object], rounds: int) -> float:
    """Return the least CPU time of one call, seconds."""
    best = float("inf")
    for _ in range(rounds):
        begun = time.process_time()
        work()
        best = min(best, time.process_time() - begun)
    return best


def decoding_figures(quick: bool) -> dict[str, Any]:
    """Measure legs, and spans of somebody else, which are legs without a role."""
    decoder, rounds = SpanDecoder(otlp_view()), 20 if quick else 100
    ours = requests(8)
    # The name of the key changes and nothing else does.
    others = [request.replace(b"shadowmesh.role", b"somebody.s.role") for request in ours]
    return {
        "spans_per_request": SPANS,
        "request_bytes": len(ours[0]),
        "us_per_leg": round(min(_decoding(decoder, one, rounds) for one in ours), 2),
        "us_per_other_span": round(min(_decoding(decoder, one, rounds) for one in others), 2),
    }


def _decoding(decoder: SpanDecoder, request: bytes, rounds: int) -> float:
    return fastest(lambda: decoder.decode(request), rounds) / SPANS * 1e6


def pairing_figures(quick: bool) -> dict[str, Any]:
    """Measure the memory of open pairs, and what a leg costs beside ever more of them."""
    sizes = [1000, 10_000, 100_000] if quick else [1000, 10_000, 100_000, 1_000_000]
    return {
        "bytes_per_open_pair": _bytes_per_open_pair(10_000 if quick else 100_000),
        "us_per_leg": {str(size): _us_per_leg(size) for size in sizes},
    }


def _bytes_per_open_pair(count: int) -> int:
    """Return the memory of a live leg that waits for its shadow, as it came from the wire, and all that holds it."""
    decoder, buffer = SpanDecoder(otlp_view()), Pairing(count, 60.0, max_bytes=1 << 40)
    chance = Random(7)
    arrivals = [legs_request(one for one, _ in pairs(SPANS, chance)) for _ in range(count // SPANS)]
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for position, request in enumerate(arrivals):
        _add(buffer, decoder.decode(request), position)
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return round(taken / buffer.size)


def _add(buffer: Pairing, spans: Spans, position: int) -> None:
    for leg, size in zip(spans.legs, spans.sizes, strict=True):
        buffer.add(leg, 0.0, position=position, size=size)


def _us_per_leg(size: int) -> float:
    """Return what a leg costs while ``size`` pairs are open: one is begun, and any one of them completed, in turns."""
    buffer, chance = Pairing(2 * size + 1, 60.0, max_bytes=1 << 40), Random(7)
    waiting: list[str] = []
    number = 0

    def begin() -> Leg:
        nonlocal number
        number += 1
        waiting.append(f"{number:032x}")
        return live(waiting[-1], span_id=2 * number, trace_id=number)

    def complete() -> Leg:
        chosen = chance.randrange(len(waiting))
        waiting[chosen], waiting[-1] = waiting[-1], waiting[chosen]
        pair_id = waiting.pop()
        return shadow(pair_id, span_id=2 * int(pair_id, 16) + 1, trace_id=int(pair_id, 16))

    for _ in range(size):
        buffer.add(begin(), 0.0)
    best = float("inf")
    for _ in range(30):
        legs = [make() for _ in range(_STRETCH // 2) for make in (begin, complete)]
        begun = time.process_time()
        for leg in legs:
            buffer.add(leg, 0.0)
        best = min(best, time.process_time() - begun)
    return round(best / _STRETCH * 1e6, 2)


def main() -> None:
    """Parse the command line, measure, print and write."""
    parser = argparse.ArgumentParser(description="What the first steps of the processor cost.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter stretches")
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()), help="where the journal is")
    arguments = parser.parse_args()
    report = {
        "schema": SCHEMA,
        "machine": describe(),
        "journal": journal_figures(arguments.directory, arguments.quick),
        "decoding": decoding_figures(arguments.quick),
        "pairing": pairing_figures(arguments.quick),
    }
    text = json.dumps(report, indent=1, ensure_ascii=False)
    if arguments.json is not None:
        arguments.json.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()

"""A processor that is killed at any moment loses nothing it acknowledged, and counts nothing twice."""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
import yaml
from support.legs import live, shadow
from support.otlp import METRICS, TRACES, OtlpSink, call, counter_request, legs_request, sums

from shadowmesh import names
from shadowmesh.store.database import Database
from shadowmesh.store.reader import Reader

SENT = {
    names.EXPERIMENT_NAME: "summaries",
    names.TARGET_NAME: "candidate",
    names.MIRROR_DECISION: "mirrored",
}


@asynccontextmanager
async def processor(file: Path) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """Run one; leaving kills it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *("-m", "shadowmesh", "processor", "--config", str(file)), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), 30)).decode()
        yield line.split("OTLP/gRPC on ")[1].split(",")[0], process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def write(directory: Path, sink: OtlpSink, **changes: object) -> Path:
    file = directory / "shadowmesh.yaml"
    settings = {
        "data": str(directory / "data"),
        "listen": "127.0.0.1:0",
        "http_listen": None,
        "window": "1h",
        "metric_interval": "100ms",
        # Often enough that kills come before, in and behind one.
        "checkpoint_interval": "150ms",
        "compare_spans": "never",
        "export": [{"endpoint": sink.endpoint}],
    }
    file.write_text(yaml.safe_dump({"processor": settings | changes}))
    return file


@pytest.mark.parametrize("seed", range(3))
async def test_kill_9_at_any_point_loses_nothing_acknowledged_and_counts_nothing_twice(
    seed: int, tmp_path: Path
) -> None:
    chance = random.Random(seed)
    # Each half comes in a request of its own, in any order, and some are sent twice.
    halves = [leg for n in range(240) for leg in (live(f"p{n}"), shadow(f"p{n}"))]
    chance.shuffle(halves)
    requests = [legs_request(halves[at : at + 8]) for at in range(0, len(halves), 8)]
    requests += chance.sample(requests, 10)
    chance.shuffle(requests)
    left = list(enumerate(requests))
    async with OtlpSink() as sink:
        file = write(tmp_path, sink)
        for _ in range(5):
            async with processor(file) as (address, process):
                kill_at = asyncio.get_running_loop().time() + chance.uniform(0.05, 0.9)
                left = await send_until_killed(address, process, left, kill_at, chance)
        async with processor(file) as (address, process):
            for _, request in left:
                await call(address)(TRACES, request)
            await call(address)(METRICS, counter_request(names.METRIC_MIRROR_REQUESTS, [(SENT, 240)]))
            process.terminate()
            assert await asyncio.wait_for(process.wait(), 30) == 0
        assert sums(sink, names.METRIC_PAIRS, names.PAIR_OUTCOME) == {"matched": 240}
        durations = sink.metrics()[names.METRIC_CALL_DURATION].histogram.data_points
        assert [point.count for point in durations] == [240, 240]
        # One series, whatever has happened: its value never goes back under one start time.
        assert len(starts(sink)) == 1
        assert all(values == sorted(values) for values in starts(sink).values())
    assert rows(tmp_path / "data" / "pairs.db") == Counter(matched=240)


async def test_counters_of_interceptors_are_booked_once_over_a_kill(tmp_path: Path) -> None:
    async with OtlpSink() as sink:
        file = write(tmp_path, sink, status=f"unix:{tmp_path}/s")
        request = counter_request(names.METRIC_MIRROR_REQUESTS, [(SENT, 7)])
        for _ in range(2):
            async with processor(file) as (address, process):
                await call(address)(METRICS, request)
                await call(address)(TRACES, legs_request([live("a")]))
                process.kill()
                await process.wait()
        async with processor(file) as (address, process):
            await call(address)(TRACES, legs_request([shadow("a")]))
            answer = await status(tmp_path)
    assert '"mirrored": 7' in answer
    assert '"missing": 6' in answer or '"missing": 7' in answer


async def status(directory: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, *("-m", "shadowmesh", "status", f"unix:{directory}/s", "--json"), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    return output.decode()


async def send_until_killed(
    address: str,
    process: asyncio.subprocess.Process,
    left: list[tuple[int, bytes]],
    kill_at: float,
    chance: random.Random,
) -> list[tuple[int, bytes]]:
    """Send until the processor is killed; return what was not acknowledged, which its sender sends again."""
    loop = asyncio.get_running_loop()
    unsure = dict(left)
    async with grpc.aio.insecure_channel(address) as channel:

        async def send(number: int) -> None:
            try:
                export: Callable[..., Awaitable[bytes]] = channel.unary_unary(TRACES)
                await export(unsure[number], timeout=10)
                del unsure[number]
            except grpc.aio.AioRpcError:
                pass

        queue = list(unsure)
        while queue and loop.time() < kill_at:
            many = chance.randint(1, 4)
            await asyncio.gather(*(send(number) for number in queue[:many]))
            queue = queue[many:]
            # A few requests a window: kills must meet every part of the work.
            await asyncio.sleep(chance.uniform(0, 0.02))
        process.kill()
    return list(unsure.items())


def starts(sink: OtlpSink) -> dict[int, list[int]]:
    """Return the values that the count of matched pairs was exported with, by start time."""
    found: dict[int, list[int]] = {}
    for metric in sink.metric_history(names.METRIC_PAIRS):
        for point in metric.sum.data_points:
            found.setdefault(point.start_time_unix_nano, []).append(point.as_int)
    return found


def rows(path: Path) -> Counter[str]:
    database = Database(f"sqlite:///{path}", create=False)
    try:
        return Counter(str(pair.record.comparison.outcome) for pair in Reader(database).stored_by(1, after=0))
    finally:
        database.close()

"""``shadowmesh processor``, as a process."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import signal
import sys
from pathlib import Path
from socket import create_server

import pytest
import yaml
from support.legs import live, shadow
from support.otlp import TRACES, OtlpSink, call, legs_request, sums

from shadowmesh import names
from shadowmesh.cli.processor import collect_seldom


async def start(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "shadowmesh", "processor", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "COLUMNS": "200"},
    )


def config(path: Path, **processor: object) -> str:
    file = path / "shadowmesh.yaml"
    file.write_text(yaml.safe_dump({"processor": processor}))
    return str(file)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_says_where_it_listens_drains_on_a_signal_and_goes_on_at_the_next_start(
    tmp_path: Path, number: signal.Signals
) -> None:
    async with OtlpSink() as sink:
        file = config(tmp_path, listen="127.0.0.1:0", http_listen="127.0.0.1:0", export=[{"endpoint": sink.endpoint}])
        # The other half of what waits at the end comes after it.
        for legs, matched in (([live("p1"), shadow("p1"), live("p2")], 1), ([shadow("p2")], 2)):
            process = await start("--config", file)
            assert process.stdout is not None
            line = (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
            assert line.endswith(f"exports compare spans, metrics to {sink.endpoint}\n")
            address = line.split("OTLP/gRPC on ")[1].split(",")[0]
            await call(address)(TRACES, legs_request(legs))
            process.send_signal(number)
            output, errors = await asyncio.wait_for(process.communicate(), 20)
            assert (process.returncode, output, errors) == (0, b"", b"")
            assert sums(sink, names.METRIC_PAIRS, names.PAIR_OUTCOME) == {"matched": matched}


async def test_what_happens_meanwhile_is_a_line_with_its_time_on_standard_error(tmp_path: Path) -> None:
    socket = tmp_path / "status.sock"
    file = config(tmp_path, listen="127.0.0.1:0", http_listen=None, status=f"unix:{socket}")
    process = await start("--config", file)
    assert process.stderr is not None
    said = (await asyncio.wait_for(process.stderr.readline(), 20)).decode()
    process.terminate()
    await asyncio.wait_for(process.communicate(), 20)
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO ", said)
    assert said.endswith(f"shadowmesh[{process.pid}]: status: listening on unix:{socket}\n")


@pytest.mark.parametrize(
    ("processor", "code", "says"),
    [
        (
            {"listen": "127.0.0.1:24999", "export": [{"endpoint": "http://localhost:24999"}]},
            69,
            "this processor itself",
        ),
        ({"windw": "1s"}, 64, "processor.windw"),
        ({"data": "/proc/none"}, 69, "processor.data: /proc/none cannot be used: No such file or directory"),
    ],
)
async def test_what_cannot_start_says_why_in_one_line(
    tmp_path: Path, processor: dict[str, object], code: int, says: str
) -> None:
    process = await start("--config", config(tmp_path, **processor))
    output, errors = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, output) == (code, b"")
    assert says in errors.decode()
    assert errors.decode().count("\n") == 1


async def test_a_name_is_refused_where_somebody_listens_on_one_of_its_addresses(tmp_path: Path) -> None:
    with create_server(("127.0.0.1", 0)) as taken:
        listen = f"localhost:{taken.getsockname()[1]}"
        process = await start("--config", config(tmp_path, listen=listen, http_listen=None))
        output, errors = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, output) == (69, b"")
    assert f"shadowmesh: processor.listen: cannot listen on {listen}: is the port taken?\n" in errors.decode()


def test_legs_that_wait_are_not_walked_through_for_garbage_again_and_again() -> None:
    before = gc.get_threshold()
    try:
        collect_seldom()
        assert gc.get_freeze_count() > 0
        gc.collect()
        collections = gc.get_stats()[0]["collections"]
        waiting = [[number] for number in range(10_000)]
        # By default a few hundred of them would be looked at.
        assert gc.get_stats()[0]["collections"] == collections
        assert len(waiting) == 10_000
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)

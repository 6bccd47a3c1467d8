import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import grpc.aio
import pytest

from shadowmesh.cli.demo import traffic
from shadowmesh.cli.demo.api import stub
from shadowmesh.cli.demo.process import running
from shadowmesh.errors import StartError
from shadowmesh.schema.messages import GenerateRequest

MODULE = "shadowmesh.cli.demo.model_server"
QUICK = ("--order", "2", "--name", "pydoc-bigram", "--write-ms", "0")


async def test_it_prints_its_port_serves_and_ends_on_sigterm(tmp_path: Path) -> None:
    async with running("live model", MODULE, *QUICK, log=tmp_path / "log") as server:
        port = int(await server.first_line())
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            answer = await stub(channel, "Generate")(GenerateRequest(prompt="The name", max_tokens=5))
        assert answer.model == "pydoc-bigram"
        server.check()
        await server.end(grace=20)
        with pytest.raises(StartError, match="ended early with code 0"):
            server.check()


def test_it_ends_when_its_starter_is_gone() -> None:
    command = [sys.executable, "-m", MODULE, *QUICK]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        assert int(server.stdout.readline()) > 0
        server.stdin.close()
        assert server.wait(20) == 0


async def test_a_start_that_fails_is_told_in_one_line(tmp_path: Path) -> None:
    async with running("live model", MODULE, "--order", "none", log=tmp_path / "log") as server:
        with pytest.raises(StartError, match=r"^the live model did not start: it ended with code 2: .*order.*$"):
            await server.first_line()


async def test_no_process_outlives_the_block_that_started_it(tmp_path: Path) -> None:
    async with running("live model", MODULE, *QUICK, log=tmp_path / "log") as server:
        pass
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)


async def test_a_process_that_ends_badly_is_told(tmp_path: Path) -> None:
    async with running("live model", MODULE, *QUICK, log=tmp_path / "log") as server:
        await server.first_line()
        os.kill(server.pid, signal.SIGKILL)
        with pytest.raises(StartError, match="code -9"):
            await server.end(grace=20)


async def test_the_client_can_be_run_by_hand(tmp_path: Path) -> None:
    async with running("live model", MODULE, *QUICK, log=tmp_path / "log") as server:
        address = f"127.0.0.1:{await server.first_line()}"
        command = ("-m", "shadowmesh.cli.demo.traffic", "--address", address, "--seconds", "1", "--rate", "50")
        client = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=subprocess.PIPE)
        printed, _ = await asyncio.wait_for(client.communicate(), 30)
    assert client.returncode == 0
    assert [line.split()[:2] for line in printed.decode().splitlines()] == [
        ["Generate", "OK"],
        ["StreamGenerate", "OK"],
    ]


async def test_the_client_counts_what_failed_by_status() -> None:
    sent = await traffic.send("127.0.0.1:1", seconds=0.2, rate=50)
    assert sent.total > 0
    assert {status for _, status in sent.calls} == {"UNAVAILABLE"}


async def test_what_progress_raises_ends_the_traffic() -> None:
    def stop(elapsed: float, calls: int) -> None:
        raise StartError("enough")

    with pytest.raises(StartError, match="enough"):
        await traffic.send("127.0.0.1:1", seconds=60, rate=50, progress=stop)

"""``shadowmesh status``: asks a running interceptor or processor, and says in one line when nobody answers."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from support.legs import live, shadow
from support.meshes import config, target
from support.otlp import TRACES, call, legs_request
from support.resources import until
from support.scripts import script
from support.servers import interceptor_of, live_server
from support.shadows import answering

from shadowmesh.build import Mesh
from shadowmesh.cli.main import main
from shadowmesh.cli.status import ask
from shadowmesh.config import Config
from shadowmesh.errors import StartError
from shadowmesh.processor.service import Processor
from shadowmesh.processor.settings import ProcessorSettings
from shadowmesh.telemetry.local_address import parse
from shadowmesh.testing import Backend, SpanSink

AT_ANY_PORT = {"listen": "127.0.0.1:0", "http_listen": None}


def telling(settings: Config, address: str) -> Config:
    """Return the configuration with the status endpoint switched on."""
    return settings.model_copy(update={"telemetry": settings.telemetry.model_copy(update={"status": address})})


def ask_until(address: str, true: Callable[[dict[str, Any]], bool] = lambda answer: True) -> dict[str, Any]:
    """Return the first answer for which something is true; the endpoint's thread may only just be listening."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            answer: dict[str, Any] = ask(parse(address))
        except StartError:
            continue
        if true(answer):
            return answer
    raise AssertionError(f"{address} never said what was waited for")


@contextmanager
def mirrored_calls(kind: str, address: str, calls: int = 3) -> Iterator[Mesh]:
    """A mesh that has mirrored some calls of a live server and says so at ``address``."""
    with (
        Backend(answering) as backend,
        Mesh(telling(config(target(backend.address, max_in_flight=8)), address), span_exporter=SpanSink()) as mesh,
        live_server(kind, lambda: [interceptor_of(kind, mesh)]) as server,
    ):
        for _ in range(calls):
            assert server.call("unary_unary")(script(["send", "a prompt"]), timeout=20) == b"a prompt"
        assert until(lambda: sum(mesh.funnel().values()) == calls)
        yield mesh


@pytest.fixture(autouse=True)
def _own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For what a processor keeps."""
    monkeypatch.chdir(tmp_path)


@asynccontextmanager
async def running_processor(**changes: Any) -> AsyncIterator[Processor]:
    processor = Processor(ProcessorSettings.model_validate(AT_ANY_PORT | {"window": "1h"} | changes))
    await processor.start()
    try:
        yield processor
    finally:
        await processor.close()


def at_rest(calls: int) -> Callable[[dict[str, Any]], bool]:
    def true(answer: dict[str, Any]) -> bool:
        pairs = answer["buffers"]["pairs"]
        return bool(pairs and pairs["exported"] == calls)

    return true


@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_an_interceptor_says_what_it_has_done(kind: str, tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/s"
    with mirrored_calls(kind, address) as mesh:
        answer = ask_until(address, at_rest(3))
        assert (answer["schema"], answer["kind"], answer["pid"]) == ("shadowmesh.status/1", "interceptor", os.getpid())
        assert len(answer["instance_id"]) == 36
        (experiment,) = answer["experiments"]
        (candidate,) = experiment["targets"]
        assert candidate["funnel"] == {
            "eligible": 3, "mirrored": 3, "not_sampled": 0, "dropped": 0, "disabled": 0, "drop_reasons": {},
            "adds_up": True,
        }  # fmt: skip
        assert (candidate["admits"], candidate["in_flight"]) == (True, {"used": 0, "cap": 8})
        assert answer["buffers"]["queue"] == {"used": 0, "cap": 4096}
        assert answer["buffers"]["captured_bytes"] == {"used": 0, "cap": 67108864}
        kind_of_carrier = "thread" if kind == "sync" else "loop"
        assert (answer["carrier"]["kind"], answer["carrier"]["running"]) == (kind_of_carrier, True)
        assert "a prompt" not in json.dumps(answer)
        mesh.drain()
        assert mesh.status()["accepting"] is False
    assert not (tmp_path / "s").exists()
    assert mesh.status()["carrier"]["running"] is False


def test_of_the_carrier_process_the_workers_are_known(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/s"
    with Backend(answering) as backend:
        settings = telling(config(target(backend.address)), address)
        mirror = settings.mirror.model_copy(update={"carrier": "process"})
        with (
            Mesh(settings.model_copy(update={"mirror": mirror})) as mesh,
            live_server("sync", lambda: [mesh.interceptor()]) as server,
        ):
            server.call("unary_unary")(script(["send", "x"]), timeout=20)
            backend.wait_for_calls(1)
            answer = ask_until(address, lambda said: said["carrier"]["unconfirmed"] == 0)
            assert answer["carrier"] == {
                "kind": "process", "running": True, "workers": {"used": 1, "cap": 1}, "restarts": 0, "unconfirmed": 0,
            }  # fmt: skip
            # The exporter is the worker's: what it has done is not known here.
            assert answer["buffers"]["pairs"] is None
            assert answer["experiments"][0]["targets"][0]["funnel"]["mirrored"] == 1


def test_a_mesh_says_nothing_to_anybody_unless_it_is_told_to(tmp_path: Path) -> None:
    with Backend(answering) as backend, Mesh(config(target(backend.address)), span_exporter=SpanSink()) as mesh:
        with live_server("sync", lambda: [mesh.interceptor()]) as server:
            server.call("unary_unary")(script(["send", "x"]), timeout=20)
        assert "shadowmesh-status" not in {thread.name for thread in threading.enumerate()}
        assert until(lambda: mesh.status()["experiments"][0]["targets"][0]["funnel"]["mirrored"] == 1)


def test_nothing_listens_before_the_first_covered_call_and_the_status_can_be_had_all_the_same(tmp_path: Path) -> None:
    mesh = Mesh(telling(config(target("127.0.0.1:1")), f"unix:{tmp_path}/s"), span_exporter=SpanSink())
    assert (mesh.status()["carrier"]["kind"], mesh.status()["carrier"]["running"]) == (None, False)
    mesh.interceptor()
    assert mesh.status()["carrier"]["running"] is False
    assert (mesh.status()["instance_id"], mesh.status()["buffers"]["pairs"]) == (None, None)
    assert list(tmp_path.iterdir()) == []
    mesh.close()


def test_two_meshes_at_one_address_are_one_answer_and_both_mirror(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    address = f"unix:{tmp_path}/s"
    with mirrored_calls("sync", address) as first:
        ask_until(address)
        with mirrored_calls("sync", address) as second:
            assert until(lambda: second.status()["experiments"][0]["targets"][0]["funnel"]["mirrored"] == 3)
        # It has been closed, so its thread has had its say.
        assert caplog.text.count("going on without") == 1
        assert ask_until(address)["instance_id"] == first.status()["instance_id"]


FORKING = """
import os, sys
import shadowmesh
from shadowmesh.cli.status import ask
from shadowmesh.telemetry.local_address import parse

path = sys.argv[2]

def ask_own():
    for _ in range(10_000):
        try:
            return ask(parse(f"unix:{path}", pid=os.getpid()))
        except shadowmesh.StartError:
            pass

mesh = shadowmesh.Mesh.from_file(sys.argv[1])
mesh.interceptor()
mesh.start()
before = ask_own()
child = os.fork()
if child == 0:
    mesh.start()
    after = ask_own()
    fine = after["pid"] == os.getpid() and after["instance_id"] != before["instance_id"]
    mesh.close()
    os._exit(0 if fine else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert ask_own()["instance_id"] == before["instance_id"]
mesh.close()
print("both answered")
"""


def test_a_forked_process_answers_for_itself_at_its_own_path(tmp_path: Path) -> None:
    file = tmp_path / "mesh.yaml"
    path = f"{tmp_path}/s-{{pid}}"
    file.write_text(telling(config(target("127.0.0.1:1")), f"unix:{path}").model_dump_json())
    result = subprocess.run(
        [sys.executable, "-c", FORKING, str(file), path], capture_output=True, text=True, timeout=60, check=False
    )
    assert (result.returncode, result.stdout) == (0, "both answered\n"), result.stderr
    assert [left.name for left in tmp_path.iterdir()] == ["mesh.yaml"]


async def test_a_processor_says_what_came_and_what_became_of_it(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/s"
    export = {"endpoint": "http://user:hunter2@127.0.0.1:9", "headers": {"authorization": "Bearer hunter2"}}
    async with running_processor(status=address, export=[export]) as processor:
        send = call(f"127.0.0.1:{await processor.start()}")
        await send(TRACES, legs_request([live("p1"), shadow("p1"), live("p2")]))
        with pytest.raises(grpc.aio.AioRpcError):
            await send(TRACES, b"\xff")
        assert await processor.stored(20)
        answer = await asyncio.to_thread(ask, parse(address))
        assert (answer["schema"], answer["kind"], answer["service_name"]) == (
            "shadowmesh.status/1", "processor", "shadowmesh-processor",
        )  # fmt: skip
        assert answer["spans"] == {"accepted": 3, "ignored": 0, "duplicate": 0, "late": 0, "rejected": 0}
        unheard_of = {"failed": 0, "set_aside": 0, "overloaded": 0, "refused": 0}
        assert answer["requests"] == {"accepted": 1, "invalid": 1} | unheard_of
        assert answer["waiting"] == {"used": 1, "cap": 100_000}
        (experiment,) = answer["experiments"]
        (paired,) = experiment["targets"]
        assert (paired["outcomes"], paired["waiting"], paired["missing"]) == ({"matched": 1}, 1, -2)
        assert [queue["name"] for queue in answer["exports"][0]["queues"]] == ["spans", "metrics"]
        assert {error["cause"]: error["count"] for error in answer["errors"]}[
            "receiver: a request that is no OTLP, refused"
        ] == 1
        assert "hunter2" not in json.dumps(answer)
    assert not (tmp_path / "s").exists()


async def test_a_processor_whose_loop_is_busy_says_so_instead_of_keeping_the_client(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/s"
    async with running_processor(status=address):
        answered = threading.Event()

        def asking() -> None:
            try:
                ask(parse(address))
            finally:
                answered.set()

        asked = asyncio.get_running_loop().run_in_executor(None, asking)
        # Holds the loop, as a very large request would, until the client has been told something.
        assert answered.wait(20)
        with pytest.raises(StartError, match="503: service unavailable"):
            await asked


async def test_a_processor_refuses_to_start_at_a_status_address_that_is_taken(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/s"
    async with running_processor(status=address) as first:
        second = Processor(ProcessorSettings.model_validate(AT_ANY_PORT | {"status": address, "data": "another"}))
        with pytest.raises(StartError, match="another process does"):
            await second.start()
        await second.close()
        assert first.status_address == address


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "text"])
def test_the_command_prints_the_answer_and_is_0(
    as_json: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    address = f"unix:{tmp_path}/s"
    with mirrored_calls("sync", address):
        ask_until(address, at_rest(3))
        assert main(["status", address, *(["--json"] if as_json else [])]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    if as_json:
        assert json.loads(captured.out)["schema"] == "shadowmesh.status/1"
    else:
        assert "adds up: 3 eligible = 3 mirrored + 0 not sampled + 0 dropped" in captured.out
        assert max(map(len, captured.out.splitlines())) <= 80


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
def test_curl_can_ask_as_well(tmp_path: Path) -> None:
    with mirrored_calls("sync", f"unix:{tmp_path}/s"):
        ask_until(f"unix:{tmp_path}/s")
        result = subprocess.run(
            ["curl", "-sf", "--unix-socket", f"{tmp_path}/s", "http://localhost/status"],
            capture_output=True, timeout=20, check=True,
        )  # fmt: skip
    assert json.loads(result.stdout)["kind"] == "interceptor"


@contextmanager
def answering_with(answer: bytes) -> Iterator[str]:
    """A server that answers one question with these bytes, whatever was asked."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            client, _ = server.accept()
            with client:
                client.recv(4096)
                client.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        thread.join(20)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"", "no status endpoint"),
        (b"SSH-2.0-x\r\n", "no status endpoint"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "404: not found"),
        (b"HTTP/1.1 799 \x1b[2J\r\n\r\n", "799: for whatever reason"),
        (b"HTTP/1.1 200 OK\r\n\r\n<html>", "no JSON"),
        (b"HTTP/1.1 200 OK\r\n\r\n[]", "but with something else"),
        (b'HTTP/1.1 200 OK\r\n\r\n{"schema": "shadowmesh.status/2"}', "but with shadowmesh.status/2"),
    ],
)
def test_what_is_no_status_is_69_and_one_line(answer: bytes, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with answering_with(answer) as address:
        assert main(["status", address]) == 69
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert says in captured.err


@pytest.mark.parametrize("kind", ["no file", "nobody behind it", "port"])
def test_nobody_there_is_69_and_one_line(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    address = f"unix:{tmp_path}/s"
    with socket.socket(socket.AF_INET if kind == "port" else socket.AF_UNIX) as taken:
        if kind == "port":
            taken.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{taken.getsockname()[1]}"
        elif kind == "nobody behind it":
            taken.bind(f"{tmp_path}/s")
        assert main(["status", address]) == 69
    error = capsys.readouterr().err
    assert error.startswith(f"shadowmesh: nobody answers at {address}: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize("address", ["", "/run/a.sock", "192.0.2.1:80", "unix:"])
def test_what_is_no_local_address_is_64_and_one_line(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", address]) == 64
    assert capsys.readouterr().err.count("\n") == 1

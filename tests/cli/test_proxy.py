"""``shadowmesh proxy`` as a process: it listens, spreads over workers, ends when told to, and says what is wrong."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from shadowmesh.mirror.capture_files import read_calls
from shadowmesh.testing import Backend


@contextmanager
def proxy(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the command until the end of the block, and give its address."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "shadowmesh", "proxy", "--listen", "127.0.0.1:0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        found = re.match(r"shadowmesh proxy: (\S+) to ", said)
        assert found is not None, said + process.stderr.read() if process.stderr else said
        yield process, found[1]
    finally:
        process.kill()
        process.communicate()


def echo(call: Any, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
    yield next(requests)


def failing(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "shadowmesh", "proxy", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stderr.splitlines()[-1]


def ask(address: str, times: int = 1) -> list[bytes]:
    """Call over so many connections of their own."""
    answers = []
    for _ in range(times):
        with grpc.insecure_channel(address, options=(("grpc.use_local_subchannel_pool", 1),)) as channel:
            call: Any = channel.unary_unary("/acme.Models/Ask")
            answers.append(call(b"hello", timeout=20))
    return answers


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_forwards_until_it_is_told_to_end(number: signal.Signals) -> None:
    with Backend(echo) as backend, proxy("--live", backend.address) as (process, address):
        assert ask(address) == [b"hello"]
        process.send_signal(number)
        assert process.wait(30) == 0


def test_workers_share_the_port_and_end_with_whoever_has_started_them() -> None:
    with Backend(echo) as backend, proxy("--live", backend.address, "--workers", "2") as (process, address):
        children = children_of(process.pid)
        assert len(children) == 2
        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(lambda _: ask(address, 4) == [b"hello"] * 4, range(8))) == 8
        held = int(address.rpartition(":")[2])
        code, said = failing("--live", backend.address, "--listen", f"127.0.0.1:{held}")
        assert (code, "proxy.listen" in said) == (69, True)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert not any(alive(child) for child in children)


class Held:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.go_on = threading.Event()

    def __call__(self, call: Any, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        message = next(requests)
        self.go_on.wait(60)
        yield message


@pytest.mark.parametrize("workers", ["1", "2"])
def test_calls_in_flight_end_as_they_would_have_while_new_ones_are_taken_no_more(workers: str) -> None:
    held = Held()
    with Backend(held) as backend, proxy("--live", backend.address, "--workers", workers) as (process, address):
        with ExitStack() as stack:
            calls: list[Any] = []
            # One connection each, so that every worker has some.
            for _ in range(8):
                channel = stack.enter_context(
                    grpc.insecure_channel(address, options=(("grpc.use_local_subchannel_pool", 1),))
                )
                one: Any = channel.unary_unary("/acme.Models/Ask")
                calls.append(one.future(b"hello", timeout=60))
            backend.wait_for_calls(8)
            process.send_signal(signal.SIGTERM)
            while not refused(address):
                assert process.poll() is None
            assert not any(call.done() for call in calls)
            held.go_on.set()
            assert [call.result() for call in calls] == [b"hello"] * 8
        assert process.wait(60) == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_call_that_does_not_end_within_the_grace_is_ended(tmp_path: Path, workers: str) -> None:
    held = Held()
    file = tmp_path / "shadowmesh.yaml"
    file.write_text("proxy: {grace: 200ms}")
    with Backend(held) as backend:
        with proxy("--config", str(file), "--live", backend.address, "--workers", workers) as (process, address):
            with grpc.insecure_channel(address) as channel:
                one: Any = channel.unary_unary("/acme.Models/Ask")
                call = one.future(b"hello", timeout=60)
                backend.wait_for_calls(1)
                process.send_signal(signal.SIGTERM)
                # As any server of grpc's ends what it ends.
                assert call.code() in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)
            assert process.wait(60) == 0
            assert backend.calls[0].ended.wait(20)
        held.go_on.set()


def test_every_worker_captures_to_files_of_its_own_and_has_written_all_when_it_has_ended(tmp_path: Path) -> None:
    file, folder = tmp_path / "shadowmesh.yaml", tmp_path / "calls"
    file.write_text(f"capture: {{to: {folder}}}")
    with (
        Backend(echo) as backend,
        proxy("--config", str(file), "--live", backend.address, "--workers", "2") as (process, address),
    ):
        children = children_of(process.pid)
        assert ask(address, 32) == [b"hello"] * 32
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    written = {int(path.name.split("-")[2]): len(list(read_calls(path))) for path in folder.iterdir()}
    assert set(written) == set(children)
    assert sum(written.values()) == 32


def test_a_worker_that_falls_is_replaced_and_none_outlives_the_first_process() -> None:
    with Backend(echo) as backend, proxy("--live", backend.address, "--workers", "2") as (process, address):
        before = children_of(process.pid)
        os.kill(before[0], signal.SIGKILL)
        assert process.stderr is not None
        while "is replaced" not in process.stderr.readline():
            pass
        while len(after := [child for child in children_of(process.pid) if alive(child)]) < 2:
            assert process.poll() is None
        assert ask(address, 8) == [b"hello"] * 8
        process.kill()
        process.wait(30)
        for child in after:
            while alive(child):
                os.sched_yield()


def test_what_is_wrong_is_one_line_and_a_code(tmp_path: Path) -> None:
    assert failing() == (64, "shadowmesh: proxy.live: no server to forward to: say --live, or set it")
    code, said = failing("--live", "nonsense")
    assert (code, said.startswith("shadowmesh: Invalid value for --live: ")) == (64, True)
    file = tmp_path / "shadowmesh.yaml"
    file.write_text("proxy: {live: {address: '127.0.0.1:1'}, methods: {nonsense: unary_unary}}")
    code, said = failing("--config", str(file))
    assert (code, f"{file}: proxy.methods" in said) == (64, True)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_that_is_taken_is_one_line_and_a_code(workers: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        code, said = failing("--live", "127.0.0.1:1", "--listen", listen, "--workers", workers)
    assert code == 69
    assert said.startswith(f"shadowmesh: proxy.listen: cannot listen on {listen}: ")


def refused(address: str) -> bool:
    """Whether nobody listens there any more."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        # It was taken in, and the listener ended before anybody had a look at it.
        return False
    return False


def children_of(pid: int) -> list[int]:
    children: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        # A thread may end while we look.
        with suppress(OSError):
            children += map(int, (task / "children").read_text().split())
    return children


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

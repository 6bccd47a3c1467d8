"""The status endpoint answers whoever asks, and nobody can hold it up."""

from __future__ import annotations

import json
import logging
import os
import select
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from shadowmesh.errors import StartError
from shadowmesh.telemetry.faults import Faults
from shadowmesh.telemetry.local_address import parse
from shadowmesh.telemetry.status import Limits, StatusEndpoint

ASK = b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n"
PATIENT = Limits(seconds=60)
WELL = {"all": "well"}


def well() -> Mapping[str, object]:
    return WELL


@contextmanager
def serving(
    address: str, report: Callable[[], Mapping[str, object]] = well, *, limits: Limits = PATIENT
) -> Iterator[tuple[StatusEndpoint, Faults]]:
    faults = Faults()
    endpoint = StatusEndpoint(address, report, faults=faults, limits=limits)
    endpoint.open()
    endpoint.start()
    try:
        yield endpoint, faults
    finally:
        endpoint.close()


def connect(endpoint: StatusEndpoint) -> socket.socket:
    assert endpoint.address is not None
    address = parse(endpoint.address)
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    sock.settimeout(20)
    sock.connect(address.place)
    return sock


def rest(sock: socket.socket) -> bytes:
    """Return everything until the other side closes."""
    received = b""
    while data := sock.recv(65536):
        received += data
    return received


def ask(endpoint: StatusEndpoint, request: bytes = ASK) -> tuple[int, Any]:
    with connect(endpoint) as sock:
        sock.sendall(request)
        head, _, body = rest(sock).partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head.split(b"\r\n")
    return int(head.split(b" ")[1]), json.loads(body)


@pytest.fixture(params=["unix", "127.0.0.1:0"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"unix:{tmp_path}/s" if request.param == "unix" else str(request.param)


def test_a_question_is_answered_with_the_report_and_the_end_of_the_connection(address: str) -> None:
    with serving(address) as (endpoint, _):
        assert ask(endpoint) == (200, WELL)
        assert ask(endpoint, b"GET /status?now HTTP/1.0\n\n") == (200, WELL)


@pytest.mark.parametrize(
    ("request_bytes", "code"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"GET /status/more HTTP/1.1\r\n\r\n", 404),
        (b"POST /status HTTP/1.1\r\n\r\n", 405),
        (b"HEAD /status HTTP/1.1\r\n\r\n", 405),
        (b"status\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"\xff\x00\r\n\r\n", 400),
        (b"GET /status HTTP/2.0\r\n\r\n", 400),
        (b"GET /status HTTP/1.1\r\n" + b"x" * 4080, 431),
    ],
)
def test_anything_else_is_refused_with_a_code(tmp_path: Path, request_bytes: bytes, code: int) -> None:
    with serving(f"unix:{tmp_path}/s") as (endpoint, faults):
        answered, body = ask(endpoint, request_bytes)
        assert (answered, list(body)) == (code, ["error"])
        assert ask(endpoint)[0] == 200
        assert faults.totals() == {}


@pytest.mark.parametrize(
    ("host", "code"),
    [("localhost", 200), ("127.0.0.1:8080", 200), ("[::1]:1", 200), ("evil.example", 403), ("evil.example:80", 403)],
)
def test_a_page_that_lets_its_name_resolve_to_the_loopback_interface_is_refused(host: str, code: int) -> None:
    with serving("127.0.0.1:0") as (endpoint, _):
        assert ask(endpoint, f"GET /status HTTP/1.1\r\nAccept: */*\r\nHOST: {host}\r\n\r\n".encode())[0] == code


def test_a_question_may_come_in_pieces(address: str) -> None:
    with serving(address) as (endpoint, _), connect(endpoint) as sock:
        for byte in ASK:
            sock.sendall(bytes([byte]))
        assert rest(sock).startswith(b"HTTP/1.1 200")


def test_an_answer_larger_than_the_socket_takes_arrives_whole(address: str) -> None:
    large = {"text": "x" * 8_000_000}
    with serving(address, lambda: large) as (endpoint, _):
        assert ask(endpoint) == (200, large)


def test_silent_clients_keep_nobody_out_and_the_oldest_makes_room(address: str) -> None:
    with serving(address) as (endpoint, _):
        silent = [connect(endpoint) for _ in range(PATIENT.connections)]
        silent[1].sendall(ASK[:9])
        assert ask(endpoint) == (200, WELL)
        assert silent[0].recv(1) == b""
        for sock in silent:
            sock.close()


def test_a_client_that_never_finishes_its_question_is_let_go(address: str) -> None:
    with serving(address, limits=Limits(seconds=0.02)) as (endpoint, _), connect(endpoint) as sock:
        sock.sendall(ASK[:9])
        assert sock.recv(1) == b""


def test_a_client_that_does_not_read_its_answer_is_let_go(tmp_path: Path) -> None:
    large = {"text": "x" * 8_000_000}
    with (
        serving(f"unix:{tmp_path}/s", lambda: large, limits=Limits(seconds=0.05)) as (endpoint, _),
        connect(endpoint) as deaf,
    ):
        deaf.sendall(ASK)
        gone = select.poll()
        gone.register(deaf, select.POLLRDHUP)
        assert gone.poll(20_000)
        # What the socket held still arrives; the rest was not kept.
        assert 0 < len(rest(deaf)) < 8_000_000


def test_a_question_without_end_is_cut_off(address: str) -> None:
    with serving(address) as (endpoint, _):
        with connect(endpoint) as sock, suppress(ConnectionError):
            while True:
                sock.sendall(b"x" * 65536)
        assert ask(endpoint) == (200, WELL)


def test_a_client_that_leaves_is_forgotten(address: str) -> None:
    with serving(address) as (endpoint, faults):
        for request in (b"", ASK[:9], ASK):
            with connect(endpoint) as sock:
                sock.sendall(request)
        assert ask(endpoint) == (200, WELL)
        assert faults.totals() == {}


def test_a_report_that_fails_is_500_without_its_text_and_the_next_one_may_work(tmp_path: Path) -> None:
    reports = iter([ValueError("a prompt"), TimeoutError(), None])

    def report() -> Mapping[str, object]:
        error = next(reports)
        if error is not None:
            raise error
        return WELL

    with serving(f"unix:{tmp_path}/s", report) as (endpoint, faults):
        assert ask(endpoint) == (500, {"error": "Internal Server Error"})
        assert ask(endpoint) == (503, {"error": "Service Unavailable"})
        assert ask(endpoint) == (200, WELL)
        assert faults.totals() == {"status report: ValueError": 1}


def test_an_address_in_use_is_logged_once_and_that_is_all(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with serving(f"unix:{tmp_path}/s") as (first, _):
        second = StatusEndpoint(f"unix:{tmp_path}/s", well, faults=Faults())
        with pytest.raises(StartError, match="another process does"):
            second.open()
        second.start()
        second.close()
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        assert f"unix:{tmp_path}/s: another process does; going on without" in caplog.text
        assert ask(first) == (200, WELL)


def test_each_process_has_a_path_of_its_own(tmp_path: Path) -> None:
    with serving(f"unix:{tmp_path}/s-{{pid}}") as (endpoint, _):
        assert endpoint.address == f"unix:{tmp_path}/s-{os.getpid()}"


def test_it_ends_without_a_trace_more_than_once_and_before_it_began(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    never = StatusEndpoint(f"unix:{tmp_path}/s", well, faults=Faults())
    never.close()
    never.start()
    with serving(f"unix:{tmp_path}/s") as (endpoint, _):
        endpoint.start()
        with connect(endpoint) as open_still:
            endpoint.close()
            assert open_still.recv(1) == b""
        endpoint.close()
        assert endpoint.address is None
    # Those of other tests may still be ending.
    assert set(threading.enumerate()) <= before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # 3.12: this process has other threads, as many have
def test_a_forked_child_lets_go_and_the_parent_goes_on(tmp_path: Path) -> None:
    with serving(f"unix:{tmp_path}/s") as (endpoint, _):
        child = os.fork()
        if child == 0:
            endpoint.abandon()
            endpoint.close()
            os._exit(0 if endpoint.address is None else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert ask(endpoint) == (200, WELL)

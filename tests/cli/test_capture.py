"""``shadowmesh capture`` and ``shadowmesh protocol``: live calls to files, and what a map reads of them."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from support.acme import ASK, block, pieces, question, written

from shadowmesh.cli.main import main
from shadowmesh.mirror.capture_files import read_calls
from shadowmesh.testing import Backend

CHECK = block("shadowmesh protocol check").split()[1:]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return written(tmp_path)


@contextmanager
def capturing(live: str, *more: str) -> Iterator[tuple[str, list[str]]]:
    """Run the tour's command in front of a server; give its address, and when it has ended what it said."""
    tour = block("shadowmesh capture")
    words = tour.replace("127.0.0.1:50050", "127.0.0.1:0").replace("127.0.0.1:50051", live).split()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", *words, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    said: list[str] = []
    try:
        assert process.stdout is not None
        found = re.match(r"shadowmesh capture: (\S+) to ", process.stdout.readline())
        assert found is not None
        yield found[1], said
        process.send_signal(signal.SIGTERM)
        said += process.communicate(timeout=30)
        assert process.returncode == 0, said
    finally:
        process.kill()
        process.communicate()


def answering(folder: Path) -> Any:
    def answer(call: Any, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        next(requests)
        if call.method != ASK:
            context.abort(grpc.StatusCode.NOT_FOUND, "no")
        yield from pieces(folder, "good", "bye")

    return answer


def asked(address: str, folder: Path, **more: Any) -> list[bytes]:
    with grpc.insecure_channel(address) as channel:
        ask: Any = channel.unary_stream(ASK)
        return list(ask(question(folder), timeout=20, **more))


def test_calls_are_captured_whole_and_a_map_is_checked_against_them_as_in_the_tour(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metadata = (("x-tenant", "a"), ("x-other", "b"))
    with (
        Backend(answering(folder)) as backend,
        capturing(backend.address, "--metadata", "x-tenant") as (address, said),
    ):
        assert asked(address, folder, metadata=metadata) == pieces(folder, "good", "bye")
        with grpc.insecure_channel(address) as channel:
            other_method: Any = channel.unary_unary("/acme.Other/Ask")
            with pytest.raises(grpc.RpcError):
                other_method(b"x", timeout=20)
    assert "2 calls written to calls" in said[0]
    assert "WHOLE PROMPTS AND ANSWERS" in said[1]

    one, other = read_calls("calls")
    assert (one.method, one.metadata, one.complete, one.status) == (ASK, (("x-tenant", "a"),), True, "OK")
    assert [message.data for message in one.requests] == [question(folder)]
    assert [message.data for message in one.responses] == pieces(folder, "good", "bye")
    assert all(message.ns is not None and 0 < message.ns <= one.elapsed_ns for message in one.responses)
    assert one.deadline is not None
    assert 0 < one.deadline <= 20
    assert (other.method, other.status) == ("/acme.Other/Ask", "NOT_FOUND")

    assert main(CHECK) == 0
    assert capsys.readouterr().out.splitlines() == [
        "/acme.Models/Ask: 1 calls, 1 exchanges",
        "  request.model           model          1 of 1  m",
        "  request.max_tokens      most           1 of 1  7",
        "  parts.prompt            prompt         1 of 1  hello",
        "  response.text           text           1 of 1  goodbye",
        "  response.finish_reason  why_ended      1 of 1  length",
        "  response.input_tokens   usage.read     1 of 1  5",
        "  response.output_tokens  usage.written  1 of 1  2",
        "/acme.Other/Ask: 1 calls, which the map does not have",
    ]
    assert main([*CHECK, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["schema"], found["good"]) == ("shadowmesh.protocol-check/1", True)
    assert found["others"] == {"/acme.Other/Ask": 1}
    (method,) = found["methods"]
    assert (method["calls"], method["exchanges"], method["unreadable"], method["incomplete"]) == (1, 1, 0, 0)
    assert method["fields"][0] == {"field": "request.model", "path": "model", "found": 1, "example": "m"}


def test_what_the_configuration_says_holds_and_its_protocols_tell_the_shapes_of_their_methods(folder: Path) -> None:
    (folder / "mesh.yaml").write_text(
        block("protocols:") + "capture: {to: elsewhere, metadata: [x-tenant], rate: 1.0}\nproxy: {reflection: false}\n"
    )
    with (
        Backend(answering(folder)) as backend,
        capturing(backend.address, "--config", "mesh.yaml", "--to", "calls") as (address, _),
    ):
        assert asked(address, folder, metadata=(("x-tenant", "a"),))
    (call,) = read_calls("calls")
    assert (call.arity, call.metadata) == ("unary_stream", (("x-tenant", "a"),))
    assert not Path("elsewhere").exists()


def test_a_protocol_of_a_configuration_is_known_by_its_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "mesh.yaml").write_text(block("protocols:"))
    (folder / "one.jsonl").write_text('{"schema": "shadowmesh.capture/1"}\n')
    assert main(["protocol", "check", "acme", "--config", "mesh.yaml", "--sample", "one.jsonl"]) == 1
    assert capsys.readouterr().out == f"{ASK}: 0 calls, 0 exchanges\n"


def test_only_the_methods_that_are_asked_for_are_captured(folder: Path) -> None:
    with (
        Backend(answering(folder)) as backend,
        capturing(backend.address, "--method", "/acme.Other/*") as (address, _),
    ):
        assert asked(address, folder)
    assert not list(Path("calls").iterdir())


def test_messages_that_are_not_what_the_map_says_are_told_and_the_code_is_1(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        Backend(lambda call, requests, context: [b"\xff\xff"]) as backend,
        capturing(backend.address) as (address, _),
    ):
        assert asked(address, folder) == [b"\xff\xff"]
    assert main(CHECK) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "  1 messages ARE NOT what the map says they are" in lines
    assert "  response.text           text           found in none" in lines


def test_a_builtin_map_is_known_by_its_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "one.jsonl").write_text('{"schema": "shadowmesh.capture/1"}\n')
    assert main(["protocol", "check", "shadowmesh", "--sample", "one.jsonl"]) == 1
    assert "/shadowmesh.v1.Inference/Generate: 0 calls, 0 exchanges" in capsys.readouterr().out


def test_the_protocols_are_listed_with_those_of_a_configuration(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "mesh.yaml").write_text(block("protocols:"))
    assert main(["protocol", "list", "--config", "mesh.yaml", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert (listed["schema"], listed["protocols"]["acme"]) == ("shadowmesh.protocols/1", [ASK])
    assert main(["protocol", "list"]) == 0
    assert "shadowmesh" in capsys.readouterr().out.splitlines()


def test_where_nothing_is_mirrored_nothing_is_captured_and_that_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert main(["capture", "--to", "calls", "--live", "127.0.0.1:1", "--listen", "127.0.0.1:0"]) == 69
    assert "OTEL_SDK_DISABLED" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ("protocol", "check", "acme.yaml", "--sample", "gone"),
        (*CHECK[:-1], "gone"),
        (*CHECK[:-1], "acme.yaml"),
        (*CHECK, "--module", "acme_pb2"),
        ("protocol", "check", "gone.yaml", "--sample", "."),
        ("protocol", "check", "acme.yaml"),
        ("protocol", "list", "--config", "gone.yaml"),
        ("protocol",),
        ("capture", "--to", "calls"),
        ("capture", "--to", "calls", "--live", "127.0.0.1:1", "--max-age", "soon"),
        ("capture", "--to", "calls", "--live", "127.0.0.1:1", "--metadata", "authorization"),
        ("capture", "--to", "calls", "--live", "127.0.0.1:1", "--method", "oops"),
    ],
)
def test_wrong_usage_is_64_and_one_line(
    folder: Path, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 64
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("capture", "--to", "calls", "--live", "127.0.0.1:1", "--max-age", "soon"), "value for --max-age: "),
        (("capture", "--to", "calls", "--live", "127.0.0.1:1", "--method", "oops"), "value for --method: 'oops'"),
        (("protocol", "check", "vlm", "--sample", "."), "vlm: no such file, and no protocol of that name"),
        (("protocol", "check", "acme.yaml", "--descriptors", "gone", "--sample", "."), "value for --descriptors: gone"),
        (("protocol", "check", "acme.yaml", "--sample", "."), "acme.yaml: acme: no descriptors for /acme.Models/Ask: "),
        (("protocol", "check", "wrong.yaml", "--sample", "."), "shadowmesh: wrong.yaml: versoin: unknown key, perhaps"),
    ],
)
def test_what_is_wrong_is_named_as_it_was_given(
    folder: Path, arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "wrong.yaml").write_text((folder / "acme.yaml").read_text().replace("version", "versoin"))
    assert main(arguments) == 64
    assert said in capsys.readouterr().err

"""31b. Secrets over every carrier: a different one is planted in each place, and each is sought wherever we speak."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from operator import itemgetter
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from support.calls import SCENARIOS, see
from support.experiments import GENERATE
from support.meshes import running_mesh, target
from support.models import Model, RefusalError
from support.resources import children, until
from support.servers import interceptor_of, live_server
from support.shadows import answering
from support.wire import request, response
from support.worlds import WORLDS, world

from shadowmesh import config
from shadowmesh.build import Mesh
from shadowmesh.cli.main import main
from shadowmesh.errors import ConfigError
from shadowmesh.schema import messages
from shadowmesh.testing import Backend, ReceivedCall, SpanSink

METADATA = ("authorization", "cookie", "x-user-token", "x-user-token-bin", "x-tenant-name", "x-not-listed",
            "x-conversation", "idempotency-key", "baggage")  # fmt: skip
"""Keys of calls: credentials, the tenant, a binary one, and those that policies read and nobody passes on."""
MESSAGES = ("prompt", "tool-result", "tool-arguments", "live-answer", "live-refusal", "shadow-answer", "shadow-refusal")
OWN = ("own-file", "own-environment")
"""The target's credentials."""
PLACES = (*METADATA, *MESSAGES, *OWN)
HARMLESS: tuple[tuple[str, str | bytes], ...] = (("x-lang", "de"), ("x-blob-bin", b"\x00\xff\x80"), ("x-lang", "en"))
VARIABLE = "CANDIDATE_KEY"


def secret(place: str) -> str:
    return f"hunter2-{place}-{sum(place.encode())}"


def found(text: str) -> set[str]:
    """Return the places whose secrets are in a text."""
    return {place for place in PLACES if secret(place) in text}


def inbound(call: int) -> tuple[tuple[str, str | bytes], ...]:
    """Return the metadata of a call; attempts must not share a key."""
    values: dict[str, str | bytes] = {key: secret(key) for key in METADATA}
    values["x-user-token-bin"] = secret("x-user-token-bin").encode()
    values["idempotency-key"] = f"{secret('idempotency-key')}-{call}"
    return (*values.items(), *HARMLESS)


def text_of(address: str, directory: Path) -> str:
    """Return a configuration with every policy that reads, keeps or sends something."""
    candidate = {
        "name": "candidate",
        "address": address,
        "rate": 1.0,
        "metadata": ["x-u*", "x-t*", "x-lang", "x-blob-bin"],
        "credentials": [
            {"key": "authorization", "file": str(directory / "token"), "prefix": "Bearer "},
            {"key": "x-api-key", "env": VARIABLE},
        ],
        "allow_unsafe": [GENERATE],
        "stubs": {"search": "nothing found"},
        "transform": {"model": "m-2"},
        "budget": {"tokens": 1_000_000, "unpriced": {"per_call": 1.0, "tokens": 10}},
    }
    experiment = {
        "name": "x",
        "methods": [GENERATE],
        "when": {"metadata": [{"key": "x-not-listed", "present": True}]},
        "sampling": {"by": {"metadata": "x-conversation"}},
        "retries": {"keys": ["idempotency-key"]},
        "never": ["x-tenant-*"],
        "output_digest": True,
        "targets": [candidate],
    }
    mirror = {"budget": {"state": str(directory / "state")}, "harm_guard": {"enabled": False}}
    return yaml.safe_dump({"experiments": [experiment], "mirror": mirror})


def asked() -> tuple[bytes, ...]:
    """Return requests: a prompt, conversations with tools, and bytes that are no request."""
    tool = messages.Tool(name="search", parameters_json_schema=secret("tool-arguments"))
    called = messages.ToolCall(id="1", name="search", arguments_json=secret("tool-arguments"))
    turns = [
        messages.Message(role=messages.ROLE_ASSISTANT, tool_calls=[called]),
        messages.Message(role=messages.ROLE_TOOL, tool_call_id="1", content=secret("tool-result")),
    ]
    conversation = request(messages=messages.Messages(messages=turns), tools=[tool])
    return request(prompt=secret("prompt")), conversation, conversation, b"\xff" + secret("prompt").encode()


def played(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterable[bytes]:
    """Answer a prompt, and refuse a conversation."""
    if not any(secret("prompt").encode() in data for data in requests):
        context.abort(grpc.StatusCode.INTERNAL, secret("shadow-refusal"))
    return [response(secret("shadow-answer"))]


def answered(data: bytes) -> bytes:
    if secret("tool-result").encode() in data:
        raise RefusalError(grpc.StatusCode.INTERNAL, secret("live-refusal"))
    return response(secret("live-answer"))


def settled(target: dict[str, Any]) -> bool:
    # None is there before the engine has said what is left of it.
    return target["admits"] and any(tokens["left"] < tokens["limit"] for tokens in target["limits"])


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the process works and keeps its files, with the target's credentials beside it."""
    (tmp_path / "token").write_text(secret("own-file") + "\n")
    monkeypatch.setenv(VARIABLE, secret("own-environment"))
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return tmp_path


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_no_secret_is_found_but_where_it_belongs(
    kind: str, carrier: str, directory: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    before = set(children())
    with ExitStack() as stack:
        stack.enter_context(caplog.at_level(logging.DEBUG))
        backend = stack.enter_context(Backend(played))
        text = text_of(backend.address, directory)
        mesh, sink = stack.enter_context(running_mesh(config.parse(text), carrier))
        server = stack.enter_context(
            live_server(kind, lambda: [interceptor_of(kind, mesh)], handler=Model(kind, answered))
        )
        call: Any = server.channel.unary_unary(GENERATE)
        for number, data in enumerate(asked()):
            with suppress(grpc.RpcError):
                call(data, metadata=inbound(number), timeout=20)
            sink.wait_for_legs(2 * (number + 1))
            # Nobody knows yet what one costs, so the budget lets nothing through until the first is settled.
            assert until(lambda: settled(mesh.status()["experiments"][0]["targets"][0]))
        assert until(lambda: any((directory / "state").glob("*.json")))
        workers = set(children()) - before
        assert len(workers) == (carrier == "process")
        for worker in workers:
            started = Path(f"/proc/{worker}/environ").read_text()
            assert found(started) == {"own-environment"}, "it has the environment of its parent"
            assert {entry.partition("=")[0] for entry in started.split("\0") if entry} <= {*os.environ, "PYTHONPATH"}
            assert found(Path(f"/proc/{worker}/cmdline").read_text()) == set()
        said = [json.dumps(mesh.status()), repr(mesh.faults()), repr(mesh.__dict__)]
        mesh.drain(10)
    (directory / "shadowmesh.yaml").write_text(text)
    for arguments in (("--explain", "--rate", "5"), ("--json",), ()):
        assert main(("check-config", *arguments, str(directory / "shadowmesh.yaml"))) == 0
    said += [span.to_json() for span in sink.spans]
    said += [caplog.text, *capfd.readouterr()]
    files = [file for file in directory.rglob("*") if file.name != "token" and file.is_file()]
    assert any(file.parent.name == "state" for file in files)
    said += [file.read_bytes().decode("latin-1") for file in files]
    assert [found(one) for one in said] == [set()] * len(said)
    # What a shadow is called with, and what it is asked: the request, without what a tool has once found.
    assert len(backend.calls) == 3
    for shadow in backend.calls:
        sent = [entry for entry in shadow.metadata if not entry[0].startswith(("x-shadowmesh-", "trace", "user-agent"))]
        own = [("authorization", f"Bearer {secret('own-file')}"), ("x-api-key", secret("own-environment"))]
        assert sorted(sent, key=itemgetter(0)) == sorted([*own, *HARMLESS], key=itemgetter(0))
        body = b"".join(shadow.requests).decode("latin-1")
        assert found(body) == {"tool-arguments" if "nothing found" in body else "prompt"}


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_a_credential_that_is_renewed_is_the_one_that_later_calls_carry(
    kind: str, carrier: str, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("first")
    own = [{"key": "authorization", "file": str(token), "prefix": "Bearer "}]
    with Backend(answering) as backend, world(kind, carrier, target(backend.address, credentials=own)) as it:

        def carried() -> str:
            calls = len(backend.calls)
            see(it.server, "unary_unary", SCENARIOS["answers"])
            return str(dict(backend.wait_for_calls(calls + 1)[-1].metadata)["authorization"])

        assert carried() == "Bearer first"
        beside = tmp_path / "new"
        beside.write_text("second")
        beside.replace(token)
        assert until(lambda: carried() == "Bearer second")
        token.unlink()
        assert carried() == "Bearer second"


def test_no_secret_is_in_the_metrics(directory: Path) -> None:
    reader = InMemoryMetricReader()
    with Backend(played) as backend:
        settings = config.parse(text_of(backend.address, directory))
        with Mesh(settings, span_exporter=SpanSink(), metric_reader=reader) as mesh:
            with live_server("sync", lambda: [mesh.interceptor()], handler=Model("sync", answered)) as server:
                call: Any = server.channel.unary_unary(GENERATE)
                call(asked()[0], metadata=inbound(0), timeout=20)
                backend.wait_for_calls(1)
            data = reader.get_metrics_data()
    assert data is not None
    assert "shadowmesh.mirror.requests" in data.to_json()
    assert found(data.to_json()) == set()


SECRET = "hunter2"
WRONG: list[dict[str, Any]] = [
    {"credentials": [{"key": "a", "value": SECRET}]},
    {"credentials": [{"key": "a", "env": f"{SECRET} {SECRET}"}]},
    {"credentials": SECRET},
    {"tls": {"certificate": "c", "key": f"-----BEGIN PRIVATE KEY-----{SECRET}" + "A" * 2000}},
    {"tls": {"roots": [SECRET]}},
    {"address": f"grpc://user:{SECRET}@host:1"},
    {"address": f"user:{SECRET}@host"},
    {"credentials": [{"key": "a", "file": f"/nowhere/{SECRET}"}]},
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: next(iter(wrong)))
def test_a_file_with_a_secret_in_the_wrong_place_is_refused_without_repeating_it(
    wrong: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    def text(**changes: Any) -> str:
        one = {"name": "candidate", "address": "127.0.0.1:1", **changes}
        content = {"experiments": [{"name": "x", "methods": ["*"], "targets": [one]}], "reload": {"every": "100ms"}}
        return yaml.safe_dump(content)

    file = tmp_path / "shadowmesh.yaml"
    file.write_text(text(**wrong))
    with pytest.raises(ConfigError) as caught:
        Mesh.from_file(file)
    assert main(("check-config", str(file))) == 64
    file.write_text(text())
    with caplog.at_level(logging.DEBUG), Mesh.from_file(file, span_exporter=SpanSink()) as mesh:
        mesh.interceptor()
        file.write_text(text(**wrong))
        assert until(lambda: bool(mesh.status()["config_file"]["refused"]))
        said = [str(caught.value), *capsys.readouterr(), caplog.text, json.dumps(mesh.status()), repr(mesh.faults())]
    assert [SECRET in one for one in said] == [False] * len(said)
    assert "experiments[0].targets[0]." in said[0]

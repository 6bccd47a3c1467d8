"""31. Secrets: planted in metadata, messages and credentials, they are found in no span, log, status, frame or file."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from operator import itemgetter
from pathlib import Path
from typing import Any

import grpc
import pytest
from support.experiments import GENERATE
from support.meshes import config, running_mesh, target
from support.servers import live_server
from support.wire import request, response

from shadowmesh.mirror.assembly import WorkerSetup
from shadowmesh.mirror.engine import EXPERIMENTS
from shadowmesh.schema import messages
from shadowmesh.telemetry.settings import TelemetrySettings
from shadowmesh.testing import Backend, ReceivedCall, SpanSink

SECRET = "hunter2"
INBOUND: tuple[tuple[str, str | bytes], ...] = (
    ("authorization", f"Bearer {SECRET}-a"),
    ("cookie", f"session={SECRET}-b"),
    ("x-user-token", f"{SECRET}-c"),
    ("x-user-token-bin", f"{SECRET}-d".encode()),
    ("x-tenant-name", f"{SECRET}-e"),
    ("x-not-listed", f"{SECRET}-f"),
    ("y-api-key", f"{SECRET}-g"),
)
HARMLESS: tuple[tuple[str, str | bytes], ...] = (("x-lang", "de"), ("x-blob-bin", b"\x00\xff\x80"), ("x-lang", "en"))
LISTED = ["x-u*", "x-t*", "x-lang", "x-blob-bin", "y-*"]
PAGE = messages.Message(role=messages.ROLE_TOOL, tool_call_id="1", content=f"the page says {SECRET}-h")
CALLED = messages.Message(
    role=messages.ROLE_ASSISTANT, tool_calls=[messages.ToolCall(id="1", name="search", arguments_json="{}")]
)
ASKED = request(messages=messages.Messages(messages=[CALLED, PAGE]), tools=[messages.Tool(name="search")])


class Model(grpc.GenericRpcHandler):
    """A live server that fails every other call, and says a secret either way."""

    def __init__(self) -> None:
        self.calls = 0

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return grpc.unary_unary_rpc_method_handler(self._generate)

    def _generate(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        self.calls += 1
        if self.calls % 2:
            return response(f"the answer is {SECRET}-i")
        context.abort(grpc.StatusCode.INTERNAL, f"failed over {SECRET}-j")
        raise AssertionError


def answer(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterable[bytes]:
    list(requests)
    if len(call.requests[0]) % 2:
        context.abort(grpc.StatusCode.INTERNAL, f"shadow failed over {SECRET}-k")
    return [response(f"the shadow's answer is {SECRET}-l")]


def everything_said(sink: SpanSink) -> str:
    return "\n".join(span.to_json() for span in sink.spans)


@pytest.mark.parametrize("carrier", ["thread", "wire", "process"])
def test_no_secret_leaves_by_any_way_but_the_one_it_was_meant_for(
    carrier: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    (tmp_path / "token").write_text(f"{SECRET}-own\n")
    monkeypatch.setenv("CANDIDATE_KEY", f"{SECRET}-env")
    own = [
        {"key": "authorization", "file": str(tmp_path / "token"), "prefix": "Bearer "},
        {"key": "x-api-key", "env": "CANDIDATE_KEY"},
    ]
    with ExitStack() as stack:
        stack.enter_context(caplog.at_level(logging.DEBUG))
        backend = stack.enter_context(Backend(answer))
        settings = config(
            target(
                backend.address,
                metadata=LISTED,
                credentials=own,
                allow_unsafe=[GENERATE],
                stubs={"search": "nothing found"},
                transform={"model": "m-2"},
            ),
            target(
                backend.address, "gone", metadata=LISTED, credentials=[{"key": "a", "file": str(tmp_path / "none")}]
            ),
            never=["x-tenant-*"],
            output_digest=True,
        )
        # It is there when the mesh is built, and gone when its target is called.
        (tmp_path / "none").write_text(f"{SECRET}-gone")
        mesh, sink = stack.enter_context(running_mesh(settings, carrier))
        (tmp_path / "none").unlink()
        server = stack.enter_context(live_server("sync", lambda: [mesh.interceptor()], handler=Model()))
        call: Any = server.channel.unary_unary(GENERATE)
        for data in (ASKED, ASKED + b"\xf8\x7d\x05", request(prompt=f"tell {SECRET}-m"), b"\xff" + SECRET.encode()):
            with suppress(grpc.RpcError):
                call(data, metadata=INBOUND + HARMLESS, timeout=20)
        sink.wait_for_legs(12)
        status = repr(mesh.status())
        faults = repr(mesh.faults())
        mesh.drain(10)
    shadows = backend.calls
    assert len(shadows) == 3
    for shadow in shadows:
        sent = [entry for entry in shadow.metadata if not entry[0].startswith(("x-shadowmesh-", "trace", "user-agent"))]
        # gRPC keeps the order within a key only.
        assert sorted(sent, key=itemgetter(0)) == [
            ("authorization", f"Bearer {SECRET}-own"),
            ("x-api-key", f"{SECRET}-env"),
            *sorted(HARMLESS, key=itemgetter(0)),
        ]
    # The prompt is what a shadow is for; what a tool once found is not.
    bodies = sorted((data for shadow in shadows for data in shadow.requests), key=lambda data: b"nothing found" in data)
    assert [f"{SECRET}-m".encode() in data for data in bodies] == [True, False, False]
    assert [SECRET.encode() in data for data in bodies] == [True, False, False]
    for said in (everything_said(sink), caplog.text, *capfd.readouterr(), status, faults):
        assert SECRET not in said
    setup = WorkerSetup.of(settings.mirror, TelemetrySettings(), sink.spans[0].resource).model_dump_json()
    for frame in (EXPERIMENTS.dump_json(settings.experiments).decode(), setup, repr(settings), repr(mesh.__dict__)):
        assert SECRET not in frame
    assert [file.name for file in here.rglob("*") if file.is_file() and SECRET.encode() in file.read_bytes()] == []

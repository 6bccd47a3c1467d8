"""A protocol of a user's own: the tour of ``shadowmesh.protocols`` does what it says, over every way to describe it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from support.acme import ASK, CONFIG, MAP, pieces, protoc, question, written
from support.meshes import running_mesh
from support.servers import interceptor_of, live_server

from shadowmesh import config as configuration
from shadowmesh.build import Mesh
from shadowmesh.catalog.builtin import builtin
from shadowmesh.config import Config
from shadowmesh.errors import ConfigError
from shadowmesh.model import Fields
from shadowmesh.names import Role
from shadowmesh.schema.descriptors import message_class
from shadowmesh.testing import Backend

READ = Fields(
    operation="text_completion",
    request_model="m",
    max_tokens=7,
    input_tokens=5,
    output_tokens=2,
    usage_source="response",
    finish_reasons=("length",),
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return written(tmp_path)


class Models(grpc.GenericRpcHandler):
    """The live server."""

    def __init__(self, answer: list[bytes]) -> None:
        self._answer = answer

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return grpc.unary_stream_rpc_method_handler(lambda request, context: iter(self._answer))


def with_target(address: str) -> Config:
    return configuration.parse(CONFIG.replace("127.0.0.1:50052", address))


@pytest.mark.parametrize("carrier", ["thread", "process"])
def test_a_pair_in_the_tours_protocol_has_its_fields_in_this_process_and_in_a_worker(
    folder: Path, carrier: str
) -> None:
    with Backend(lambda call, requests, context: pieces(folder, "by", "e")) as backend:
        settings = with_target(backend.address)
        # What is known by now is what is used: a worker gets it from us.
        (folder / "acme.yaml").unlink()
        with (
            running_mesh(settings, carrier) as (mesh, sink),
            live_server(
                "sync", lambda: [interceptor_of("sync", mesh)], handler=Models(pieces(folder, "good", "bye"))
            ) as server,
        ):
            ask: Any = server.channel.unary_stream(ASK)
            assert list(ask(question(folder), timeout=20)) == pieces(folder, "good", "bye")
            mesh.drain(20)
            legs = sink.wait_for_legs(2)
        assert {leg.role: leg.fields for leg in legs} == {Role.LIVE: READ, Role.SHADOW: READ}


def test_nothing_of_it_is_put_into_the_pool_that_a_servers_own_stubs_are_in(folder: Path) -> None:
    assert with_target("127.0.0.1:1").catalog.method_map(ASK, "acme") is not None
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindFileByName("acme.proto")


def test_the_builtin_protocols_are_there_as_well_and_as_they_were(folder: Path) -> None:
    catalog = with_target("127.0.0.1:1").catalog
    assert catalog.names == (*builtin().names[:-1], "acme", "raw")
    assert builtin().method_map(ASK) is None
    assert Config().catalog == builtin() != catalog
    assert catalog == with_target("127.0.0.1:1").catalog


def test_a_module_that_protoc_has_written_describes_it_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # In a process of its own: the module puts itself into the default pool.
    assert protoc.main(["protoc", f"-I{folder}", f"--python_out={folder}", "acme.proto"]) == 0
    (folder / "one.yaml").write_text("protocols: [{file: acme.yaml, module: acme_pb2}]")
    done = subprocess.run(
        [sys.executable, "-c", "from shadowmesh import config; print(config.load('one.yaml').catalog.names)"],
        env={"PYTHONPATH": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "'acme'" in done.stdout, done.stderr


@contextmanager
def describing(data: bytes, version: str, *, whole: bool) -> Iterator[Backend]:
    """Run a server with one version of reflection, which answers with all that a file imports or with it alone."""
    request = message_class("shadowmesh.views.reflection.Request")
    response: Any = message_class("shadowmesh.views.reflection.Response")
    described = {file.name: file.SerializeToString() for file in FileDescriptorSet.FromString(data).file}

    def answer(call: Any, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        if f".{version}." not in call.method:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "")
        for one in requests:
            asked: Any = request.FromString(one)
            name = asked.file_by_filename or ("acme.proto" if asked.file_containing_symbol == "acme.Models" else "")
            if name not in described:
                yield response(failure={"code": 5}).SerializeToString()
            else:
                found = described.values() if whole else [described[name]]
                yield response(files={"descriptors": found}).SerializeToString()

    with Backend(answer) as backend:
        yield backend


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_a_server_with_reflection_describes_it_too_and_is_asked_once(folder: Path, version: str, whole: bool) -> None:
    imported = '\nimport "google/protobuf/timestamp.proto";\nmessage At { google.protobuf.Timestamp at = 1; }\n'
    (folder / "acme.proto").write_text((folder / "acme.proto").read_text() + imported)
    includes = (f"-I{folder}", f"-I{files('grpc_tools') / '_proto'}")
    assert protoc.main(["protoc", *includes, "--include_imports", "-o", "acme.binpb", "acme.proto"]) == 0
    with describing((folder / "acme.binpb").read_bytes(), version, whole=whole) as backend:
        text = f"protocols: [{{file: acme.yaml, reflection: '{backend.address}'}}]"
        assert configuration.parse(text).catalog.method_map(ASK) is not None
        asked = len(backend.calls)
        assert configuration.parse(text).catalog.method_map(ASK) is not None
        assert len(backend.calls) == asked


TLS = Path(__file__).parents[1] / "support" / "tls"
NAME = "model.internal"
"""Whom the certificates name."""


@contextmanager
def describing_behind_tls(data: bytes, *, certificates: bool, token: str | None) -> Iterator[tuple[str, list[Any]]]:
    """Run a server with TLS that describes itself to those who show what it wants; gives its address, and who came."""
    response: Any = message_class("shadowmesh.views.reflection.Response")
    described = [file.SerializeToString() for file in FileDescriptorSet.FromString(data).file]
    came: list[str | bytes | None] = []

    def answer(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        shown = dict(context.invocation_metadata()).get("authorization")
        came.append(shown)
        if shown != token:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "")
        for _ in requests:
            yield response(files={"descriptors": described}).SerializeToString()

    server = grpc.server(ThreadPoolExecutor(2), options=(("grpc.so_reuseport", 0),))
    handlers: dict[str, Any] = {"ServerReflectionInfo": grpc.stream_stream_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("grpc.reflection.v1.ServerReflection", handlers),)
    )
    chain = [((TLS / "server.key").read_bytes(), (TLS / "server.pem").read_bytes())]
    roots = (TLS / "roots.pem").read_bytes() if certificates else None
    credentials = grpc.ssl_server_credentials(chain, root_certificates=roots, require_client_auth=certificates)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        yield f"127.0.0.1:{port}", came
    finally:
        server.stop(0).wait()


def reflected(address: str | None, **more: Any) -> str:
    return json.dumps({"protocols": [{"file": "acme.yaml", "reflection": address, **more}]})


def test_a_server_behind_tls_describes_it_to_whoever_shows_a_certificate_and_a_token_and_is_asked_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "abc")
    tls = {"roots": str(TLS / "roots.pem"), "server_name": NAME}
    shown = {"certificate": str(TLS / "client.pem"), "key": str(TLS / "client.key")}
    token = [{"key": "authorization", "env": "TOKEN", "prefix": "Bearer "}]
    with describing_behind_tls((folder / "acme.binpb").read_bytes(), certificates=True, token="Bearer abc") as (
        address,
        came,
    ):
        text = reflected(address, tls=tls | shown, credentials=token)
        assert configuration.parse(text).catalog.method_map(ASK) is not None
        asked = len(came)
        assert configuration.parse(text).catalog.method_map(ASK) is not None
        assert came == ["Bearer abc"] * asked
        for less, status in (({"tls": tls, "credentials": token}, "UNAVAILABLE"), ({"tls": tls | shown}, "UNAUTH")):
            with pytest.raises(ConfigError, match=rf"protocols\[0\]\.reflection: .* ended with {status}"):
                configuration.parse(reflected(address, **less))


@pytest.mark.parametrize(
    ("more", "key", "problem"),
    [
        ({"tls": {"roots": "/no/such"}}, "protocols[0].tls.roots", "No such file"),
        ({"tls": {"roots": "acme.yaml"}}, "protocols[0].tls.roots", "not PEM certificates"),
        ({"tls": True, "credentials": [{"key": "x-key", "env": "GONE"}]}, "protocols[0].credentials[0].env", "nothing"),
        ({"address": "a.example:1", "credentials": [{"key": "x", "env": "GONE"}]}, "protocols[0]", "in the clear"),
        ({"address": None, "tls": True}, "protocols[0]", "for a server with reflection"),
    ],
)
def test_what_a_server_cannot_be_asked_with_stops_the_start_and_names_its_key(
    folder: Path, more: dict[str, Any], key: str, problem: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        configuration.parse(reflected(**{"address": "127.0.0.1:9", **more}))
    assert caught.value.key == key
    assert problem in caught.value.problem


def test_an_installed_package_brings_its_protocol_by_an_entry_point(folder: Path) -> None:
    info = folder / "acme_models-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-models\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[shadowmesh.protocols]\nacme = acme_models:protocol\n")
    (folder / "acme_models.py").write_text(
        "def protocol():\n    return {'file': 'acme.yaml', 'descriptors': 'acme.binpb'}\n"
    )
    program = "from shadowmesh import config; print(config.parse('').catalog.names)"

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONPATH": str(folder)},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert "'acme'" in run().stdout
    (folder / "acme_models.py").write_text("protocol = {'file': 'gone.yaml'}\n")
    last = run().stderr.splitlines()[-1]
    assert last.endswith("entry point acme of shadowmesh.protocols: gone.yaml: No such file or directory")


@pytest.mark.parametrize(
    ("text", "key", "problem"),
    [
        ("{file: gone.yaml}", ".file", "gone.yaml: No such file or directory"),
        ("{file: acme.yaml}", ".file", "acme.yaml: acme: no descriptors for /acme.Models/Ask"),
        ("{file: acme.yaml, descriptors: gone.binpb}", ".descriptors", "gone.binpb: No such file"),
        ("{file: acme.yaml, descriptors: acme.yaml}", ".descriptors", "acme.yaml: not a FileDescriptorSet"),
        ("{file: acme.yaml, module: no_such_module}", ".module", "no_such_module: ModuleNotFoundError"),
        ("{file: acme.yaml, module: json}", ".module", "json: no module that protoc has written"),
        ("{file: acme.yaml, reflection: '127.0.0.1:9'}", ".reflection", "127.0.0.1:9: reflection ended with UNAVAIL"),
        ("{file: acme.yaml, module: a, descriptors: b}", "", "one way each"),
        ("{fil: acme.yaml}", ".fil", "unknown key, perhaps file (and 1 more)"),
        ("{file: acme.yaml, descriptors: acme.binpb}, {file: acme.yaml, descriptors: acme.binpb}", "", "there already"),
    ],
)
def test_what_cannot_be_used_stops_the_start_and_names_its_key(folder: Path, text: str, key: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configuration.parse(f"protocols: [{text}]", source="mesh.yaml")
    assert problem in str(caught.value)
    assert str(caught.value).startswith("mesh.yaml: protocols[")
    assert key in caught.value.key
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("usage.read", "usage.red", "no field 'red' in 'usage.red'"),
        ("model: model", "modle: model", "methods./acme.Models/Ask.request.modle: unknown key"),
        ("version: 1", "version: 2", "version: Input should be 1"),
        ("/acme.Models/Ask", "/acme.Models/Tell", "no descriptors for /acme.Models/Tell"),
        ("/acme.Models/Ask", "acme.Models/Ask", "is no full name"),
        ("protocol: acme", "protocol: vllm", "a protocol 'vllm' is there already"),
        ("protocol: acme", "protocol: raw", "a protocol 'raw' is there already"),
        ("version: 1", "version: 1\nversion: 1", "line 2: key 'version' twice"),
        ("version: 1", "[" * 5000, "not YAML"),
        ("version: 1", "\x00", "not YAML"),
        ("usage.read", "json(" * 5000, "'json("),
        ("usage.read", f"'{'9' * 5000}'", "99"),
        ("usage.read", f"'{'1' * 12}'", "neither a field"),
        ("usage.read", "' | has(has(text))'", "field"),
    ],
)
def test_a_map_that_is_wrong_is_refused_in_one_line_that_names_the_file(
    folder: Path, old: str, new: str, problem: str
) -> None:
    (folder / "acme.yaml").write_text(MAP.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        with_target("127.0.0.1:1")
    assert caught.value.key == "protocols[0].file"
    assert caught.value.problem.startswith("acme.yaml: ")
    assert problem in caught.value.problem
    assert "\n" not in caught.value.problem


def test_what_is_configured_while_it_runs_needs_a_protocol_that_was_there_at_the_start(folder: Path) -> None:
    with Mesh(with_target("127.0.0.1:1")) as mesh:
        (folder / "acme.yaml").write_text(MAP.replace("protocol: acme", "protocol: other"))
        mesh.reload(with_target("127.0.0.1:2"))
        text = CONFIG.replace("- name: new-model", "- name: new-model\n    protocol: other")
        with pytest.raises(ConfigError, match=r"experiments\[0\]\.protocol: 'other' is none of .*read at the start"):
            mesh.reload(configuration.parse(text))

"""16b. The configuration is a ConfigMap, swapped behind its symlink: followed or refused, and nothing is cut by it."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import pytest
from support.calls import SCENARIOS, see
from support.collector import collector
from support.meshes import config, target
from support.resources import until
from support.servers import Server, interceptor_of, live_server
from support.shadows import answering
from support.worlds import WORLDS, with_mirror

from shadowmesh.build import Mesh
from shadowmesh.config import Config
from shadowmesh.names import CallEnd, Decision, Role
from shadowmesh.testing import Backend, ReceivedCall, SpanSink

MIRRORED = (Decision.MIRRORED, "")


class ConfigMap:
    """A volume as the kubelet writes it: the file is a link into ``..data``, which is a link to what is in force."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._versions = count()
        self.file = directory / "shadowmesh.yaml"
        self.file.symlink_to("..data/shadowmesh.yaml")

    def hold(self, text: str) -> None:
        """Put other content in its place, by one rename."""
        version = self._directory / f"..2026_{next(self._versions)}"
        version.mkdir()
        (version / "shadowmesh.yaml").write_text(text)
        beside = self._directory / "..data_tmp"
        beside.symlink_to(version.name)
        beside.rename(self._directory / "..data")


class Followed:
    """A server whose mesh follows a ConfigMap."""

    def __init__(self, mesh: Mesh, server: Server, sink: SpanSink, held: ConfigMap, settings: dict[str, Any]) -> None:
        self.mesh = mesh
        self.server = server
        self.sink = sink
        self._held = held
        self._settings = settings

    def hold(self, *targets: dict[str, Any]) -> None:
        """Let the file name these targets, and wait until it is in force."""
        applied = self.mesh.status()["config_file"]["applied"]
        self._held.hold(text_of(self._settings, *targets))
        assert until(lambda: self.mesh.status()["config_file"]["applied"] > applied)

    def spoil(self, text: str) -> str:
        """Let the file be wrong, wait until it is refused, and return what the status says of it."""
        refused = self.mesh.status()["config_file"]["refused"]
        self._held.hold(text)
        assert until(lambda: self.mesh.status()["config_file"]["refused"] > refused)
        return str(self.mesh.status()["config_file"]["problem"])

    def call(self, times: int = 1) -> None:
        for _ in range(times):
            assert see(self.server, "unary_unary", SCENARIOS["answers"]).code is grpc.StatusCode.OK

    def decided(self, name: str) -> dict[tuple[str, str], int]:
        return {
            (key.decision, key.drop_reason): times for key, times in self.mesh.funnel().items() if key.target == name
        }


def text_of(settings: dict[str, Any], *targets: dict[str, Any]) -> str:
    content: dict[str, Any] = json.loads((config(*targets) if targets else Config()).model_dump_json())
    return json.dumps({**settings, "experiments": content["experiments"]})


@contextmanager
def followed(kind: str, carrier: str, directory: Path, *targets: dict[str, Any]) -> Iterator[Followed]:
    sink = SpanSink()
    with ExitStack() as stack:
        settings = json.loads(with_mirror(Config(), carrier=carrier).model_dump_json(include={"mirror"}))
        settings["reload"] = {"every": 0.1}
        given: dict[str, Any] = {"span_exporter": sink}
        if carrier == "process":
            settings["telemetry"] = {"otlp": {"endpoint": f"http://{stack.enter_context(collector(sink))}"}}
            given = {}
        held = ConfigMap(directory)
        held.hold(text_of(settings, *targets))
        mesh = stack.enter_context(Mesh.from_file(held.file, **given))
        server = stack.enter_context(live_server(kind, lambda: [interceptor_of(kind, mesh)]))
        yield Followed(mesh, server, sink, held, settings)
        mesh.drain(5)


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_a_target_that_the_map_names_no_more_gets_nothing_more_and_its_shadow_in_flight_ends_well(
    kind: str, carrier: str, tmp_path: Path
) -> None:
    going = threading.Event()

    def patient(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        list(requests)
        going.wait(20)
        yield b"late"

    with (
        Backend(patient) as old,
        Backend(answering) as new,
        followed(kind, carrier, tmp_path, target(old.address, "old")) as it,
    ):
        it.call()
        old.wait_for_calls(1)
        it.hold(target(new.address, "new"))
        it.call(5)
        new.wait_for_calls(5)
        it.hold()
        it.call(5)
        going.set()
        legs = it.sink.wait_for_legs(12)
        it.mesh.drain(5)
        shadows = Counter((leg.target, leg.status, leg.end) for leg in legs if leg.role == Role.SHADOW)
        assert shadows == {("old", "OK", CallEnd.COMPLETED): 1, ("new", "OK", CallEnd.COMPLETED): 5}
        assert (len(old.calls), len(new.calls), len(it.sink.legs())) == (1, 5, 12)
        assert (it.decided("old"), it.decided("new")) == ({MIRRORED: 1}, {MIRRORED: 5})


WRONG = {
    "no YAML": "experiments: [",
    "an unknown key": "experimnts: []",
    "a value out of range": "experiments: [{name: x, methods: ['*'], targets: [{name: a, address: 'h:1', rate: 2}]}]",
    "a credential that is not there": (
        "experiments: [{name: x, methods: ['*'], targets: "
        "[{name: a, address: '127.0.0.1:1', credentials: [{key: a, env: NOBODY_HAS_SET_THIS}]}]}]"
    ),
}


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_a_map_that_is_wrong_is_refused_and_the_one_before_goes_on(kind: str, carrier: str, tmp_path: Path) -> None:
    with Backend(answering) as backend, followed(kind, carrier, tmp_path, target(backend.address)) as it:
        for number, (what, text) in enumerate(WRONG.items(), 1):
            assert str(tmp_path) in it.spoil(text), what
            it.call()
            backend.wait_for_calls(number)
        assert it.mesh.status()["config_file"]["refused"] == len(WRONG)
        it.hold(target(backend.address, rate=0.0))
        assert it.mesh.status()["config_file"]["problem"] is None
        it.call()
        assert it.decided("candidate") == {MIRRORED: len(WRONG), (Decision.NOT_SAMPLED, ""): 1}

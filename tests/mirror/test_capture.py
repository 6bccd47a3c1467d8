"""Capturing beside a mirror: both have what they would have alone, and the disk is no live call's concern."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from support.meshes import config, running_mesh, target
from support.metrics import attributes_of, points_of, received, value_of
from support.scripts import script
from support.servers import Server, interceptor_of, is_aio, live_server
from support.worlds import WORLDS, with_mirror

from shadowmesh.build import Mesh
from shadowmesh.config import Config, parse
from shadowmesh.errors import ConfigError, StartError
from shadowmesh.interceptor.aio import AioInterceptor
from shadowmesh.interceptor.sync import SyncInterceptor
from shadowmesh.mirror.capture import Capture
from shadowmesh.mirror.capture_files import read_calls
from shadowmesh.mirror.capture_settings import CaptureSettings
from shadowmesh.names import DropReason, Role
from shadowmesh.telemetry.faults import Faults
from shadowmesh.testing import Backend, echo

UNARY = "/test.Scripted/unary_unary"
HELLO = script(["send", "hello"])


def with_capture(settings: Config, folder: Path, **more: Any) -> Config:
    return settings.model_copy(update={"capture": CaptureSettings.model_validate({"to": str(folder), **more})})


def only(folder: Path, **more: Any) -> Config:
    return with_capture(Config(), folder, **more)


def ask(server: Server, *, arity: str = "unary_unary", request: bytes = HELLO) -> Any:
    return server.call(arity)(request, timeout=20)


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_a_call_is_mirrored_and_captured_whichever_carrier_mirrors(tmp_path: Path, kind: str, carrier: str) -> None:
    with Backend(echo) as backend:
        settings = with_capture(with_mirror(config(target(backend.address))), tmp_path)
        with running_mesh(settings, carrier, metric_reader=InMemoryMetricReader()) as (mesh, sink):
            with live_server(kind, lambda: [interceptor_of(kind, mesh)]) as server:
                assert ask(server) == b"hello"
                assert list(server.call("stream_stream")(iter([HELLO]), timeout=20)) == [b"hello"]
                # While the server's loop still runs, which may be the mirror's as well.
                mesh.drain(20)
            legs = sink.wait_for_legs(4)
        assert not mesh.faults()
    assert Counter(leg.role for leg in legs) == {Role.LIVE: 2, Role.SHADOW: 2}
    assert {call.requests[0] for call in backend.calls} == {HELLO}
    calls = list(read_calls(tmp_path))
    assert [(call.arity, call.status, call.complete) for call in calls] == [
        ("unary_unary", "OK", True),
        ("stream_stream", "OK", True),
    ]
    for call in calls:
        assert [message.data for message in call.requests] == [HELLO]
        assert [message.data for message in call.responses] == [b"hello"]
    assert mesh.captured_calls() == {("written", ""): 2}


@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_only_the_share_and_the_methods_that_were_asked_for_are_captured(tmp_path: Path, kind: str) -> None:
    settings = only(tmp_path, rate=0.5, methods=["/test.Scripted/unary_unary"], metadata=["x-tenant"])
    with Mesh(settings, metric_reader=InMemoryMetricReader()) as mesh:
        with live_server(kind, lambda: [interceptor_of(kind, mesh)]) as server:
            for _ in range(200):
                server.call("unary_unary")(HELLO, timeout=20, metadata=(("x-tenant", "a"), ("x-other", "b")))
            list(ask(server, arity="unary_stream"))
        mesh.close()
    calls = list(read_calls(tmp_path))
    assert 50 < len(calls) < 150
    assert {(call.method, call.metadata) for call in calls} == {(UNARY, (("x-tenant", "a"),))}


class Disk:
    """A time of day for whoever waits for the disk: the writer asks for it before it writes, and stands there."""

    def __init__(self) -> None:
        self.answers = threading.Event()

    def __call__(self) -> float:
        self.answers.wait(60)
        return 1.8e9


@pytest.fixture
def disk() -> Iterator[Disk]:
    made = Disk()
    yield made
    made.answers.set()


def tapped(kind: str, capture: Capture) -> Any:
    return AioInterceptor(capture.live) if is_aio(kind) else SyncInterceptor(capture.live)


@pytest.mark.parametrize("kind", ["sync", "aio"])
@pytest.mark.parametrize(
    ("bound", "reason", "size"),
    [({"queue_items": 8}, DropReason.QUEUE_FULL, 1), ({"queue_bytes": 1 << 20}, DropReason.CAPTURE_FULL, 100_000)],
)
def test_while_the_disk_does_not_answer_calls_go_on_and_what_does_not_fit_is_shed_and_counted(
    tmp_path: Path, disk: Disk, kind: str, bound: dict[str, Any], reason: str, size: int
) -> None:
    settings = CaptureSettings.model_validate({"to": str(tmp_path), **bound})
    capture = Capture(settings, faults=Faults(), wall=disk)
    with live_server(kind, lambda: [tapped(kind, capture)]) as server:
        request = script(["send", "y" * size])
        for _ in range(50):
            assert ask(server, request=request) == b"y" * size
        assert capture.held_bytes <= settings.queue_bytes
        assert capture.live.queued() <= 3 * settings.queue_items
        disk.answers.set()
        capture.drain_blocking(20)
    totals = capture.totals()
    assert sum(totals.values()) == 50
    assert totals["shed", reason] > 0
    assert sum(count for (result, _), count in totals.items() if result == "shed") > 10
    assert totals["written", ""] == sum(call.complete for call in read_calls(tmp_path))
    assert capture.held_bytes == 0


def test_a_drain_does_not_wait_for_ever_for_a_disk_that_never_answers(tmp_path: Path, disk: Disk) -> None:
    faults = Faults()
    capture = Capture(CaptureSettings(to=str(tmp_path)), faults=faults, wall=disk, patience=0.1)
    with live_server("sync", lambda: [SyncInterceptor(capture.live)]) as server:
        assert ask(server) == b"hello"
        capture.drain_blocking(0.0)
        capture.drain_blocking(0.0)
    assert faults.totals() == {"capture: the disk does not answer, and what it has not taken is let go": 1}


@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_a_disk_that_refuses_is_counted_for_every_call_logged_once_and_never_the_clients_concern(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "calls"
    with caplog.at_level(logging.WARNING), Mesh(only(folder), metric_reader=InMemoryMetricReader()) as mesh:
        # In its place something that is no directory: every new file fails, for whatever account this runs.
        folder.rmdir()
        folder.write_text("")
        with live_server(kind, lambda: [interceptor_of(kind, mesh)]) as server:
            for _ in range(5):
                assert ask(server) == b"hello"
        mesh.close()
    assert mesh.captured_calls() == {("failed", ""): 5}
    assert mesh.faults() == {"capture: File exists": 5}
    assert len([record for record in caplog.records if "File exists" in record.message]) == 1


def test_what_was_captured_is_said_in_metrics_and_status(tmp_path: Path) -> None:
    reader = InMemoryMetricReader()
    with Mesh(only(tmp_path, max_message_bytes=100), metric_reader=reader) as mesh:
        assert mesh.status()["captured"]["written"] == 0
        with live_server("sync", lambda: [mesh.interceptor()]) as server:
            for size in (1, 1, 200):
                ask(server, request=script(["send", "y" * size]))
        mesh.drain()
        found: Any = reader.get_metrics_data()
        status = mesh.status()["captured"]
    found_points = points_of(received(found)["shadowmesh.capture.calls"])
    counted = {tuple(sorted(attributes_of(point).values())): value_of(point) for point in found_points}
    assert counted == {("written",): 2, ("oversize", "shed"): 1}
    assert (status["written"], status["shed"], status["accepting"]) == (2, {"oversize": 1}, False)


def test_a_reload_ends_it_begins_it_again_and_changes_which_calls_are_captured(tmp_path: Path) -> None:
    settings = only(tmp_path)
    with Mesh(settings, metric_reader=InMemoryMetricReader()) as mesh:
        with live_server("sync", lambda: [mesh.interceptor()]) as server:
            ask(server)
            mesh.reload(Config())
            ask(server)
            mesh.reload(only(tmp_path, methods=["/test.Scripted/unary_stream"]))
            ask(server)
            list(ask(server, arity="unary_stream"))
            assert not mesh.faults()
            mesh.reload(only(tmp_path, file_bytes=5000))
        mesh.close()
        mesh.reload(settings)
        assert not mesh.status()["captured"]["accepting"]
    assert [call.arity for call in read_calls(tmp_path)] == ["unary_unary", "unary_stream"]
    assert list(mesh.faults()) == ["reload: capture: methods, rate and metadata are reloaded, the rest needs a restart"]


def test_to_begin_to_capture_takes_a_restart_which_is_said(tmp_path: Path) -> None:
    with Mesh(Config(), metric_reader=InMemoryMetricReader()) as mesh:
        mesh.reload(only(tmp_path))
        assert mesh.faults() == {"reload: only experiments are reloaded; other settings need a restart": 1}


def test_where_nothing_is_mirrored_nothing_is_captured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    with Mesh(only(tmp_path / "calls")) as mesh, live_server("sync", lambda: [mesh.interceptor()]) as server:
        assert ask(server) == b"hello"
        assert mesh.status()["captured"] is None
    assert not (tmp_path / "calls").exists()


@pytest.mark.parametrize(
    ("capture", "problem"),
    [
        ("{methods: ['*']}", "capture.to: Field required"),
        ("{to: x, rate: 2}", "capture.rate: "),
        ("{to: x, methods: [oops]}", "capture.methods: 'oops' is neither"),
        ("{to: x, metadata: [cookie]}", "capture.metadata: 'cookie' is a credential"),
        ("{to: x, file_bytes: 2GiB}", "capture: file_bytes of one file are more"),
    ],
)
def test_what_is_wrong_is_refused_with_its_key(capture: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(f"capture: {capture}")
    assert str(caught.value).startswith(problem)


def test_a_directory_that_cannot_be_written_to_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match=r"capture\.to: "):
        Mesh(only(tmp_path / "file"))


PRELOADED = """
import os, sys, warnings
from support.scripts import script
from support.servers import live_server
from shadowmesh.build import Mesh

warnings.simplefilter("ignore", DeprecationWarning)
mesh = Mesh.from_file(sys.argv[1])
interceptor = mesh.interceptor()
mesh.start()

def serve(times):
    with live_server("sync", lambda: [interceptor]) as server:
        for _ in range(times):
            server.call("unary_unary")(script(["send", "hello"]), timeout=20)
    mesh.close()
    print(os.getpid(), mesh.captured_calls(), flush=True)

children = []
for times in (1, 2):
    child = os.fork()
    if not child:
        serve(times)
        os._exit(0)
    os.waitpid(child, 0)
serve(3)
"""


def test_every_process_of_a_pre_fork_server_writes_to_files_of_its_own(tmp_path: Path) -> None:
    file, folder = tmp_path / "shadowmesh.yaml", tmp_path / "calls"
    file.write_text(only(folder).model_dump_json())
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    environment |= {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "OTEL_METRICS_EXPORTER": "none"}
    done = subprocess.run(
        [sys.executable, "-c", PRELOADED, str(file)],
        capture_output=True, text=True, timeout=60, check=True, env=environment,
    )  # fmt: skip
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    written = {path.name.split("-")[2]: len(list(read_calls(path))) for path in folder.iterdir()}
    assert sorted(written.values()) == [1, 2, 3]
    assert {pid: f"{{('written', ''): {count}}}" for pid, count in written.items()} == said
    assert json.loads(next(folder.iterdir()).read_text().splitlines()[0])["schema"] == "shadowmesh.capture/1"

"""A mesh made from a file follows it: what is new begins, what is gone gets nothing more, what is wrong is refused."""

from __future__ import annotations

import gc
import json
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from support.meshes import config, target
from support.scripts import script
from support.servers import live_server
from support.shadows import answering

from shadowmesh.build import Mesh
from shadowmesh.config import Config
from shadowmesh.errors import ConfigError
from shadowmesh.mirror.frames import Frame
from shadowmesh.mirror.thread import ThreadCarrier
from shadowmesh.names import Decision
from shadowmesh.policy.funnel import FunnelKey
from shadowmesh.testing import Backend, SpanSink

MIRRORED = FunnelKey("x", "candidate", Decision.MIRRORED, "")
RELOAD: dict[str, Any] = {"every": 0.1}


def written(path: Path, *targets: dict[str, Any], **more: Any) -> None:
    """Write a configuration as an editor does: beside it, and renamed."""
    settings = config(*targets, **more) if targets else Config()
    content = json.loads(settings.model_dump_json()) | {"reload": RELOAD}
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(content))
    beside.replace(path)


def until(condition: Callable[[], bool]) -> None:
    """Wait for the thread that follows the file."""
    waiting, deadline = threading.Event(), time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        waiting.wait(0.01)


def ours() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("shadowmesh")]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "shadowmesh.yaml"


@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_what_is_taken_out_of_the_file_is_mirrored_no_more_and_what_is_put_in_is(kind: str, file: Path) -> None:
    with Backend(answering) as first, Backend(answering) as second:
        written(file, target(first.address))
        with (
            Mesh.from_file(file, span_exporter=SpanSink()) as mesh,
            live_server(kind, lambda: [mesh.aio_interceptor() if kind == "aio" else mesh.interceptor()]) as server,
        ):
            call = server.call("unary_unary")
            call(script(["send", "x"]), timeout=20)
            first.wait_for_calls(1)
            written(file)
            until(lambda: not mesh.status()["experiments"])
            call(script(["send", "x"]), timeout=20)
            written(file, target(second.address))
            until(lambda: bool(mesh.status()["experiments"]))
            call(script(["send", "x"]), timeout=20)
            second.wait_for_calls(1)
        assert (len(first.calls), len(second.calls)) == (1, 1)
        assert mesh.funnel() == {MIRRORED: 2}


def test_the_status_shows_other_experiments_only_when_calls_are_decided_by_them() -> None:
    shown: list[int] = []

    class Looking(ThreadCarrier):
        def reload(self, frame: Frame) -> None:
            shown.append(len(mesh.status()["experiments"]))
            super().reload(frame)
            shown.append(len(mesh.status()["experiments"]))

    with Mesh(config(target("127.0.0.1:1")), span_exporter=SpanSink(), make_carrier=Looking) as mesh:
        mesh.interceptor()
        mesh.reload(Config())
        assert mesh.status()["experiments"] == []
    # Calls that begin meanwhile are still decided by the old ones.
    assert shown == [1, 1]


def test_a_file_is_reloaded_when_the_program_says_so_and_changes_nothing_where_it_is_wrong(file: Path) -> None:
    with Backend(answering) as first, Backend(answering) as second:
        written(file, target(second.address))
        with (
            Mesh(config(target(first.address)), span_exporter=SpanSink()) as mesh,
            live_server("sync", lambda: [mesh.interceptor()]) as server,
        ):
            call = server.call("unary_unary")
            mesh.reload_file(file)
            call(script(["send", "x"]), timeout=20)
            second.wait_for_calls(1)
            for wrong in ("experiments: [{nam: x}]", "experiments: [{name: x, methods: ['*'], protocol: nobody's}]"):
                file.write_text(wrong)
                with pytest.raises(ConfigError, match=r"experiments\[0\]") as caught:
                    mesh.reload_file(file)
                assert str(caught.value).startswith(str(file))
            call(script(["send", "x"]), timeout=20)
            second.wait_for_calls(2)
        assert (len(first.calls), len(second.calls)) == (0, 2)


def test_a_file_that_several_processes_share_is_reloaded_with_this_ones_part_of_budgets(file: Path) -> None:
    written(file, target("127.0.0.1:1"))
    with Mesh.from_file(file, span_exporter=SpanSink(), watch=False, processes=3) as mesh:
        mesh.reload_file(file)
        # Nothing but experiments would have changed.
        assert mesh.faults() == {}


def test_a_mesh_that_begins_with_nothing_begins_to_mirror_when_the_file_says_so(file: Path) -> None:
    with Backend(answering) as backend:
        written(file)
        with (
            Mesh.from_file(file, span_exporter=SpanSink()) as mesh,
            live_server("sync", lambda: [mesh.interceptor()]) as server,
        ):
            written(file, target(backend.address))
            until(lambda: mesh.status()["accepting"])
            server.call("unary_unary")(script(["send", "x"]), timeout=20)
            backend.wait_for_calls(1)


def test_a_file_that_is_wrong_is_refused_counted_and_shown_and_the_old_one_goes_on(file: Path) -> None:
    reader = InMemoryMetricReader()
    with Backend(answering) as backend:
        written(file, target(backend.address))
        with Mesh.from_file(file, span_exporter=SpanSink(), metric_reader=reader) as mesh:
            with live_server("sync", lambda: [mesh.interceptor()]) as server:
                file.write_text("experiments: [{nam: x}]")
                until(lambda: mesh.status()["config_file"]["refused"] == 1)
                server.call("unary_unary")(script(["send", "x"]), timeout=20)
                backend.wait_for_calls(1)
            shown = mesh.status()["config_file"]
            assert shown["problem"].startswith(f"{file}: experiments[0]")
            assert (shown["path"], shown["watched"], shown["applied"]) == (str(file), True, 0)
            assert reloads(reader) == {"applied": 0, "refused": 1}


def reloads(reader: InMemoryMetricReader) -> dict[str, int]:
    data = reader.get_metrics_data()
    assert data is not None
    metrics = {metric.name: metric for metric in data.resource_metrics[0].scope_metrics[0].metrics}
    points: Any = metrics["shadowmesh.mirror.config.reloads"].data.data_points
    return {point.attributes["shadowmesh.mirror.config.reload_result"]: point.value for point in points}


@pytest.mark.parametrize(("key", "argument"), [(True, False), (False, None)])
def test_a_file_that_is_not_to_be_watched_is_not(key: bool, argument: bool | None, file: Path) -> None:
    written(file, target("127.0.0.1:1"))
    content = json.loads(file.read_text()) | {"reload": {"watch": key}}
    file.write_text(json.dumps(content))
    with Mesh.from_file(file, span_exporter=SpanSink(), watch=argument) as mesh:
        mesh.interceptor()
        assert mesh.status()["config_file"] is None
        assert ours() == []


def test_building_from_a_file_starts_nothing_and_a_mesh_nobody_holds_is_watched_by_nobody(file: Path) -> None:
    written(file, target("127.0.0.1:1"))
    mesh = Mesh.from_file(file, span_exporter=SpanSink())
    assert ours() == []
    mesh.interceptor()
    (rounds,) = ours()
    gone = weakref.ref(mesh)
    del mesh
    gc.collect()
    assert gone() is None
    rounds.join(20)
    assert not rounds.is_alive()


def test_after_the_end_the_file_is_followed_no_more(file: Path) -> None:
    written(file, target("127.0.0.1:1"))
    mesh = Mesh.from_file(file, span_exporter=SpanSink())
    mesh.interceptor()
    mesh.close()
    assert ours() == []
    assert not mesh.status()["config_file"]["watched"]


def test_a_damaged_account_stops_the_start_and_names_the_key(file: Path, tmp_path: Path) -> None:
    (tmp_path / "budget-0.json").write_text("{")
    written(file, target("127.0.0.1:1", budget={"total": 1.0}))
    content = json.loads(file.read_text())
    content["mirror"]["budget"]["state"] = str(tmp_path)
    file.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=r"mirror\.budget\.state: .*budget-0\.json is damaged"):
        Mesh.from_file(file, span_exporter=SpanSink())


def test_what_is_left_of_a_time_box_is_in_the_status_and_in_the_metrics() -> None:
    reader = InMemoryMetricReader()
    with Backend(answering) as backend:
        settings = config(target(backend.address), time_box={"pairs": 5})
        with Mesh(settings, span_exporter=SpanSink(), metric_reader=reader) as mesh:
            with live_server("sync", lambda: [mesh.interceptor()]) as server:
                server.call("unary_unary")(script(["send", "x"]), timeout=20)
                until(lambda: [limit["left"] for limit in limits(mesh)] == [4])
            assert limits(mesh) == [{"name": "pairs", "currency": None, "limit": 5, "left": 4}]
            mesh.reload(config(target(backend.address)))
            assert limits(mesh) == []


def limits(mesh: Mesh) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = mesh.status()["experiments"][0]["targets"][0]["limits"]
    return found

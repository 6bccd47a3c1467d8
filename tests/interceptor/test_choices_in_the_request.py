"""Experiments by requested model, and sampling by a field of the request: real servers, every carrier."""

from __future__ import annotations

import os
import signal
from collections import Counter
from math import sqrt
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from support.chat import chat
from support.experiments import CONVERSE, GENERATE
from support.meshes import target
from support.resources import until
from support.shadows import answering
from support.wire import request
from support.worlds import WORLDS

from shadowmesh.build import Mesh
from shadowmesh.config import Config
from shadowmesh.mirror.process import ProcessCarrier
from shadowmesh.names import CallEnd, Decision, DropReason, Role
from shadowmesh.policy.sampling import position, salt_of
from shadowmesh.testing import Backend

METHODS = [GENERATE, CONVERSE]
MIRRORED = (Decision.MIRRORED, "")
OTHER = (Decision.DISABLED, DropReason.OTHER_MODEL)
UNKNOWN = (Decision.DROPPED, DropReason.UNKNOWN_MODEL)


def experiment(name: str, address: str, *, rate: float = 1.0, **more: Any) -> dict[str, Any]:
    return {"name": name, "methods": METHODS, "targets": [target(address, rate=rate, max_in_flight=1000)], **more}


def by_model(name: str, address: str, *models: str, **more: Any) -> dict[str, Any]:
    return experiment(name, address, when={"models": list(models)}, **more)


def sticky(address: str, rate: float, **more: Any) -> dict[str, Any]:
    return experiment("sticky", address, rate=rate, sampling={"by": {"field": "request_id"}}, **more)


def asked(backend: Backend) -> Counter[bytes]:
    return Counter(message for call in backend.calls for message in call.requests)


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_two_experiments_share_a_method_by_the_model_that_is_asked_for(kind: str, carrier: str) -> None:
    with Backend(answering) as llama, Backend(answering) as mistral:
        experiments = by_model("llama", llama.address, "llama-*"), by_model("mistral", mistral.address, "mistral")
        with chat(kind, carrier, *experiments) as it:
            for model in ("llama-3", "mistral", "gpt", "llama-4", "", "mistral"):
                it.ask(request(model=model, prompt="two and two?"))
            assert it.settle() == {("llama", ""): 2, ("mistral", ""): 2}
            assert it.lines("llama") == {MIRRORED: 2, OTHER: 4}
            assert it.lines("mistral") == {MIRRORED: 2, OTHER: 2}
            assert it.mesh.faults() == {}
        assert asked(llama) == {request(model=f"llama-{number}", prompt="two and two?"): 1 for number in (3, 4)}
        assert asked(mistral) == {request(model="mistral", prompt="two and two?"): 2}


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_of_a_stream_the_first_message_decides_whenever_it_comes(kind: str, carrier: str) -> None:
    with Backend(answering) as llama, Backend(answering) as rest:
        with chat(kind, carrier, by_model("llama", llama.address, "llama-*"), experiment("rest", rest.address)) as it:
            wanted, other, silent = (it.stream() for _ in range(3))
            other.ask(request("1", model="gpt"))
            wanted.ask(request("2", model="llama-3"))
            wanted.ask(request("3", model="gpt"))
            for stream in (wanted, other, silent):
                stream.end()
            it.settle()
            assert it.mesh.funnel() == {
                ("llama", "candidate", Decision.MIRRORED, ""): 2,
                ("llama", "candidate", *OTHER): 1,
                ("llama", "candidate", *UNKNOWN): 1,
                ("rest", "candidate", Decision.MIRRORED, ""): 2,
            }
            assert it.mesh.faults() == {}
        assert asked(llama) == {request("2", model="llama-3"): 1, request("3", model="gpt"): 1}
        assert asked(rest) == {request("1", model="gpt"): 1}


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_what_cannot_be_read_is_nobodys_that_asks_for_a_model_and_says_so(kind: str, carrier: str) -> None:
    with Backend(answering) as backend:
        first = by_model("llama", backend.address, "llama-*", rate=0.5)
        with chat(kind, carrier, first, experiment("rest", backend.address)) as it:
            for _ in range(100):
                it.ask(b"\xff\xff")
            assert it.settle() == {("rest", ""): 100}
            lines = it.lines("llama")
            assert set(lines) == {UNKNOWN, (Decision.NOT_SAMPLED, "")}
            assert sum(lines.values()) == 100
            assert 20 < lines[UNKNOWN] < 80, "at the rate of what it would have been shown"


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_calls_of_one_user_share_their_fate_in_every_replica_and_after_a_restart(kind: str, carrier: str) -> None:
    users, rate, fates = 300, 0.3, []
    for times in (2, 1):
        with Backend(answering, workers=32) as backend:
            with chat(kind, carrier, sticky(backend.address, rate)) as it:
                for _ in range(times):
                    for user in range(users):
                        it.ask(request(f"user-{user}", prompt="?"))
                it.settle()
                assert it.mesh.faults() == {}
            seen = asked(backend)
            assert set(seen.values()) == {times}, "all calls of a user, or none"
            fates.append(set(seen))
    assert fates[0] == fates[1]
    salt = salt_of("sticky")
    names = [f"user-{user}" for user in range(users)]
    assert fates[0] == {request(name, prompt="?") for name in names if position(salt, name.encode()) < rate}
    assert abs(len(fates[0]) - users * rate) <= 5 * sqrt(users * rate * (1 - rate))


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_calls_without_the_key_are_sampled_by_themselves_and_counted_and_a_key_behind_most_calls_is_told(
    kind: str, carrier: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Backend(answering, workers=32) as backend, chat(kind, carrier, sticky(backend.address, 0.01)) as it:
        for number in range(600):
            it.ask(request("ada" if number % 2 else f"user-{number}"))
        for _ in range(20):
            it.ask(request(""))
        it.mesh.drain(5)
        for _ in range(2):
            (said,) = it.mesh.status()["experiments"]
            assert said["sampling_keys"] == {"top_share": pytest.approx(0.5, abs=0.02), "missing": 20}
        assert sum(it.lines("sticky").values()) == 620
        warnings = [record.message for record in caplog.records if "sampling key" in record.message]
        assert warnings == [
            "sticky: one sampling key makes up 50 % of the calls, so the share that is mirrored is not the rate"
        ]


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_a_call_that_nobody_wants_keeps_no_memory_while_it_goes_on(kind: str, carrier: str) -> None:
    with Backend(answering) as backend, chat(kind, carrier, by_model("llama", backend.address, "llama-*")) as it:
        stream = it.stream()
        stream.ask(request(model="gpt", prompt="x" * 50_000))
        assert until(lambda: it.mesh.funnel() != {} and it.mesh.captured_bytes() == 0)
        for _ in range(100):
            stream.ask(request(model="gpt", prompt="x" * 50_000))
        assert it.mesh.captured_bytes() == 0
        stream.end()
        assert it.settle() == {}
        assert it.mesh.funnel() == {("llama", "candidate", *OTHER): 1}
        assert backend.calls == []


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_what_is_shed_before_it_was_read_is_accounted_for_once_and_has_its_legs(kind: str, carrier: str) -> None:
    with Backend(answering) as backend:
        experiments = by_model("llama", backend.address, "llama-*"), by_model("mistral", backend.address, "mistral")
        with chat(kind, carrier, *experiments, max_message_bytes=1000) as it:
            for _ in range(5):
                it.ask(request(model="mistral", prompt="x" * 2000))
            assert it.settle() == {("llama", DropReason.OVERSIZE): 5}
            assert it.lines("mistral") == {}


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_a_stream_that_nobody_has_heard_yet_is_shed_by_a_drain(kind: str, carrier: str) -> None:
    with Backend(answering) as backend, chat(kind, carrier, by_model("llama", backend.address, "llama-*")) as it:
        it.ask(request(model="llama-3"))
        streams = [it.stream() for _ in range(3)]
        assert it.settle(5) == {("llama", ""): 1, ("llama", DropReason.SHUTDOWN): 3}
        for stream in streams:
            stream.ask(request(model="llama-3"))
            stream.end()
        assert it.settle() == {("llama", ""): 1, ("llama", DropReason.SHUTDOWN): 3}
        cut = [leg for leg in it.sink.legs() if leg.role == Role.LIVE and leg.end == CallEnd.CUT]
        assert len(cut) == 3


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_a_stream_keeps_the_experiments_it_began_with_when_they_are_reloaded_meanwhile(kind: str, carrier: str) -> None:
    with Backend(answering) as backend, chat(kind, carrier, by_model("llama", backend.address, "llama-*")) as it:
        early = it.stream()
        changed = Config.model_validate({"experiments": [by_model("llama", backend.address, "gpt")]})
        it.mesh.reload(changed)
        late = it.stream()
        for stream in (early, late):
            stream.ask(request(model="llama-3"))
            stream.end()
        assert it.settle() == {("llama", ""): 1}
        assert it.lines("llama") == {MIRRORED: 1, OTHER: 1}


@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_a_worker_that_dies_takes_nothing_with_it_of_what_nobody_has_heard_yet(kind: str) -> None:
    with Backend(answering) as backend, chat(kind, "process", by_model("llama", backend.address, "llama-*")) as it:
        stream = it.stream()
        it.ask(request(model="llama-3"))
        backend.wait_for_calls(1)
        carrier = it.mesh._mirroring.engines.carrier
        assert isinstance(carrier, ProcessCarrier)
        assert until(lambda: carrier.unconfirmed == 0)
        (before,) = [link.pid for link in carrier.links]
        assert before is not None
        os.kill(before, signal.SIGKILL)
        assert until(lambda: all(link.pid not in (None, before) for link in carrier.links))
        stream.ask(request(model="llama-3"))
        stream.end()
        assert it.settle() == {("llama", ""): 2}


def test_where_nobody_samples_a_call_is_not_even_tapped() -> None:
    paused = by_model("llama", "127.0.0.1:1", "llama-*", rate=0.0)
    with chat("sync", "thread", paused) as it:
        it.ask(request(model="llama-3"))
        assert it.lines("llama") == {(Decision.NOT_SAMPLED, ""): 1}, "at once"


def test_the_metrics_say_how_the_keys_come() -> None:
    reader = InMemoryMetricReader()
    config = Config.model_validate({"experiments": [sticky("127.0.0.1:1", 0.5), experiment("plain", "127.0.0.1:1")]})
    with Mesh(config, metric_reader=reader) as mesh:
        mesh.interceptor()
        mesh.start()
        data: Any = reader.get_metrics_data()
        found = {
            metric.name: [(point.attributes, point.value) for point in metric.data.data_points]
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if "sampling" in metric.name
        }
        assert found == {
            "shadowmesh.mirror.sampling.missing_keys": [({"shadowmesh.experiment.name": "sticky"}, 0)],
        }

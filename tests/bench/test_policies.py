"""What ``policies_on`` measures: every policy is on, reads what the load generator sends, and sheds none of it."""

from __future__ import annotations

import select
from collections import Counter
from collections.abc import Iterator
from concurrent import futures
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import pytest
from bench import payload
from bench.modes import MODES
from bench.plan import SHAPES, choose
from bench.wire import Connection

from shadowmesh.catalog.builtin import method_map
from shadowmesh.config import Config, load
from shadowmesh.mirror.gate import gate_of
from shadowmesh.policy.funnel import Counted, FunnelKey
from shadowmesh.policy.live_gate import LiveGate

# What is no policy, and what has a sensible default or is for another kind of target.
_OTHERS = {
    "name", "version", "enabled", "preset", "methods", "protocol", "output_digest", "content", "content_limit",
    "stall_after", "targets", "criteria", "tokenizer",
}  # fmt: skip
_OTHERS_OF_A_TARGET = {
    "name",
    "version",
    "enabled",
    "kind",
    "address",
    "deadline",
    "tls",
    "on_live_cancel",
    "breaker",
    "translate",
}


@pytest.fixture
def policies_on(tmp_path: Path) -> Config:
    (mode,) = (mode for mode in MODES if mode.policies == "on")
    option, file = mode.arguments(1, 2, tmp_path)
    assert option == "--config-file"
    return load(file)


def as_by_default(settings: Any) -> set[str]:
    return {name for name, field in type(settings).model_fields.items() if getattr(settings, name) == field.default}


def test_every_policy_is_on(policies_on: Config) -> None:
    experiment = policies_on.experiments[-1]
    (target,) = experiment.targets
    assert as_by_default(experiment) <= _OTHERS
    assert as_by_default(target) <= _OTHERS_OF_A_TARGET
    assert experiment.effects
    assert target.stubs
    assert target.breaker.enabled
    assert policies_on.mirror.harm_guard.enabled
    assert policies_on.reload.watch


def test_every_call_is_let_through_by_every_policy_and_those_that_are_not_meant_are_not(policies_on: Config) -> None:
    counted: Counter[Counted] = Counter()
    gate = LiveGate(policies_on.experiments, lambda key: counted.update([key]))
    places, clock = count(), count()

    def decide(call: int, *more: tuple[str, str]) -> str:
        metadata = (*payload.metadata(call), *more)
        ticket = gate.decide(payload.UNARY.full_name, metadata, lambda: b"%d" % next(places), lambda: next(clock))
        return ticket.plan.name if ticket is not None and ticket.mirrored else ""

    assert {decide(call) for call in range(1, 1000)} == {"bench"}
    assert counted == {}
    # Its sampling has read the conversation, and nothing was left to chance.
    assert next(places) == 0
    assert decide(7) == ""
    assert counted == {FunnelKey("bench", "candidate", "disabled", "retry"): 1}
    assert decide(1001, ("x-replay", "yes")) == ""


def test_what_a_shadow_is_sent_is_another_request(policies_on: Config) -> None:
    experiment = policies_on.experiments[-1]
    (target,) = experiment.targets
    for method in (payload.UNARY, payload.STREAM):
        gate = gate_of(experiment, target, method.full_name, method_map(method.full_name, None))
        passed = gate.judge(payload.request())
        sent: Any = method.request.FromString(passed.data)
        assert (passed.drop_reason, sent.model) == ("", "bench-2b")
        assert sent.prompt.startswith("Answer briefly. xxx")


class Recorder(grpc.GenericRpcHandler):
    """Answers with the request, and keeps the metadata."""

    def __init__(self) -> None:
        self.metadata: list[tuple[tuple[str, str], ...]] = []

    def service(self, handler_call_details: Any) -> Any:
        self.metadata.append(tuple(tuple(entry) for entry in handler_call_details.invocation_metadata))
        return grpc.unary_unary_rpc_method_handler(lambda request, context: request)


@pytest.fixture
def recorder() -> Iterator[tuple[Recorder, int]]:
    handler = Recorder()
    server = grpc.server(futures.ThreadPoolExecutor(1), handlers=[handler], options=(("grpc.so_reuseport", 0),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield handler, port
    server.stop(0).wait()


def test_the_server_sees_the_metadata_of_each_call(recorder: tuple[Recorder, int]) -> None:
    handler, port = recorder
    numbers = count(1)
    connection = Connection(port, "/a.B/c", b"hello", 10, lambda: payload.metadata(next(numbers)))
    ended = 0
    for calls in (1, 2):
        connection.send(calls)
        while connection.in_flight:
            assert select.select([connection.socket], [], [], 20)[0]
            ended += len(connection.receive())
    connection.close()
    assert (ended, connection.bad) == (3, 0)
    for number, seen in enumerate(handler.metadata, 1):
        assert set(payload.metadata(number)) <= set(seen)
    assert len({dict(seen)["idempotency-key"] for seen in handler.metadata}) == 3


def named(wanted: set[str], *shapes: str) -> tuple[list[str], list[str]]:
    found, modes = choose([shape for shape in SHAPES if not shapes or shape.name in shapes], wanted)
    return [shape.name for shape in found], [mode.name for mode in modes]


def test_policies_are_measured_when_they_are_named_and_then_nothing_else_is() -> None:
    usual = {mode.name for mode in MODES if not mode.policies}
    shapes, modes = named(usual)
    assert len(shapes) == len(SHAPES) - 2
    assert set(modes) == usual
    policed = ["unary_policies", "stream64_policies"]
    assert named({"policies_off", "policies_on"}) == (policed, ["bare", "policies_off", "policies_on"])
    everything = {mode.name for mode in MODES}
    assert named(everything, *policed) == (policed, ["bare", "bare_again", "policies_off", "policies_on"])


def test_a_shape_or_a_mode_of_its_own_is_measured_as_ever() -> None:
    everything = {mode.name for mode in MODES}
    assert named({"bare", "bare_again"}, "unary_1") == (["unary_1"], ["bare", "bare_again"])
    assert named({"process_dead"}) == (["model_20ms"], ["bare", "process_dead"])
    shapes, modes = named(everything, "unary_open")
    assert shapes == ["unary_open"]
    assert "policies_on" not in modes
    assert named({"process"}, "unary_policies") == ([], [])

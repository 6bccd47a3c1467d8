"""16. Drain and SIGTERM with shadows in flight: grace, then cancel, all accounted; reload swaps targets in between."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from support.calls import ARITIES, SCENARIOS, see
from support.meshes import config, target
from support.otlp import TRACES, legs_of
from support.scripts import script
from support.shadows import answering, hanging
from support.worlds import WORLDS, with_mirror, world

from shadowmesh.build import Mesh
from shadowmesh.model import Leg
from shadowmesh.names import CallEnd, Decision, Role
from shadowmesh.testing import Backend, ReceivedCall

_START_SECONDS, _END_SECONDS = 30.0, 20.0


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_a_drain_lets_shadows_finish_within_the_grace(kind: str, carrier: str) -> None:
    going = threading.Event()

    def patient(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        list(requests)
        going.wait(20)
        yield b"done"

    with Backend(patient, workers=16) as backend, world(kind, carrier, target(backend.address)) as it:
        for arity in ARITIES:
            see(it.server, arity, SCENARIOS["answers"])
        backend.wait_for_calls(len(ARITIES))
        assert it.mesh.active() == {("x", "candidate"): len(ARITIES)}
        # The drain is under way, or at least asked for, when the backend goes on.
        threading.Timer(0.05, going.set).start()
        legs = it.settle(len(ARITIES), grace=15)
        assert {(leg.status, leg.end) for leg in legs["candidate"]} == {("OK", CallEnd.COMPLETED)}


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_after_the_grace_they_are_cancelled_and_accounted_for_and_nothing_new_is_mirrored(
    kind: str, carrier: str
) -> None:
    with Backend(hanging, workers=16) as backend, world(kind, carrier, target(backend.address)) as it:
        for arity in ARITIES:
            see(it.server, arity, SCENARIOS["answers"])
        backend.wait_for_calls(len(ARITIES))
        legs = it.settle(len(ARITIES), grace=0.2)
        assert {leg.end for leg in legs["candidate"]} == {CallEnd.CUT}
        assert all(call.ended.wait(30) for call in backend.calls)
        for arity in ARITIES:
            assert see(it.server, arity, SCENARIOS["answers"]).code is grpc.StatusCode.OK
        it.settle(len(ARITIES))
        assert len(backend.calls) == len(ARITIES)


class Terminable:
    """The server process of :mod:`support.terminable`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.port = int(self._read(_START_SECONDS))
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.port}")

    def call(self, arity: str) -> Any:
        return getattr(self.channel, arity)(f"/test.Scripted/{arity}")

    def terminate(self) -> dict[str, Any]:
        """Send SIGTERM and return the account it gives of itself, when it has ended."""
        self._process.send_signal(signal.SIGTERM)
        account: dict[str, Any] = json.loads(self._read(_END_SECONDS))
        assert self._process.wait(_END_SECONDS) == 0
        return account

    def _read(self, seconds: float) -> str:
        assert self._process.stdout is not None
        assert select.select([self._process.stdout], [], [], seconds)[0], "the server says nothing"
        return self._process.stdout.readline()


@contextmanager
def terminable(kind: str, carrier: str, address: str, endpoint: str, directory: Path) -> Iterator[Terminable]:
    settings = with_mirror(config(target(address)), carrier=carrier)
    file = directory / "shadowmesh.yaml"
    file.write_text(settings.model_dump_json())
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{endpoint}",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "support.terminable", kind, str(file)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    with process:
        try:
            server = Terminable(process)
            yield server
            server.channel.close()
        finally:
            process.kill()


def accepting(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    """What an OTLP receiver answers to anything: the empty message."""
    list(requests)
    yield b""


def received_legs(receiver: Backend) -> list[Leg]:
    return [leg for call in receiver.calls if call.method == TRACES for body in call.requests for leg in legs_of(body)]


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_sigterm_gives_shadows_their_grace_then_cancels_them_and_accounts_for_all(
    kind: str, carrier: str, tmp_path: Path
) -> None:
    def play(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """Hang on the second call and every other one after that."""
        return (hanging if len(backend.calls) % 2 == 0 else answering)(call, requests, context)

    with Backend(play, workers=32) as backend, Backend(accepting) as receiver:
        with terminable(kind, carrier, backend.address, receiver.address, tmp_path) as server:
            for number, arity in enumerate(ARITIES * 2, 1):
                request: Any = iter([script(["send", "x"])]) if arity.startswith("stream") else script(["send", "x"])
                answer = server.call(arity)(request, timeout=20)
                assert (list(answer) if arity.endswith("stream") else [answer]) == [b"x"]
                backend.wait_for_calls(number)
            # One live call is open too when the signal comes: the server's grace passes, then it is cancelled.
            open_call = server.call("unary_stream")(script(["send", "one"], ["wait"]), timeout=20)
            assert next(open_call) == b"one"
            backend.wait_for_calls(number + 1)
            account = server.terminate()
            assert open_call.code() in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)
        calls = 2 * len(ARITIES) + 1
        assert account["active"] == 0
        assert account["captured_bytes"] == 0
        assert account["funnel"] == [["x", "candidate", Decision.MIRRORED, "", calls]]
        legs = received_legs(receiver)
        assert Counter(leg.role for leg in legs) == {Role.LIVE: calls, Role.SHADOW: calls}
        assert {leg.pair_id for leg in legs if leg.role == Role.LIVE} == {
            leg.pair_id for leg in legs if leg.role == Role.SHADOW
        }
        ends = Counter(leg.end for leg in legs if leg.role == Role.SHADOW)
        assert ends == {CallEnd.COMPLETED: calls - len(ARITIES), CallEnd.CUT: len(ARITIES)}
        # Every call that hung there has heard of its end.
        assert all(call.ended.wait(30) for call in backend.calls)


needs_reload = pytest.mark.skipif(not hasattr(Mesh, "reload"), reason="there is no reload yet")


@needs_reload
@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_a_reload_swaps_targets_and_lets_pairs_in_flight_finish(kind: str, carrier: str) -> None:
    going = threading.Event()

    def patient(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        list(requests)
        going.wait(20)
        yield b"old"

    with Backend(patient) as old, Backend(answering) as new, world(kind, carrier, target(old.address, "old")) as it:
        see(it.server, "unary_unary", SCENARIOS["answers"])
        see(it.server, "unary_stream", SCENARIOS["answers"])
        old.wait_for_calls(2)
        reload: Any = getattr(it.mesh, "reload")  # noqa: B009 (not there yet)
        reload(with_mirror(config(target(new.address, "new")), carrier=carrier))
        see(it.server, "unary_unary", SCENARIOS["answers"])
        new.wait_for_calls(1)
        assert len(old.calls) == 2
        going.set()
        it.mesh.drain(10)
        legs = it.sink.wait_for_legs(6)
        shadows = Counter((leg.target, leg.status, leg.end) for leg in legs if leg.role == Role.SHADOW)
        assert shadows == {("old", "OK", CallEnd.COMPLETED): 2, ("new", "OK", CallEnd.COMPLETED): 1}
        assert it.counted() == {"old": 2, "new": 1}
        assert not any(it.mesh.active().values())


@needs_reload
@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_removing_the_last_experiment_really_stops_mirroring(kind: str, carrier: str) -> None:
    with Backend(answering) as backend, world(kind, carrier, target(backend.address)) as it:
        see(it.server, "unary_unary", SCENARIOS["answers"])
        backend.wait_for_calls(1)
        reload: Any = getattr(it.mesh, "reload")  # noqa: B009 (not there yet)
        reload(with_mirror(config(target(backend.address)).model_copy(update={"experiments": ()}), carrier=carrier))
        for arity in ARITIES:
            assert see(it.server, arity, SCENARIOS["answers"]).code is grpc.StatusCode.OK
        it.mesh.drain(5)
        assert len(backend.calls) == 1
        assert it.counted() == {"candidate": 1}

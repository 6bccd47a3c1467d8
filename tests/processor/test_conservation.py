"""Nothing gets lost unnoticed: exchanges sent = pairs that ended + what is known to be lost, for every target."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import grpc
import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricsData
from support.conservation import LossyExporter, counted, lost, paired, sent
from support.meshes import config, refusing_address, running_mesh, target
from support.resources import children, until
from support.servers import interceptor_of, live_server
from support.shadows import hanging
from support.traffic import Traffic
from support.worlds import with_mirror

from shadowmesh.build import Mesh
from shadowmesh.testing import Backend, ReceivedCall

CALLS, ROUNDS = 60, 6
TARGETS = {("x", "candidate"), ("x", "dead")}


def answering(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    yield b"".join(requests)


class Ends(NamedTuple):
    """What both ends say when all is at rest."""

    interceptor: MetricsData
    processor: MetricsData


@contextmanager
def lossy_world(kind: str, every: int) -> Iterator[Ends]:
    """Mirror calls to a target that answers and to one that is dead, through an exporter that loses exports."""
    exporter, reader = LossyExporter(every), InMemoryMetricReader()
    with Backend(answering) as backend, refusing_address() as dead:
        targets = target(backend.address), target(dead, "dead")
        settings = with_mirror(config(*targets), carrier="thread")
        mesh = Mesh(settings, span_exporter=exporter, metric_reader=reader)
        try:
            with live_server(kind, lambda: [interceptor_of(kind, mesh)]) as server:
                traffic = Traffic(server, clients=1)
                for _ in range(ROUNDS):
                    exports = exporter.exports
                    traffic.run(CALLS // ROUNDS)
                    assert until(lambda exports=exports: exporter.exports > exports)  # type: ignore[misc]
                assert traffic.failures == []
                mesh.drain(20.0)
                data = reader.get_metrics_data()
                assert data is not None
                yield Ends(data, counted(exporter.legs))
        finally:
            mesh.close(5.0)


@pytest.mark.parametrize("kind", ["sync", "aio"])
@pytest.mark.parametrize("every", [2, 3, 1_000_000])
def test_what_was_sent_has_ended_as_a_pair_or_is_known_to_be_lost(kind: str, every: int) -> None:
    with lossy_world(kind, every) as ends:
        outcomes, missed = paired(ends.processor), lost(ends.interceptor)
        assert sent(ends.interceptor) == dict.fromkeys(TARGETS, CALLS)
        for one in TARGETS:
            assert 0 < sum(outcomes[one].values()) == CALLS - missed.get(one, 0)
        assert (sum(missed.values()) > 0) is (every <= ROUNDS)


@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_what_a_killed_worker_had_in_hand_is_known_to_be_lost(kind: str) -> None:
    before, reader = children(), InMemoryMetricReader()
    with Backend(hanging, workers=2 * CALLS) as backend:
        settings = with_mirror(config(target(backend.address)))
        with (
            running_mesh(settings, "process", grace=0.0, metric_reader=reader) as (mesh, sink),
            live_server(kind, lambda: [interceptor_of(kind, mesh)]) as server,
        ):
            Traffic(server, clients=1).run(CALLS)
            backend.wait_for_calls(CALLS)
            (worker,) = set(children()) - set(before)
            os.kill(worker, signal.SIGKILL)
            assert until(lambda: not any(mesh.active().values()))
            mesh.drain(5.0)
            data = reader.get_metrics_data()
            assert data is not None
            outcomes = paired(counted(sink.legs())).get(("x", "candidate"), {})
            assert sent(data) == {("x", "candidate"): CALLS}
            assert lost(data)["x", "candidate"] == CALLS - sum(outcomes.values()) > 0

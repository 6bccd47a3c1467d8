"""10. A thousand calls against a dead, a hanging and a black-holed shadow leave the process as it was."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from support import peers
from support.meshes import config, target
from support.resources import resources, rss_bytes, until
from support.servers import interceptor_of, live_server
from support.traffic import Traffic
from support.worlds import WORLDS, unguarded, with_mirror

from shadowmesh.build import Mesh

WARM_UP, CALLS = 200, 1000
MOST_BYTES = 8 << 20
"""What a thousand calls may leave behind, allocators being what they are: one leaked call of 10 KB would be 10 MB."""


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_memory_descriptors_tasks_and_threads_are_where_they_were(kind: str, carrier: str) -> None:
    with ExitStack() as stack:
        targets = [
            unguarded(target(stack.enter_context(broken), name, deadline="200ms"))
            for name, broken in (
                ("dead", peers.refused()),
                ("hanging", peers.peer(peers.at_each_call(peers.hang))),
                ("black-holed", peers.black_hole()),
            )
        ]
        # No exporter: what a test collects would be what it measures.
        settings = with_mirror(config(*targets), carrier=carrier)
        mesh = stack.enter_context(Mesh(settings))
        server = stack.enter_context(live_server(kind, lambda: [interceptor_of(kind, mesh)]))
        traffic = Traffic(server, clients=4)

        def at_rest() -> bool:
            return not any(mesh.active().values()) and mesh.captured_bytes() == 0

        traffic.run(WARM_UP)
        assert until(at_rest)
        before, rss = resources(), rss_bytes()
        traffic.run(CALLS)
        assert traffic.failures == []
        assert until(at_rest)
        # Grpc ends its connection attempts and timers in threads of its own, a moment later.
        assert until(lambda: all(now <= then for now, then in zip(resources(), before, strict=True))), (
            f"{before} became {resources()}"
        )
        assert rss_bytes() - rss < MOST_BYTES
        counts: dict[str, int] = {}
        for key, count in mesh.funnel().items():
            counts[key.target] = counts.get(key.target, 0) + count
        assert counts == dict.fromkeys(("dead", "hanging", "black-holed"), WARM_UP + CALLS)
        mesh.drain(1)

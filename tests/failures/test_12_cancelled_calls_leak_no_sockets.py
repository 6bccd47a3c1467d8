"""12. Cancelled batches, and channels closed while they read, leak neither sockets nor tasks nor threads."""

from __future__ import annotations

import pytest
from support import peers
from support.calls import ARITIES, SCENARIOS, see
from support.meshes import target
from support.resources import Resources, resources, until
from support.shadows import hanging
from support.worlds import WORLDS, world

from shadowmesh.testing import Backend

ROUNDS = 4


def one_round(kind: str, carrier: str) -> None:
    """Close channels in every state: with calls that hang, that stream, that wait for a connection."""
    with Backend(hanging, workers=16) as backend, peers.black_hole() as hole, peers.stopped_peer() as deaf:
        targets = (target(backend.address, "hanging"), target(hole, "hole"), target(deaf, "deaf"))
        with world(kind, carrier, *targets) as it:
            for arity in ARITIES:
                see(it.server, arity, SCENARIOS["echoes the request stream"])
            backend.wait_for_calls(len(ARITIES))


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_meshes_that_were_cut_short_leave_no_socket_task_or_thread(kind: str, carrier: str) -> None:
    one_round(kind, carrier)
    before = resources()
    for _ in range(ROUNDS):
        one_round(kind, carrier)

    def as_before(now: Resources) -> bool:
        return all(left <= then for left, then in zip(now, before, strict=True))

    assert until(lambda: as_before(resources())), f"{before} became {resources()}"

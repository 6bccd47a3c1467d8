"""19. What calls back when a leg, its mesh or its loop is gone finds nothing to break."""

from __future__ import annotations

import logging
from typing import Any

import grpc
import pytest
from support.calls import ARITIES, SCENARIOS, see
from support.meshes import config, running_mesh, target
from support.scripts import script
from support.servers import interceptor_of, live_server
from support.shadows import answering, hanging
from support.worlds import WORLDS, Conversation, world

from shadowmesh.names import Decision
from shadowmesh.testing import Backend


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_a_live_call_outlives_the_mesh_that_mirrors_it(kind: str, carrier: str) -> None:
    with Backend(answering) as backend, world(kind, carrier, target(backend.address)) as it:
        conversation = Conversation(it.server, 20)
        for number in range(10):
            assert conversation.say(b"%d" % number) == b"read %d" % number
        backend.wait_for_calls(1)
        it.mesh.close(0)
        for number in range(10):
            assert conversation.say(b"%d" % number) == b"read %d" % number
        assert conversation.end() is grpc.StatusCode.OK
        # Nothing is mirrored any more, and nothing is owed.
        assert see(it.server, "unary_unary", SCENARIOS["answers"]).code is grpc.StatusCode.OK
        assert it.counted() == {"candidate": 1}
        assert set(it.mesh.active().values()) == {0}


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_a_server_and_its_loop_may_go_while_shadows_are_in_flight(
    kind: str, carrier: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With the carrier ``loop`` the mirror's loop is closed under it; whatever hangs is recorded as cut."""
    caplog.set_level(logging.WARNING)
    with (
        Backend(hanging, workers=16) as backend,
        running_mesh(config(target(backend.address)), carrier, grace=0.0) as (mesh, sink),
    ):
        with live_server(kind, lambda: [interceptor_of(kind, mesh)]) as server:
            for arity in ARITIES:
                see(server, arity, SCENARIOS["answers"])
            backend.wait_for_calls(len(ARITIES))
        mesh.drain(0)
        assert len(sink.wait_for_legs(2 * len(ARITIES))) == 2 * len(ARITIES)
        assert set(mesh.active().values()) == {0}
        assert {key.decision for key in mesh.funnel()} == {Decision.MIRRORED}
    # What is left of a closed loop's calls, grpc's own poller tells whatever loop there is.
    said = [caplog.handler.format(one) for one in caplog.records if "PollerCompletionQueue" not in one.getMessage()]
    assert not [one for one in said if "loop is closed" in one.lower() or "never retrieved" in one]


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_late_words_of_a_backend_whose_shadow_was_cut_reach_nobody(kind: str, carrier: str) -> None:
    with Backend(hanging) as backend, world(kind, carrier, target(backend.address)) as it:
        call: Any = it.server.call("unary_stream")(script(["send", "one"], ["wait"]), timeout=20)
        assert next(call) == b"one"
        backend.wait_for_calls(1)
        it.mesh.drain(0)
        legs = it.sink.wait_for_legs(2)
        # The live call ends after its legs were recorded: they stay as they are.
        call.cancel()
        it.server.log.wait_for("ended")
        it.mesh.drain(0)
        assert it.sink.legs() == legs

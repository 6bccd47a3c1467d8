"""5. An error or a cancel inside the copy path leaves the body of the live call usable."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from support.calls import ARITIES, SCENARIOS, see
from support.faulty import PARTS, faulty
from support.meshes import config, target
from support.servers import interceptor_of, live_server
from support.shadows import SCRIPTS
from support.worlds import LIVE, WORLDS, Conversation, world

from shadowmesh.build import Mesh
from shadowmesh.names import CallEnd
from shadowmesh.testing import Backend, ReceivedCall, SpanSink

IN_PROCESS = [(kind, carrier) for kind, carrier in WORLDS if carrier in ("loop", "thread")]


@pytest.mark.parametrize("part", [part for part in PARTS if part.startswith("offer")])
@pytest.mark.parametrize(("kind", "carrier"), IN_PROCESS)
def test_a_hand_over_that_raises_takes_no_message_from_the_live_call(kind: str, carrier: str, part: str) -> None:
    with live_server(kind) as bare:
        expected = [see(bare, arity, SCENARIOS["echoes the request stream"]) for arity in ARITIES]
    with Backend(SCRIPTS["answering"]) as backend:
        mesh = Mesh(config(target(backend.address)), span_exporter=SpanSink(), make_carrier=faulty(carrier, part))
        with live_server(kind, lambda: [interceptor_of(kind, mesh)]) as server:
            assert [see(server, arity, SCENARIOS["echoes the request stream"]) for arity in ARITIES] == expected
            conversation = Conversation(server, 200)
            for number in range(200):
                assert conversation.say(b"%d" % number) == b"read %d" % number
            assert conversation.end() is grpc.StatusCode.OK
            mesh.drain(0)
        assert any("RuntimeError" in cause for cause in mesh.faults())
        mesh.close(0)


@pytest.mark.parametrize("name", ["resetting", "erroring"])
@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_a_shadow_that_ends_in_the_middle_of_the_requests_takes_none_from_the_live_call(
    kind: str, carrier: str, name: str
) -> None:
    with Backend(SCRIPTS[name]) as backend, world(kind, carrier, target(backend.address)) as it:
        conversation = Conversation(it.server, 10)
        assert conversation.say(b"before") == b"read before"
        assert backend.wait_for_calls(1)[0].ended.wait(20)
        for number in range(9):
            assert conversation.say(b"%d" % number) == b"read %d" % number
        assert conversation.end() is grpc.StatusCode.OK
        legs = it.settle(1, grace=5)
        assert legs[LIVE][0].status == "OK"
        assert legs["candidate"][0].status == {"resetting": "CANCELLED", "erroring": "INTERNAL"}[name]
        assert legs["candidate"][0].end == CallEnd.COMPLETED


def flooding(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    for _ in range(200):
        yield b"x" * 100_000


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_a_shadow_that_answers_far_more_than_it_was_asked_changes_nothing_and_is_not_kept(
    kind: str, carrier: str
) -> None:
    with Backend(flooding) as backend, world(kind, carrier, target(backend.address)) as it:
        assert see(it.server, "unary_stream", SCENARIOS["answers"]).messages == (b"one", b"two", b"three")
        legs = it.settle(1, grace=10)
        assert (legs["candidate"][0].message_count, legs["candidate"][0].status) == (200, "OK")

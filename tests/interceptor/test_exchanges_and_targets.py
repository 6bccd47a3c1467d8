"""Several exchanges on one call, and several targets for one exchange."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from support.conversations import Conversation, answer, converse
from support.meshes import CARRIERS, config, refusing_address, running_mesh, target
from support.scripts import script
from support.servers import interceptor_of, live_server
from support.shadows import answering

from shadowmesh.names import Decision, Role
from shadowmesh.policy.funnel import FunnelKey
from shadowmesh.schema.messages import GenerateRequest
from shadowmesh.testing import Backend, ReceivedCall

PLAIN = [pair for pair in CARRIERS if pair[0] in ("sync", "aio")]


def shadow(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    """Answer in the same way, but the second exchange with another text, and never finish the third."""
    for number, data in enumerate(requests):
        request = GenerateRequest.FromString(data)
        if number == 1:
            request.prompt = "something else"
        deltas = answer(request)
        for delta in deltas[:-1] if number == 2 else deltas:
            yield delta.SerializeToString()


@pytest.mark.parametrize(("kind", "carrier"), PLAIN)
def test_a_stream_of_three_exchanges_has_three_pairs(kind: str, carrier: str) -> None:
    with Backend(shadow) as backend:
        settings = config(target(backend.address), output_digest=True)
        with running_mesh(settings, carrier) as (mesh, sink):
            with live_server(kind, lambda: [interceptor_of(kind, mesh)], handler=Conversation(kind)) as server:
                assert len(converse(server, 3)) == 12
                mesh.drain(10)
            legs = sink.legs()
            assert mesh.faults() == {}
            assert mesh.funnel() == {FunnelKey("x", "candidate", Decision.MIRRORED, ""): 3}
    live = {leg.exchange_index: leg for leg in legs if leg.role == Role.LIVE}
    shadows = {leg.exchange_index: leg for leg in legs if leg.role == Role.SHADOW}
    assert set(live) == set(shadows) == {0, 1, 2}
    assert len({leg.pair_id for leg in legs}) == 3
    assert all(live[index].pair_id == shadows[index].pair_id for index in live)
    assert {leg.fields.output_tokens for leg in live.values()} == {3}
    assert {leg.message_count for leg in live.values()} == {4}
    assert all(leg.status == "OK" and leg.complete for leg in live.values())
    assert live[0].output_digest == shadows[0].output_digest
    assert live[1].output_digest != shadows[1].output_digest
    assert not shadows[2].complete


@pytest.mark.parametrize(("kind", "carrier"), PLAIN)
def test_every_target_of_an_exchange_has_its_leg_and_a_broken_one_hurts_no_other(kind: str, carrier: str) -> None:
    with Backend(answering) as candidate, Backend(answering) as control, refusing_address() as nobody:
        settings = config(
            target(candidate.address, "candidate"),
            target(control.address, "control", kind="control"),
            target(nobody, "broken"),
            target(candidate.address, "never", rate=0.0),
        )
        with running_mesh(settings, carrier) as (mesh, sink):
            with live_server(kind, lambda: [interceptor_of(kind, mesh)]) as server:
                assert server.call("unary_unary")(script(["send", "x"]), timeout=20) == b"x"
                mesh.drain(10)
            legs = sink.legs()
            assert mesh.funnel() == {
                FunnelKey("x", "candidate", Decision.MIRRORED, ""): 1,
                FunnelKey("x", "control", Decision.MIRRORED, ""): 1,
                FunnelKey("x", "broken", Decision.MIRRORED, ""): 1,
                FunnelKey("x", "never", Decision.NOT_SAMPLED, ""): 1,
            }
    assert {leg.leg_count for leg in legs} == {4}
    assert len({(leg.trace_id, leg.pair_id, leg.parent_span_id) for leg in legs}) == 1
    live = next(leg for leg in legs if leg.role == Role.LIVE)
    assert live.expected_targets == ("candidate", "control", "broken")
    assert {(leg.target, leg.target_kind, leg.status) for leg in legs if leg.role == Role.SHADOW} == {
        ("candidate", "candidate", "OK"),
        ("control", "control", "OK"),
        ("broken", "candidate", "UNAVAILABLE"),
    }

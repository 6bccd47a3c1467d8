"""Several exchanges on one call, and several targets for one exchange."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
from support.meshes import CARRIERS, config, refusing_address, running_mesh, target
from support.scripts import script
from support.servers import interceptor_of, is_aio, live_server
from support.shadows import answering

from shadowmesh.names import Decision, Role
from shadowmesh.policy.live_gate import FunnelKey
from shadowmesh.schema.messages import FINISH_REASON_STOP, GenerateDelta, GenerateRequest, Usage
from shadowmesh.testing import Backend, ReceivedCall

CONVERSE = "/shadowmesh.v1.Inference/Converse"
PLAIN = [pair for pair in CARRIERS if pair[0] in ("sync", "aio")]


def answer(request: GenerateRequest) -> list[GenerateDelta]:
    words = request.prompt.split()
    deltas = [GenerateDelta(request_id=request.request_id, delta=word) for word in words]
    usage = Usage(input_tokens=1, output_tokens=len(words))
    last = GenerateDelta(request_id=request.request_id, finish_reason=FINISH_REASON_STOP, usage=usage)
    return [*deltas, last]


class Conversation(grpc.GenericRpcHandler):
    """Answers every request of a stream as it comes."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        def sync(requests: Iterator[GenerateRequest], context: Any) -> Iterator[GenerateDelta]:
            for request in requests:
                yield from answer(request)

        async def aio(requests: AsyncIterator[GenerateRequest], context: Any) -> AsyncIterator[GenerateDelta]:
            async for request in requests:
                for delta in answer(request):
                    yield delta

        return grpc.stream_stream_rpc_method_handler(
            aio if is_aio(self._kind) else sync,
            request_deserializer=GenerateRequest.FromString,
            response_serializer=GenerateDelta.SerializeToString,
        )


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
                requests = [GenerateRequest(request_id=f"r{number}", prompt="a b c") for number in range(3)]
                converse: Any = server.channel.stream_stream(
                    CONVERSE, GenerateRequest.SerializeToString, GenerateDelta.FromString
                )
                answers = list(converse(iter(requests), timeout=20))
                assert len(answers) == 12
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

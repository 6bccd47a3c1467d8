"""What a proxy mirrors: services nobody has described as raw bytes, gRPC's own only when named, and no shadow."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from support.meshes import config, target
from support.servers import PROXY
from support.worlds import LIVE, world

from shadowmesh.names import META_INSTANCE, META_ROLE, Decision, DropReason
from shadowmesh.testing import Backend, echo

ASK = "/acme.Models/Ask"
OWN = ("/grpc.health.v1.Health/Check", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
NOT_UTF8 = b"\xff\x00\xfe" * 10


class Echo(grpc.GenericRpcHandler):
    """Answers every message of every method with itself."""

    def service(self, handler_call_details: Any) -> Any:
        return grpc.stream_stream_rpc_method_handler(self._echo)

    async def _echo(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for message in requests:
            yield message


def ask(channel: grpc.Channel, method: str, request: bytes = NOT_UTF8) -> bytes:
    call: Any = channel.unary_unary(method)
    answer: bytes = call(request, timeout=20)
    return answer


def test_a_service_that_nobody_has_described_is_mirrored_as_raw_bytes() -> None:
    digested: dict[str, Any] = {"output_digest": True}
    with Backend(echo) as shadow, world(PROXY, "loop", target(shadow.address), handler=Echo(), **digested) as it:
        assert ask(it.server.channel, ASK) == NOT_UTF8
        (call,) = shadow.wait_for_calls(1)
        assert call.ended.wait(20)
        legs = it.settle(1, grace=10.0)
    assert (call.method, call.requests) == (ASK, [NOT_UTF8])
    (live,), (other,) = legs[LIVE], legs["candidate"]
    assert live.output_digest == other.output_digest is not None
    assert live.fields.request_model is None


@pytest.mark.parametrize("named", [False, True])
def test_health_and_reflection_are_mirrored_only_when_named(named: bool) -> None:
    more: dict[str, Any] = {"methods": OWN} if named else {}
    with Backend(echo) as shadow, world(PROXY, "loop", target(shadow.address), handler=Echo(), **more) as it:
        for method in OWN:
            assert ask(it.server.channel, method, b"") == b""
        if named:
            assert {call.method for call in shadow.wait_for_calls(len(OWN))} == set(OWN)
        it.mesh.drain(10.0)
        assert it.counted() == ({"candidate": len(OWN)} if named else {})
    assert len(shadow.calls) == (len(OWN) if named else 0)


def test_two_proxies_that_mirror_to_each_other_copy_a_call_once() -> None:
    nowhere = target("127.0.0.1:1")
    with world(PROXY, "loop", nowhere, handler=Echo()) as one, world(PROXY, "loop", nowhere, handler=Echo()) as other:
        for it, to in ((one, other), (other, one)):
            it.mesh.reload(config(target(f"127.0.0.1:{to.server.port}")))
        assert ask(one.server.channel, ASK) == NOT_UTF8
        one.mesh.drain(10.0)
        other.mesh.drain(10.0)
        assert one.decided() == {(Decision.MIRRORED, ""): 1}
        assert other.decided() == {(Decision.DISABLED, DropReason.MARKED): 1}


@pytest.mark.parametrize("trusted", [True, False])
def test_a_marker_that_a_client_sends_counts_only_where_it_is_trusted_and_reaches_no_shadow(trusted: bool) -> None:
    forged = ((META_ROLE, "shadow"), (META_INSTANCE, "forged"))
    more: dict[str, Any] = {"trust_marker": trusted}
    with Backend(echo) as shadow, world(PROXY, "loop", target(shadow.address), handler=Echo(), **more) as it:
        call: Any = it.server.channel.unary_unary(ASK)
        assert call(NOT_UTF8, timeout=20, metadata=forged) == NOT_UTF8
        it.mesh.drain(10.0)
        assert it.decided() == (
            {(Decision.DISABLED, DropReason.MARKED): 1} if trusted else {(Decision.MIRRORED, ""): 1}
        )
    for one in shadow.calls:
        assert [value for key, value in one.metadata if key == META_ROLE] == ["shadow"]
        # Whoever it came through is known by it, so that what goes round ends.
        assert next(value for key, value in one.metadata if key == META_INSTANCE) == "forged"
    assert len(shadow.calls) == (not trusted)

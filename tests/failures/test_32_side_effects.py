"""32. Side effects: what may act in the world is not mirrored unless that is said, and then without its tools."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from typing import Any

import grpc
import pytest
from support.experiments import CONVERSE, GENERATE
from support.meshes import CARRIERS, config, running_mesh, target
from support.servers import interceptor_of, is_aio, live_server
from support.wire import last_delta, request

from shadowmesh.names import CallEnd, Decision, Role
from shadowmesh.schema import messages
from shadowmesh.testing import Backend, echo

TOOLS: Any = [messages.Tool(name="pay"), messages.Tool(name="search")]
ARITIES = {GENERATE: "unary_unary", CONVERSE: "stream_stream", "/acme.Admin/UnloadModel": "unary_unary"}


class Model(grpc.GenericRpcHandler):
    """Answers every request with its last delta, whatever the method, in either colour."""

    def __init__(self, *, aio: bool) -> None:
        self._aio = aio

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        arity = ARITIES[str(handler_call_details.method)]
        make: Any = getattr(grpc, f"{arity}_rpc_method_handler")
        return make(getattr(self, f"{'aio' if self._aio else 'sync'}_{arity}"))

    def sync_unary_unary(self, data: bytes, context: object) -> bytes:
        return last_delta("done")

    def sync_stream_stream(self, requests: Any, context: object) -> Any:
        for _ in requests:
            yield last_delta("done")

    async def aio_unary_unary(self, data: bytes, context: object) -> bytes:
        return last_delta("done")

    async def aio_stream_stream(self, requests: Any, context: object) -> Any:
        async for _ in requests:
            yield last_delta("done")


@pytest.mark.parametrize(("kind", "carrier"), CARRIERS)
def test_each_target_gets_what_it_may_have_and_every_exchange_is_accounted_for(kind: str, carrier: str) -> None:
    with ExitStack() as stack:
        careful, dropping, stubbed = (stack.enter_context(Backend(echo)) for _ in range(3))
        settings = config(
            target(careful.address, "careful"),
            target(dropping.address, "dropping", allow_unsafe=[GENERATE, CONVERSE]),
            target(stubbed.address, "stubbed", allow_unsafe=["*"], stubs={"search": "nothing"}),
        )
        mesh, sink = stack.enter_context(running_mesh(settings, carrier))
        server = stack.enter_context(
            live_server(kind, lambda: [interceptor_of(kind, mesh)], handler=Model(aio=is_aio(kind)))
        )
        calls = 0
        for method, arity in ARITIES.items():
            for offered in (TOOLS[:0], TOOLS):
                call: Any = getattr(server.channel, arity)(method)
                data = request("r", prompt="p", tools=offered)
                if arity == "unary_unary":
                    call(data, timeout=20)
                else:
                    assert list(call(iter([data]), timeout=20))
                calls += 1
        sink.wait_for_legs(4 * calls)
        mesh.drain(10)
        shadows = [leg for leg in sink.legs() if leg.role == Role.SHADOW]
        funnel = mesh.funnel()
        assert (mesh.faults(), mesh.captured_bytes(), set(mesh.active().values())) == ({}, 0, {0})
    plain, search = request("r", prompt="p"), request("r", prompt="p", tools=TOOLS[1:])
    received = {
        name: Counter((call.method, data) for call in backend.calls for data in call.requests)
        for name, backend in (("careful", careful), ("dropping", dropping), ("stubbed", stubbed))
    }
    assert received["careful"] == {(GENERATE, plain): 1, (CONVERSE, plain): 1}
    assert received["dropping"] == {(GENERATE, plain): 2, (CONVERSE, plain): 2}
    # Nobody can read the tools of a method without a map: who allows it, allows it as it is.
    both = {("/acme.Admin/UnloadModel", data): 1 for data in (plain, request("r", prompt="p", tools=TOOLS))}
    assert received["stubbed"] == {(m, data): 1 for m in (GENERATE, CONVERSE) for data in (plain, search)} | both
    shed = Counter(leg.target for leg in shadows if (leg.end, leg.drop_reason) == (CallEnd.SHED, "unsafe"))
    assert shed == {"careful": 4, "dropping": 2}
    assert {key.decision for key in funnel} == {Decision.MIRRORED}
    assert Counter(leg.target for leg in shadows) == {key.target: count for key, count in funnel.items()}

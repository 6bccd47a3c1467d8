"""Calls by the protocols' own clients to their own servers: what is read is what these said, and nobody notices."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
from support.dialects.spoken import SERVER_STREAM, Spoken
from support.meshes import target
from support.published import SERVICES, Heard, client_of, speaking
from support.servers import PROXY, is_aio, live_server
from support.worlds import LIVE, world

from shadowmesh.catalog.builtin import builtin
from shadowmesh.model import Cost, Fields
from shadowmesh.testing import Backend, ReceivedCall

SPEAKING = dict(speaking())
TRAILERS = (("x-engine", "e-1"),)


def server_of(spoken: Spoken, *, aio: bool) -> grpc.GenericRpcHandler:
    """Return the protocol's own server, which answers as it is told."""
    service, _, name = spoken.method[1:].partition("/")
    said = spoken.live

    def one(request: Any, context: Any) -> Any:
        context.set_trailing_metadata(TRAILERS)
        if said.status != "OK":
            context.abort(grpc.StatusCode[said.status], "as told")
        return said.messages[0]

    def many(request: Any, context: Any) -> Iterator[Any]:
        context.set_trailing_metadata(TRAILERS)
        yield from said.messages
        if said.status != "OK":
            context.abort(grpc.StatusCode[said.status], "as told")

    async def aio_one(request: Any, context: Any) -> Any:
        context.set_trailing_metadata(TRAILERS)
        if said.status != "OK":
            await context.abort(grpc.StatusCode[said.status], "as told")
        return said.messages[0]

    async def aio_many(request: Any, context: Any) -> AsyncIterator[Any]:
        context.set_trailing_metadata(TRAILERS)
        for message in said.messages:
            yield message
        if said.status != "OK":
            await context.abort(grpc.StatusCode[said.status], "as told")

    streams = spoken.arity == SERVER_STREAM
    behaviour: Any = (aio_many if streams else aio_one) if aio else (many if streams else one)
    return SERVICES[service].handlers({name: behaviour})


def shadow_of(spoken: Spoken) -> Any:
    def answer(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        list(requests)
        for message in spoken.shadow.messages:
            yield message.SerializeToString()
        if spoken.shadow.status != "OK":
            context.abort(grpc.StatusCode[spoken.shadow.status], "as told")

    return answer


def alone(spoken: Spoken) -> Heard:
    with live_server("sync", handler=server_of(spoken, aio=False)) as server:
        return client_of(spoken, server.channel)


@pytest.mark.parametrize("kind", ["sync", "aio", PROXY])
@pytest.mark.parametrize("name", sorted(SPEAKING))
def test_both_legs_have_what_was_said_and_the_client_hears_what_it_would_without_us(name: str, kind: str) -> None:
    spoken = SPEAKING[name]
    settings: dict[str, Any] = {"protocol": spoken.protocol, "output_digest": True, "methods": (spoken.method,)}
    with (
        Backend(shadow_of(spoken)) as backend,
        world(
            kind,
            "thread" if kind == "sync" else "loop",
            target(backend.address),
            handler=server_of(spoken, aio=is_aio(kind)),
            **settings,
        ) as running,
    ):
        heard = client_of(spoken, running.server.channel)
        legs = running.settle(1, grace=20.0)
    assert heard == alone(spoken)
    assert heard.status == spoken.status
    assert set(TRAILERS) <= set(heard.trailers)
    (live,), (shadow,) = legs[LIVE], legs["candidate"]
    assert live.fields == Fields(**spoken.asked[0], **spoken.answered[0])
    assert shadow.fields == Fields(**spoken.asked[0], **spoken.answered_by_shadow[0])
    assert (live.status, shadow.status) == (spoken.status, spoken.status_of_shadow)
    assert (live.output_digest == shadow.output_digest) is spoken.alike
    dollars = None if spoken.costs is None else Cost(amount=spoken.costs, currency="USD", source="provider")
    assert live.cost == dollars


def test_every_mapped_method_of_a_published_service_is_called() -> None:
    mapped = {method for maps in builtin().protocols.values() for method in maps}
    services = {method for method in mapped if method[1:].partition("/")[0] in SERVICES}
    assert {spoken.method for spoken in SPEAKING.values()} == services

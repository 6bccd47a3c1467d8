"""A live server of one protocol, mirrored to a shadow that speaks another one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import grpc
from google.protobuf.message import Message
from opentelemetry.sdk.trace import ReadableSpan
from support.dialects.spoken import BIDI, UNARY, Said, Server
from support.meshes import target
from support.worlds import LIVE, World, world

from shadowmesh.model import Leg
from shadowmesh.testing import Backend, ReceivedCall


class Asked(NamedTuple):
    """A call to a live server: in which protocol, what, and what that answers."""

    protocol: str
    method: str
    arity: str
    requests: Sequence[Message]
    answer: Said


class Mirrored(NamedTuple):
    """What came of a call: its legs, in the order of its exchanges, and what the shadow's server was asked."""

    live: list[Leg]
    shadow: list[Leg]
    received: list[ReceivedCall]
    faults: dict[str, int]
    heard: list[bytes]
    spans: list[ReadableSpan]


def mirrored(
    kind: str,
    carrier: str,
    asked: Asked,
    answer: Said,
    translate: dict[str, Any],
    *,
    exchanges: int = 1,
    policy: dict[str, Any] | None = None,
    **more: Any,
) -> Mirrored:
    """Make the call; the shadow's server answers every call with ``answer``."""

    def shadow(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        list(requests)
        yield from (message.SerializeToString() for message in answer.messages)

    settings = {"protocol": asked.protocol, "output_digest": True, "methods": (asked.method,), **more}
    with Backend(shadow) as backend:
        candidate = target(backend.address, translate=translate, **(policy or {}))
        with world(kind, carrier, candidate, handler=Server(kind, asked.arity, asked.answer), **settings) as running:
            heard = _call(running, asked)
            legs = running.settle(exchanges, grace=20.0)
            faults, spans = running.mesh.faults(), running.sink.spans
            return Mirrored(legs[LIVE], legs["candidate"], list(backend.calls), faults, heard, spans)


def _call(running: World, asked: Asked) -> list[bytes]:
    requests = [request.SerializeToString() for request in asked.requests]
    multicallable = getattr(running.server.channel, asked.arity)(asked.method)
    heard: list[bytes] = []
    with suppress(grpc.RpcError):
        answer = multicallable(iter(requests) if asked.arity == BIDI else requests[0], timeout=20)
        heard.extend([answer] if asked.arity == UNARY else answer)
    return heard

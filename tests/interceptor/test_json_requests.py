"""A request that is JSON in a field reaches a shadow with another model and another id, and is else what it was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.dialects.spoken import SERVER_STREAM, Said, Server, view
from support.meshes import target
from support.worlds import WORLDS, world

from shadowmesh.protocols import wire
from shadowmesh.testing import Backend, ReceivedCall

CHAT = "/sglang.runtime.v1.SglangService/ChatComplete"
# As no program writes it.
ASKED = (
    '{ "messages":[{"role" :"user","content":"\\u0061"}], "temperature":0.50,\n"model": "live",  "rid": "r", "n":1E0}'
)
ANSWER = view("sglang.OpenAiChunk", json_chunk=b'{"choices":[{"index":0,"delta":{"content":"four"}}]}', finished=True)
HEADERS = wire.field(2, b"\x0a\x01a\x12\x01b")


def answering(call: ReceivedCall, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
    list(requests)
    yield ANSWER.SerializeToString()


def sent(text: str) -> bytes:
    return HEADERS + wire.field(1, text.encode())


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_the_model_and_the_id_are_changed_in_the_text_of_the_json(kind: str, carrier: str) -> None:
    settings: dict[str, Any] = {"methods": (CHAT,), "protocol": "sglang", "output_digest": True}
    with Backend(answering) as backend:
        candidate = target(backend.address, transform={"model": "candidate", "max_tokens": 4})
        handler = Server(kind, SERVER_STREAM, Said([ANSWER]))
        with world(kind, carrier, candidate, handler=handler, **settings) as it:
            ask: Any = it.server.channel.unary_stream(CHAT)
            assert list(ask(sent(ASKED), timeout=20)) == [ANSWER.SerializeToString()]
            legs = it.settle(1, grace=20.0)
            assert it.mesh.faults() == {}
    ((live,), (shadow,)) = legs.values()
    own = f"shadow-candidate-{shadow.pair_id}"
    meant = ASKED.replace('"live"', '"candidate"').replace('"rid": "r"', f'"rid": "{own}"')
    (call,) = backend.calls
    assert call.requests == [sent(meant[:-1] + ',"max_completion_tokens":4}')]
    assert (live.fields.request_model, shadow.fields.request_model) == ("live", "candidate")
    assert (live.fields.max_tokens, shadow.fields.max_tokens) == (None, 4)
    assert live.output_digest == shadow.output_digest is not None

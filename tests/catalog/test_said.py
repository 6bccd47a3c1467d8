"""What each protocol's requests and answers say, as messages: prompts, conversations, and outputs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf.message import Message
from support.dialects import CALLS
from support.dialects.spoken import view

from shadowmesh.catalog.builtin import builtin
from shadowmesh.protocols.content import read_input, read_instructions, read_output
from shadowmesh.protocols.messages import Answer, Requests
from shadowmesh.protocols.protocol_map import MethodMap

WHOLE = 1 << 20
LOOKED: dict[str, Any] = {"type": "tool_call", "id": "c", "name": "look", "arguments": "{}"}


def text(content: str) -> dict[str, Any]:
    return {"type": "text", "content": content}


def result(response: str, identity: str = "c") -> dict[str, Any]:
    return {"type": "tool_call_response", "id": identity, "response": response}


def said(*messages: tuple[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [{"role": role, "parts": parts} for role, parts in messages]


HELLO = said(("user", [text("hello")]))
TALK = said(
    ("system", [text("be brief")]),
    ("user", [text("hello"), text("there")]),
    ("assistant", [text("hm"), LOOKED]),
    ("tool", [result("sun")]),
)
JSON_TALK = said(
    ("system", [text("be brief")]),
    ("user", [text("hello"), text("there")]),
    ("assistant", [LOOKED]),
    ("tool", [result("sun")]),
)
GEMINI_TALK = said(
    ("user", [text("hello"), text("there")]),
    ("assistant", [text("hm"), LOOKED | {"id": "", "arguments": '{"at":"home"}'}]),
    ("user", [result('{"sky":"sun"}', "")]),
)
SAID: dict[str, list[dict[str, Any]]] = {
    "shadowmesh: a call": said(
        ("system", [text("be brief")]),
        ("user", [text("hello")]),
        ("assistant", [LOOKED | {"arguments": '{"at":"home"}'}]),
        ("tool", [result("sun")]),
    ),
    "shadowmesh: conversations": HELLO + HELLO,
    "shadowmesh: documents": [],
    "xai: plain": HELLO,
    "xai": TALK,
    "google: an embedding": [],
    "google: calls": GEMINI_TALK,
    "vertex: calls": GEMINI_TALK,
    "sglang: a conversation": JSON_TALK,
    "sglang: conversations": JSON_TALK,
    "sglang: a call": JSON_TALK,
    "sglang: an error in JSON, of a completion": HELLO,
    "sglang: an error": JSON_TALK,
    # Ids, and no text that they stand for.
    "sglang: all the ids": [],
    "sglang: an embedding": [],
    "tgis: a batch": said(("user", [text("hello")]), ("user", [text("bye")])),
    "oip_triton: two requests": HELLO + HELLO,
    "oip_triton: requests without ids": HELLO + HELLO,
    "oip_dynamo: two requests": HELLO + HELLO,
    "sglang_smg: an embedding": [],
    "vllm_smg: an embedding": [],
    "trtllm: an embedding": [],
    "tei": [],
}
"""By the beginning of a call's name, what was asked other than ``hello``."""


def mapped(name: str) -> MethodMap:
    spoken = CALLS[name]
    return builtin().protocols[spoken.protocol][spoken.method]


def answered(name: str, answers: Sequence[Message]) -> list[dict[str, Any]]:
    found = read_output(Answer(mapped(name), [answer.SerializeToString() for answer in answers]), "unknown", WHOLE)
    assert found is not None
    return found.items


@pytest.mark.parametrize("name", sorted(CALLS))
def test_what_was_asked_is_read(name: str) -> None:
    requests = [message.SerializeToString() for message in CALLS[name].requests]
    found = read_input(Requests(mapped(name), requests), WHOLE)
    assert found.items == next((other for begin, other in SAID.items() if name.startswith(begin)), HELLO)
    instructions = read_instructions(Requests(mapped(name), requests), WHOLE).items
    assert instructions == ([text("be brief")] if ": calls of tools" in name else [])


@pytest.mark.parametrize(
    ("name", "outputs"),
    [
        ("tgis: a batch", [("stop", ["four"]), ("stop", ["x"])]),
        ("oip_triton: several outputs", [("stop", ["ac"]), ("length", ["b"])]),
        ("xai: outputs in one message, and what they cost", [("stop", ["ac", "look"]), ("length", ["bd"])]),
        ("sglang: a call of a tool in pieces", [("tool_calls", ["look"])]),
        ("vllm: outputs side by side", [("unknown", ["ac"]), ("unknown", ["bd"])]),
    ],
)
def test_each_output_is_a_message_with_its_own_end(name: str, outputs: list[tuple[str, list[str]]]) -> None:
    read = [
        (message["finish_reason"], [part.get("name", part.get("content")) for part in message["parts"]])
        for message in answered(name, CALLS[name].live.messages)
    ]
    assert read == outputs


def test_arguments_in_pieces_are_put_together() -> None:
    name = "sglang: a call of a tool in pieces"
    (message,) = answered(name, CALLS[name].live.messages)
    assert message["parts"] == [LOOKED | {"arguments": '{"at":"home"}'}]


def test_half_a_character_in_json_is_replaced_and_raises_nowhere() -> None:
    name = "sglang: a conversation in JSON"
    asked = view("sglang.OpenAiRequest", json_body=b'{"messages": [{"role": "user", "content": "\\ud83d"}]}')
    assert read_input(Requests(mapped(name), [asked.SerializeToString()]), WHOLE).items == said(("user", [text("?")]))
    chunk = view("sglang.OpenAiChunk", json_chunk=b'{"choices": [{"delta": {"content": "\\ud83d"}}]}')
    (message,) = answered(name, [chunk])
    assert message["parts"] == [text("?")]

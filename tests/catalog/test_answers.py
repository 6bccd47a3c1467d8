"""What is compared of every answer: its text or ids, each output by itself, calls of tools, and no thoughts."""

from __future__ import annotations

import pytest
from support.dialects import CALLS

from shadowmesh.catalog.builtin import builtin
from shadowmesh.protocols.exchanges import split
from shadowmesh.protocols.messages import Answer
from shadowmesh.protocols.reading import joined, read_output

FOUR = [("four",)]
LOOK = ("", "look", '{"at":"home"}')
"""An answer without text that calls a tool."""
OTHERS: dict[str, list[tuple[str, ...] | None]] = {
    "shadowmesh: a call": [LOOK],
    "shadowmesh: conversations": [("four",), ("seven",)],
    "shadowmesh: documents": [None],
    "oip_triton: token ids": [("", "7 8")],
    "oip_dynamo: two requests": [("four",), ("seven",)],
    "vllm_smg: a shadow": [("7 8 9",)],
    "sglang_smg: a stream": [("7",)],
    "trtllm: a stream": [("7",)],
    "trtllm: a shadow": [("7 8 9",)],
    "tokenspeed: a stream": [("7",)],
    "tokenspeed: a shadow": [("7 8 9",)],
    "mlx: a stream": [("7",)],
    "mlx: a shadow": [("7 8 9",)],
    "tei: a vector": [None],
    "oip_triton: several": [("ac", "b")],
    "oip_mlserver: several": [("ac", "b")],
    "oip_kserve: several": [("ac", "b")],
    "oip_dynamo: several": [("ac", "b")],
    "oip_triton: two requests": [("four",), ("seven",)],
    "vllm_smg: the end": [("7 8 9",)],
    "vllm_smg: a single": [("7 8 9",)],
    "vllm_smg: outputs": [("7", "5")],
    "vllm_smg: a stream": [("7 8",)],
    "vllm_smg: an embedding": [None],
    "sglang_smg: counts": [("7 8",)],
    "sglang_smg: outputs": [("7", "5 6")],
    "sglang_smg: an embedding": [None],
    "trtllm: in pieces": [("7 8 9",)],
    "trtllm: outputs": [("7 8", "5")],
    "trtllm: an embedding": [None],
    "tokenspeed: in pieces": [("7 8 9",)],
    "tokenspeed: outputs": [("7 8", "5")],
    "mlx: in pieces": [("7 8 9",)],
    "mlx: outputs": [("7 8", "5")],
    "vllm: outputs": [("ac", "bd")],
    "vllm: ids": [("", "7 8")],
    "tgis: a batch": [("four", "x")],
    "xai: a call of a tool": [LOOK],
    "xai: outputs in one message": [("ac", "bd", "look", '{"at":"home"}')],
    "xai: outputs": [("ac", "bd")],
    "xai: plain samples side by side": [("ac", "b")],
    "google: outputs": [("ac", "b")],
    "google: candidates": [("ac", "b")],
    "google: calls of tools": [("", "look", '{"at":["home",3,null],"far":true}')],
    "google: an embedding": [None],
    "vertex: outputs": [("ac", "b")],
    "vertex: candidates": [("ac", "b")],
    "vertex: calls of tools": [("", "look", '{"at":["home",3,null],"far":true}')],
    "sglang: all the ids": [("7 8",)],
    "sglang: outputs": [("ac", "b")],
    "sglang: conversations": [("ac", "b")],
    "sglang: a call": [LOOK],
    "sglang: an embedding": [None],
    "oip_triton: requests without ids": [("four",), ("seven",)],
    "openengine: outputs": [("ac", "b", "1 3", "2")],
    "openengine": [("four", "7 8")],
    "tei: an embedding": [None],
    "tei: embeddings": [None, None],
    "tei: a label": [("joy",)],
    "tei: labels": [("joy",)],
    "tei: an order": [("1 0",)],
}
"""By the beginning of a call's name, what the live server answers other than ``four``."""
THOUGHTFUL = (
    "xai: new text",
    "google: one message",
    "google: new text",
    "vertex: one message",
    "vertex: new text",
    "sglang: a conversation",
)


@pytest.mark.parametrize("name", sorted(CALLS))
def test_the_answer_is_what_the_server_said(name: str) -> None:
    spoken = CALLS[name]
    method_map = builtin().protocols[spoken.protocol][spoken.method]
    requests = [message.SerializeToString() for message in spoken.requests]
    responses = [message.SerializeToString() for message in spoken.live.messages]
    answers = [[responses[place] for place in part.responses] for part in split(method_map, requests, responses)]
    outputs = [read_output(Answer(method_map, answer)) for answer in answers]
    said = [None if output is None else tuple(part.decode() for part in output) for output in outputs]
    assert said == next((other for begin, other in OTHERS.items() if name.startswith(begin)), FOUR)
    messages = [message for answer in answers for message in map(method_map.parse_response, answer) if message]
    thoughts = list(joined(method_map, "reasoning", messages).values())
    thoughtful = name.startswith(THOUGHTFUL) and "generativelanguage.v1." not in name
    assert thoughts == ([b"hm"] if thoughtful else [])

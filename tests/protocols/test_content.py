"""Bytes → messages in the form of the GenAI conventions, valid however they are cut; hostile bytes raise nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BytesValue
from hypothesis import given
from hypothesis import strategies as st
from support.wire import delta, last_delta, reference, request, response

from shadowmesh.protocols.content import NOTHING, Said, as_json, read_input, read_instructions, read_output
from shadowmesh.protocols.map_settings import MethodSettings, ProtocolMapSettings
from shadowmesh.protocols.messages import Answer, Requests
from shadowmesh.protocols.protocol_map import MethodMap, bind
from shadowmesh.schema import messages
from shadowmesh.schema.inference import methods

METHODS = ["Generate", "StreamGenerate", "Converse", "Ingest"]
WHOLE = 1 << 20
GENERATE = "/shadowmesh.v1.Inference/Generate"
TEXTS = st.text(st.characters(codec="utf-8"), max_size=30)
CALL = messages.ToolCall(id="c-1", name="weather", arguments_json='{"city": "Zürich"}')
ROLES = [messages.ROLE_SYSTEM, messages.ROLE_USER, messages.ROLE_ASSISTANT, messages.ROLE_TOOL]


BYTES = MethodMap(
    ProtocolMapSettings.model_validate({"version": 1, "protocol": "acme", "methods": {"/a.B/C": {}}}),
    MethodSettings.model_validate({"response": {"text": "value"}}),
    BytesValue,
    BytesValue,
)
"""A protocol that carries its text as bytes."""


def text(content: str) -> dict[str, str]:
    return {"type": "text", "content": content}


def asked(*said: messages.Message) -> bytes:
    return request(messages=messages.Messages(messages=said))


def mapped(**method: Any) -> MethodMap:
    """The map of another protocol over the same messages."""
    settings = {"version": 1, "protocol": "acme", "methods": {GENERATE: method}}
    classes = {one.full_name: (one.request, one.response) for one in methods().values()}
    return bind(ProtocolMapSettings.model_validate(settings), classes)[GENERATE]


def test_a_prompt_is_one_message_of_the_user() -> None:
    said = read_input(Requests(reference("Generate"), [request(prompt="Why?")]), WHOLE)
    assert said.items == [{"role": "user", "parts": [text("Why?")]}]
    assert not said.cut


def test_a_conversation_keeps_its_order_roles_tool_calls_and_their_results() -> None:
    data = asked(
        messages.Message(role=messages.ROLE_SYSTEM, content="Be brief."),
        messages.Message(role=messages.ROLE_USER, content="Rain?"),
        messages.Message(role=messages.ROLE_ASSISTANT, content="Let me see.", tool_calls=[CALL]),
        messages.Message(role=messages.ROLE_TOOL, tool_call_id="c-1", content="wet"),
    )
    assert read_input(Requests(reference("StreamGenerate"), [data]), WHOLE).items == [
        {"role": "system", "parts": [text("Be brief.")]},
        {"role": "user", "parts": [text("Rain?")]},
        {
            "role": "assistant",
            "parts": [
                text("Let me see."),
                {"type": "tool_call", "id": "c-1", "name": "weather", "arguments": '{"city": "Zürich"}'},
            ],
        },
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c-1", "response": "wet"}]},
    ]


def test_several_requests_of_one_exchange_are_read_in_their_order() -> None:
    said = read_input(Requests(reference("Converse"), [request(prompt="one"), request(prompt="two")]), WHOLE)
    assert [message["parts"][0]["content"] for message in said.items] == ["one", "two"]


def test_instructions_that_stand_apart_are_a_list_of_parts() -> None:
    apart = mapped(parts={"prompt": "prompt", "instructions": "model"})
    requests = Requests(apart, [request(model="Be brief.", prompt="Why?")])
    assert read_instructions(requests, WHOLE).items == [text("Be brief.")]
    assert read_instructions(Requests(apart, [request(prompt="Why?")]), WHOLE) == NOTHING
    assert read_instructions(Requests(reference("Generate"), [request(model="m", prompt="Why?")]), WHOLE) == NOTHING


def test_a_stream_is_one_message_with_its_text_joined_and_its_tool_calls() -> None:
    deltas = [delta("Gr"), delta("üezi"), delta(tool_calls=[CALL]), last_delta("!")]
    assert read_output(Answer(reference("StreamGenerate"), deltas), "stop", WHOLE).items == [
        {
            "role": "assistant",
            "finish_reason": "stop",
            "parts": [
                text("Grüezi!"),
                {"type": "tool_call", "id": "c-1", "name": "weather", "arguments": '{"city": "Zürich"}'},
            ],
        }
    ]


def test_an_answer_that_says_nothing_is_a_message_and_no_answer_is_none() -> None:
    empty = read_output(Answer(reference("Generate"), [response()]), "length", WHOLE)
    assert empty.items == [{"role": "assistant", "finish_reason": "length", "parts": []}]
    assert read_output(Answer(reference("Generate"), []), "unknown", WHOLE) == NOTHING


@given(st.data(), st.text(st.characters(codec="utf-8"), min_size=1, max_size=20))
def test_characters_that_were_split_between_two_messages_are_whole_again(data: st.DataObject, content: str) -> None:
    encoded = content.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(encoded)), max_size=4)))
    pieces = [encoded[start:end] for start, end in zip([0, *cuts], [*cuts, len(encoded)], strict=True)]
    answers = [BytesValue(value=piece).SerializeToString() for piece in pieces]
    said = read_output(Answer(BYTES, answers), "stop", WHOLE)
    assert said.items[0]["parts"] == [text(content)]


def test_bytes_that_are_no_characters_are_replaced_and_stay_json() -> None:
    answers = [BytesValue(value=piece).SerializeToString() for piece in (b"a\xff", b"\xc3")]
    said = read_output(Answer(BYTES, answers), "stop", WHOLE)
    assert said.items[0]["parts"] == [text("a\ufffd\ufffd")]


@pytest.mark.parametrize("method", METHODS)
def test_what_follows_a_message_that_does_not_parse_is_not_read(method: str) -> None:
    answers = [delta("a"), b"\xff", delta("b")] if method != "Generate" else [response("a"), b"\xff", response("b")]
    said = read_output(Answer(reference(method), answers), "unknown", WHOLE)
    assert [part["content"] for message in said.items for part in message["parts"]] == (
        ["a"] if method != "Ingest" else []
    )
    assert read_input(Requests(reference(method), [b"\xff", request(prompt="x")]), WHOLE) == NOTHING


# --- cut to a size --------------------------------------------------------------------------------------------


@st.composite
def conversations(draw: st.DrawFn) -> bytes:
    def message() -> messages.Message:
        calls = [
            messages.ToolCall(id=draw(TEXTS), name=draw(TEXTS), arguments_json=draw(TEXTS))
            for _ in range(draw(st.integers(0, 2)))
        ]
        return messages.Message(role=draw(st.sampled_from(ROLES)), content=draw(TEXTS), tool_calls=calls)

    return asked(*(message() for _ in range(draw(st.integers(0, 4)))))


def check(said: Said, limit: int) -> None:
    encoded = as_json(said.items).encode()
    assert len(encoded) <= said.size or not said.items
    assert said.size <= max(limit, 2)
    assert json.loads(encoded) == said.items
    for message in said.items:
        assert set(message) - {"finish_reason"} == {"role", "parts"}
        for part in message["parts"]:
            assert (
                set(part)
                == {
                    "text": {"type", "content"},
                    "tool_call": {"type", "id", "name", "arguments"},
                    "tool_call_response": {"type", "id", "response"},
                }[part["type"]]
            )


def begins(shorter: list[dict[str, Any]], whole: list[dict[str, Any]]) -> bool:
    """Tell whether a list is the beginning of another one, its last text included."""
    if not shorter:
        return True
    *before, last = shorter
    if before != whole[: len(before)]:
        return False
    other = whole[len(before)]
    if last.get("role") != other.get("role") or len(last["parts"]) > len(other["parts"]):
        return False
    return all(
        all(full[key].startswith(value) for key, value in part.items())
        for part, full in zip(last["parts"], other["parts"], strict=False)
    )


@given(conversations(), st.integers(0, 400))
def test_a_conversation_cut_to_any_size_is_valid_json_of_that_size_and_says_so(data: bytes, limit: int) -> None:
    whole = read_input(Requests(reference("Generate"), [data]), WHOLE)
    said = read_input(Requests(reference("Generate"), [data]), limit)
    check(whole, WHOLE)
    check(said, limit)
    assert begins(said.items, whole.items)
    assert said.cut == (said.items != whole.items)


@given(TEXTS, st.integers(60, 300))
def test_an_answer_is_cut_as_late_as_its_room_allows_and_between_two_characters(content: str, limit: int) -> None:
    whole = read_output(Answer(reference("Generate"), [response(content)]), "stop", WHOLE)
    said = read_output(Answer(reference("Generate"), [response(content)]), "stop", limit)
    check(said, limit)
    assert begins(said.items, whole.items)
    if said.cut and said.items and said.items[0]["parts"]:
        kept = said.items[0]["parts"][0]["content"]
        longer = len(as_json(content[: len(kept) + 1]).encode()) - len(as_json(kept).encode())
        assert said.size + longer > limit


@pytest.mark.parametrize("character", ["a", "ü", "\U0001f600", "\x00", '"', "\\"])
def test_a_text_of_megabytes_fills_its_room(character: str) -> None:
    limit = 64 * 1024
    said = read_output(Answer(reference("Generate"), [response(character * 2_000_000)]), "stop", limit)
    check(said, limit)
    assert said.cut
    assert said.size > limit - 16


def test_a_million_empty_messages_are_read_as_far_as_there_is_room() -> None:
    data = asked(*[messages.Message()] * 100_000)
    said = read_input(Requests(reference("Generate"), [data]), 1024)
    check(said, 1024)
    assert said.cut
    assert len(said.items) < 100


def test_words_from_the_wire_are_cut_to_a_size() -> None:
    long = "ü" * 10_000
    call = messages.ToolCall(id=long, name=long, arguments_json="{}")
    (message,) = read_output(Answer(reference("Generate"), [response(tool_calls=[call])]), long, WHOLE).items
    assert message["finish_reason"] == message["parts"][0]["id"] == message["parts"][0]["name"] == long[:256]


MESSY = st.lists(st.one_of(st.binary(max_size=40), st.just(delta("x")), st.just(request(prompt="p"))), max_size=4)


@pytest.mark.parametrize("method", METHODS)
@given(MESSY, MESSY, st.integers(0, 200))
def test_no_bytes_raise(method: str, requests: Sequence[bytes], responses: Sequence[bytes], limit: int) -> None:
    check(read_input(Requests(reference(method), requests), limit), limit)
    check(read_output(Answer(reference(method), responses), "stop", limit), limit)
    read_instructions(Requests(reference(method), requests), limit)

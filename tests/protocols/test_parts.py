"""Where a protocol map says prompt, conversation and tools are: checked against the request before any call."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from pydantic import ValidationError

from shadowmesh.errors import ProtocolMapError
from shadowmesh.protocols.conversation import Conversation
from shadowmesh.protocols.parts import PartPaths, RequestParts
from shadowmesh.protocols.paths import descriptor_of
from shadowmesh.protocols.sources import source
from shadowmesh.schema.descriptors import message_class
from shadowmesh.schema.inference import method

REQUEST = method("Generate").request
TALK = {"messages": "messages.messages[*]", "role": "role", "text": "content", "system": "ROLE_SYSTEM"}
TOOL = {
    "tool": "ROLE_TOOL", "result_of": "tool_call_id", "calls": "tool_calls[*]", "call_id": "id", "call_name": "name",
}  # fmt: skip


def parts(**paths: Any) -> RequestParts:
    return RequestParts(PartPaths.model_validate(paths), REQUEST, partial(source, descriptor=descriptor_of(REQUEST)))


def test_all_parts_are_found() -> None:
    talk = TALK | TOOL | {"call_arguments": "arguments_json"}
    found = parts(prompt="prompt", instructions="model", tools="tools[*]", tool_name="name", conversation=talk)
    assert found.prompt is not None
    assert found.instructions is not None
    assert found.tools is not None
    assert found.conversation is not None
    assert isinstance(found.conversation, Conversation)
    assert found.conversation.messages.numbers == (4, 1)
    assert found.conversation.tool_calls is not None


def test_nothing_is_where_the_map_says_nothing() -> None:
    found = parts()
    assert (found.prompt, found.instructions, found.tools, found.tool_name, found.conversation) == (None,) * 5


def in_json(**paths: Any) -> RequestParts:
    request = message_class("shadowmesh.views.sglang.OpenAiRequest")
    parts = PartPaths.model_validate({"in_json": "json_body", **paths})
    return RequestParts(parts, request, partial(source, descriptor=descriptor_of(request)))


def test_parts_in_json_are_keys_of_it() -> None:
    talk = {"messages": "messages", "role": "role", "text": "content", "system": "system"}
    found = in_json(prompt="prompt", tools="tools", tool_name="function.name", conversation=talk)
    assert found.prompt is not None
    assert found.tools is not None
    assert found.conversation is not None
    # Nobody could say which call a result answers.
    assert not found.can_stub
    assert in_json(conversation=talk).takes_system_prompt
    assert not in_json(conversation=talk | {"system": None}).takes_system_prompt


@pytest.mark.parametrize(
    "paths",
    [
        {"in_json": "json_bodies"},
        {"prompt": "a.b"},
        {"tools": "tools[*]"},
        {"tool_options": ["a.b"]},
        {"conversation": {"messages": "messages[*]", "role": "role", "text": "content", "system": "system"}},
        {"conversation": {"messages": "m", "role": "r", "text": "t", "system": "s", "results": "x", "result": "y"}},
    ],
)
def test_a_path_in_json_that_leads_further_than_a_key_is_refused(paths: dict[str, Any]) -> None:
    with pytest.raises(ProtocolMapError):
        in_json(**paths)


@pytest.mark.parametrize(
    "paths",
    [
        {"in_json": "json_body", "instructions": "model"},
        {"in_json": "json_body", "original": "model"},
        {"conversation": TALK | {"results": "tool_calls[*]"}},
        {"conversation": TALK | {"result_of": "tool_call_id"}},
        {"conversation": TALK | {"calls": "tool_calls[*]"}},
        {"conversation": TALK | TOOL | {"results": "tool_calls[*]", "result": "name"}},
    ],
)
def test_parts_that_do_not_go_together_are_refused(paths: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PartPaths.model_validate(paths)


WRONG: list[dict[str, Any]] = [
    {"prompt": "promt"},
    {"prompt": "sampling"},
    {"prompt": "messages.messages[*].tool_calls[*].name"},
    {"tools": "tools"},
    {"tools": "tools[*].name"},
    {"tools": "sampling.stop[*]"},
    {"tools": "messages.messages[*].tool_calls[*]"},
    {"tools": "tools[*]", "tool_name": "nmae"},
    {"conversation": TALK | {"messages": "messages"}},
    {"conversation": TALK | {"system": "ROLE_SISTEM"}},
    {"conversation": TALK | {"text": "tool_calls[*]"}},
    {"conversation": TALK | TOOL | {"tool": "ROLE_TOOLS"}},
    {"conversation": TALK | TOOL | {"call_id": "no"}},
    {"conversation": TALK | TOOL | {"call_arguments": "no"}},
    {"instructions": "messages.messages[*].tool_calls[*].name"},
]


@pytest.mark.parametrize("paths", WRONG, ids=repr)
def test_a_part_that_is_not_there_is_refused(paths: dict[str, Any]) -> None:
    with pytest.raises(ProtocolMapError):
        parts(**paths)


def test_half_of_what_tools_need_is_refused() -> None:
    with pytest.raises(ValidationError, match="belong together"):
        parts(conversation=TALK | {"tool": "ROLE_TOOL"})
    with pytest.raises(ValidationError, match="there are none"):
        parts(conversation=TALK | {"call_arguments": "arguments_json"})

"""Where a protocol map says prompt, conversation and tools are: checked against the request before any call."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from shadowmesh.errors import ProtocolMapError
from shadowmesh.protocols.parts import PartPaths, RequestParts
from shadowmesh.schema.inference import method

REQUEST = method("Generate").request
TALK = {"messages": "messages.messages[*]", "role": "role", "text": "content", "system": "ROLE_SYSTEM"}
TOOL = {
    "tool": "ROLE_TOOL", "result_of": "tool_call_id", "calls": "tool_calls[*]", "call_id": "id", "call_name": "name",
}  # fmt: skip


def parts(**paths: Any) -> RequestParts:
    return RequestParts(PartPaths.model_validate(paths), REQUEST)


def test_all_parts_are_found() -> None:
    talk = TALK | TOOL | {"call_arguments": "arguments_json"}
    found = parts(prompt="prompt", instructions="model", tools="tools[*]", tool_name="name", conversation=talk)
    assert found.prompt is not None
    assert found.instructions is not None
    assert found.tools is not None
    assert found.conversation is not None
    assert found.conversation.messages.numbers == (4, 1)
    assert found.conversation.tool_calls is not None


def test_nothing_is_where_the_map_says_nothing() -> None:
    found = parts()
    assert (found.prompt, found.instructions, found.tools, found.tool_name, found.conversation) == (None,) * 5


WRONG: list[dict[str, Any]] = [
    {"prompt": "promt"},
    {"prompt": "sampling"},
    {"prompt": "sampling.stop[*]"},
    {"tools": "tools"},
    {"tools": "tools[*].name"},
    {"tools": "sampling.stop[*]"},
    {"tools": "messages.messages[*].tool_calls[*]"},
    {"tools": "tools[*]", "tool_name": "nmae"},
    {"conversation": TALK | {"messages": "messages"}},
    {"conversation": TALK | {"system": "ROLE_SISTEM"}},
    {"conversation": TALK | {"text": "tool_calls[*].name"}},
    {"conversation": TALK | TOOL | {"tool": "ROLE_TOOLS"}},
    {"conversation": TALK | TOOL | {"call_id": "no"}},
    {"conversation": TALK | TOOL | {"call_arguments": "no"}},
    {"instructions": "sampling.stop[*]"},
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

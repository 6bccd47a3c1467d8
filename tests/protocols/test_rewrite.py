"""What is changed in a request arrives changed, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.wire import reference, request

from shadowmesh.errors import DecodeError, ProtocolMapError
from shadowmesh.protocols import wire
from shadowmesh.protocols.rewrite import Rewrite
from shadowmesh.schema import messages

GENERATE = reference("Generate")
UNKNOWN = wire.field(1000, b"kept") + b"\xf8\x7d\x05"
"""Two fields no descriptor of ours has."""
M, Tool, ToolCall = messages.Message, messages.Tool, messages.ToolCall


def read(data: bytes) -> Any:
    return messages.GenerateRequest.FromString(data)


def talk(*said: Any, **fields: Any) -> bytes:
    return request(messages=messages.Messages(messages=said), **fields)


def said(data: bytes) -> list[tuple[int, str]]:
    return [(one.role, one.content) for one in read(data).messages.messages]


USER = M(role=messages.ROLE_USER, content="question")
SYSTEM = M(role=messages.ROLE_SYSTEM, content="be brief")


def test_values_are_set_by_path_whether_they_were_there_or_not() -> None:
    rewrite = Rewrite(
        GENERATE, values={"model": "m-2", "sampling.temperature": 0.0, "sampling.top_p": 1, "max_tokens": 7, "seed": 3}
    )
    for data in (request(), request(model="m-1", seed=9, sampling=messages.SamplingParameters(temperature=1.5))):
        found = read(rewrite(data))
        assert (found.request_id, found.model, found.max_tokens, found.seed) == ("r", "m-2", 7, 3)
        assert (found.sampling.temperature, found.sampling.HasField("temperature")) == (0.0, True)
        assert found.sampling.top_p == 1.0


def test_the_old_value_is_nowhere_in_the_bytes() -> None:
    rewrite = Rewrite(GENERATE, values={"model": "new"})
    assert b"old-secret" not in rewrite(request(model="old-secret") + wire.field(2, b"old-secret"))


def test_the_default_of_a_field_without_presence_is_its_absence() -> None:
    assert Rewrite(GENERATE, values={"model": ""})(request(model="m", prompt="p")) == request(prompt="p")


@given(st.text(), st.integers(0, 2**32 - 1), st.floats(0, 2), st.binary(max_size=30), st.integers(9, 2**29 - 1))
def test_unknown_fields_survive_byte_for_byte_and_in_place(
    text: str, tokens: int, temperature: float, unknown: bytes, number: int
) -> None:
    extra = wire.field(number, unknown)
    inside = messages.SamplingParameters(top_k=5).SerializeToString() + extra
    data = extra + request(prompt=text) + wire.field(5, inside) + UNKNOWN
    rewrite = Rewrite(GENERATE, values={"max_tokens": tokens, "sampling.temperature": temperature})
    changed = rewrite(data)
    assert changed.startswith(extra + request(prompt=text))
    assert UNKNOWN in changed
    assert inside in changed
    found = read(changed)
    assert (found.prompt, found.max_tokens, found.sampling.temperature, found.sampling.top_k) == (
        text, tokens, temperature, 5,
    )  # fmt: skip
    assert rewrite(changed) == changed


def test_a_member_of_a_oneof_is_changed_where_it_stands_and_never_takes_another_ones_place() -> None:
    rewrite = Rewrite(GENERATE, values={"prompt": "new"})
    assert read(rewrite(request(prompt="old"))).prompt == "new"
    assert rewrite(talk(USER)) == talk(USER)
    assert rewrite(request()) == request()


def test_fields_are_removed_by_path() -> None:
    data = talk(USER, SYSTEM, model="m") + UNKNOWN
    assert Rewrite(GENERATE, removed=["model"])(data) == talk(USER, SYSTEM) + UNKNOWN
    assert said(Rewrite(GENERATE, removed=["messages.messages[*].content"])(data)) == [(2, ""), (1, "")]


WRONG: list[dict[str, Any]] = [
    {"values": {"modle": "m"}},
    {"values": {"sampling": "m"}},
    {"values": {"sampling.stop[*]": "m"}},
    {"values": {"tools[*].name": "m"}},
    {"values": {"model": 5}},
    {"values": {"max_tokens": -1}},
    {"values": {"max_tokens": 2**32}},
    {"values": {"max_tokens": 1.5}},
    {"values": {"max_tokens": True}},
    {"values": {"max_tokens": "many"}},
    {"values": {"sampling.temperature": "hot"}},
    {"removed": ["tools"]},
    {"removed": ["nothing"]},
    {"removed": ["model[*]"]},
]


@pytest.mark.parametrize("changes", WRONG, ids=repr)
def test_a_path_or_a_value_that_does_not_fit_is_refused_before_any_call(changes: dict[str, Any]) -> None:
    with pytest.raises(ProtocolMapError):
        Rewrite(GENERATE, **changes)


@pytest.mark.parametrize("changes", [{"system": "x"}, {"stubs": {}}, {"stubs": {"a": "b"}}])
def test_what_the_protocol_map_does_not_know_cannot_be_changed(changes: dict[str, Any]) -> None:
    with pytest.raises(ProtocolMapError, match="does not say"):
        Rewrite(reference("Ingest"), **changes)


def test_a_request_that_does_not_parse_is_not_changed_but_refused() -> None:
    with pytest.raises(DecodeError):
        Rewrite(GENERATE, values={"model": "m"})(b"\xff")


# --- the system prompt -------------------------------------------------------------------------------------------


def system(text: str, *, replaces: bool = False) -> Callable[[bytes], bytes]:
    return Rewrite(GENERATE, system=text, replaces=replaces)


def test_a_system_prompt_is_put_before_the_one_there_is() -> None:
    assert said(system("Be kind. ")(talk(SYSTEM, USER))) == [(1, "Be kind. be brief"), (2, "question")]


def test_a_conversation_without_a_system_prompt_gets_one_at_its_head() -> None:
    for replaces in (False, True):
        assert said(system("Be kind.", replaces=replaces)(talk(USER))) == [(1, "Be kind."), (2, "question")]


def test_a_system_prompt_is_replaced_wherever_it_stands_and_however_often() -> None:
    changed = system("Be kind.", replaces=True)(talk(SYSTEM, USER, SYSTEM))
    assert said(changed) == [(1, "Be kind."), (2, "question")]
    assert b"be brief" not in changed


def test_an_empty_replacement_leaves_no_system_prompt() -> None:
    assert said(system("", replaces=True)(talk(SYSTEM, USER))) == [(2, "question")]


@pytest.mark.parametrize("replaces", [False, True])
def test_plain_text_has_the_system_prompt_before_it(replaces: bool) -> None:
    assert read(system("Be kind. ", replaces=replaces)(request(prompt="go on"))).prompt == "Be kind. go on"


def test_a_request_with_nothing_to_answer_stays_as_it_is() -> None:
    assert system("Be kind.")(request()) == request()


def test_unknown_fields_of_the_messages_of_a_conversation_survive() -> None:
    one = SYSTEM.SerializeToString() + UNKNOWN
    other = USER.SerializeToString() + UNKNOWN
    data = request() + wire.field(4, UNKNOWN + wire.field(1, one) + wire.field(1, other)) + UNKNOWN
    changed = system("Be kind. ")(data)
    assert changed.count(UNKNOWN) == 4
    assert wire.field(1, other) in changed
    assert said(changed) == [(1, "Be kind. be brief"), (2, "question")]


def test_a_conversation_that_came_in_parts_is_one_conversation() -> None:
    parts = [wire.field(4, messages.Messages(messages=[one]).SerializeToString()) for one in (SYSTEM, USER)]
    changed = system("Be kind.", replaces=True)(parts[0] + request(model="m") + UNKNOWN + parts[1])
    assert said(changed) == [(1, "Be kind."), (2, "question")]
    assert (read(changed).model, UNKNOWN in changed) == ("m", True)


# --- tools -------------------------------------------------------------------------------------------------------

TOOLS = [Tool(name="search", description="the web"), Tool(name="pay")]
CALLS = [ToolCall(id="1", name="search", arguments_json="{}"), ToolCall(id="2", name="pay", arguments_json="{}")]
ASKED = M(role=messages.ROLE_ASSISTANT, tool_calls=CALLS)
FOUND = M(role=messages.ROLE_TOOL, tool_call_id="1", content="a secret page")
PAID = M(role=messages.ROLE_TOOL, tool_call_id="2", content="done")


def test_tools_are_dropped_and_what_was_said_stays() -> None:
    data = talk(USER, ASKED, FOUND, PAID)
    assert Rewrite(GENERATE, stubs={})(talk(USER, ASKED, FOUND, PAID, tools=TOOLS) + UNKNOWN) == data + UNKNOWN


def test_only_tools_with_a_stub_are_offered_and_the_stub_answers_for_them() -> None:
    rewrite = Rewrite(GENERATE, stubs={"search": "nothing found"})
    changed = rewrite(talk(USER, ASKED, FOUND, PAID, tools=TOOLS))
    found = read(changed)
    assert list(found.tools) == TOOLS[:1]
    assert [one.content for one in found.messages.messages] == ["question", "", "nothing found", "done"]
    assert list(found.messages.messages[1].tool_calls) == CALLS
    assert b"a secret page" not in changed
    assert rewrite(changed) == changed


def test_a_result_that_answers_no_call_of_the_conversation_is_left_alone() -> None:
    orphan = M(role=messages.ROLE_TOOL, tool_call_id="9", content="x")
    claimed = M(role=messages.ROLE_USER, tool_call_id="1", content="not a result")
    rewrite = Rewrite(GENERATE, stubs={"search": "nothing found"})
    assert [content for _, content in said(rewrite(talk(ASKED, orphan, claimed)))] == ["", "x", "not a result"]


def test_plain_text_with_tools_keeps_the_stubbed_ones() -> None:
    found = read(Rewrite(GENERATE, stubs={"pay": "paid"})(request(prompt="p", tools=TOOLS)))
    assert (found.prompt, [tool.name for tool in found.tools]) == ("p", ["pay"])

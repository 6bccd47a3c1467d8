"""What is changed on the way to a shadow, in every protocol: tools go or are answered for, a system prompt is first."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st
from support.dialects import CALLS
from support.dialects.spoken import view

from shadowmesh.catalog.builtin import builtin
from shadowmesh.errors import DecodeError
from shadowmesh.mirror.gate import Gate
from shadowmesh.names import DropReason
from shadowmesh.protocols import wire
from shadowmesh.protocols.content import read_input, read_instructions
from shadowmesh.protocols.messages import Requests
from shadowmesh.protocols.protocol_map import MethodMap
from shadowmesh.protocols.rewrite import Rewrite

WHOLE = 1 << 20
UNKNOWN = wire.field(1000, b"kept")
CHAT = "/sglang.runtime.v1.SglangService/ChatComplete"
COMPLETE = "/sglang.runtime.v1.SglangService/Complete"
XAI = "/xai_api.Chat/GetCompletion"
GOOGLE = "/google.ai.generativelanguage.v1beta.GenerativeService/GenerateContent"
VERTEX = "/google.cloud.aiplatform.v1.PredictionService/GenerateContent"
INFER = "/inference.GRPCInferenceService/ModelInfer"


def mapped(protocol: str, method: str) -> MethodMap:
    return builtin().protocols[protocol][method]


def chat(text: str) -> bytes:
    return view("sglang.OpenAiRequest", json_body=text.encode()).SerializeToString() + UNKNOWN


def body(data: bytes) -> str:
    message: Any = mapped("sglang", CHAT).parse_request(data)
    return str(message.json_body.decode())


def asked(protocol: str, method: str, data: bytes) -> list[str]:
    """Return what a request says, text by text."""
    said = read_input(Requests(mapped(protocol, method), [data]), WHOLE)
    return [part.get("content", part.get("response")) for message in said.items for part in message["parts"]]


# --- tools ----------------------------------------------------------------------------------------------------

_FUNCTIONS = [{"function": {"name": name}} for name in ("look", "shout")]
_OFFERS = '{"tools" : [ {"function":{"name":"look"}} , {"function":{"name":"shout"}} ]'
WITH_TOOLS: list[tuple[str, str, bytes]] = [
    ("xai", XAI, view("xai.CompletionRequest", tools=_FUNCTIONS, tool_choice={}).SerializeToString()),
    # A tool that runs on the server, and of which our view knows nothing.
    ("xai", "/xai_api.Chat/GetCompletionChunk", wire.field(17, wire.field(7, b""))),
    (
        "google",
        GOOGLE,
        view(
            "google.GenerateContentRequest", tools=[{"function_declarations": [{"name": "look"}]}], tool_config={}
        ).SerializeToString(),
    ),
    ("google", GOOGLE, wire.field(5, wire.field(4, b""))),
    (
        "vertex",
        VERTEX,
        view(
            "vertex.GenerateContentRequest", tools=[{"function_declarations": [{"name": "look"}]}]
        ).SerializeToString(),
    ),
    ("sglang", CHAT, chat(_OFFERS + ', "tool_choice": "auto", "messages": []}')),
    # No list, and something all the same.
    ("sglang", CHAT, chat('{"tools": {"function": {}}}')),
]


@pytest.mark.parametrize(("protocol", "method", "request_"), WITH_TOOLS)
def test_a_request_with_tools_is_known_as_one_and_goes_without_them(
    protocol: str, method: str, request_: bytes
) -> None:
    method_map = mapped(protocol, method)
    gate = Gate("", method_map, refuses_tools=True)
    assert gate.judge(request_).drop_reason == DropReason.UNSAFE
    stripped = Rewrite(method_map, stubs={})(request_ + UNKNOWN)
    assert gate.judge(stripped).drop_reason == ""
    assert stripped.endswith(UNKNOWN)
    message: Any = method_map.parse_request(stripped)
    for option in method_map.parts.tool_options:
        assert option.first(message) is None


@pytest.mark.parametrize("text", ['{"tools": []}', '{"tools": null}', "{}", '{"messages": [{"role": "tool"}]}'])
def test_a_request_without_tools_goes_as_it_is(text: str) -> None:
    assert Gate("", mapped("sglang", CHAT), refuses_tools=True).judge(chat(text)).drop_reason == ""


@pytest.mark.parametrize("text", ["", "[]", "no json", '"tools"', '{"tools": [}', "[" * 100_000])
def test_json_that_cannot_be_read_does_not_pass(text: str) -> None:
    gate = Gate("", mapped("sglang", CHAT), refuses_tools=True)
    assert gate.judge(chat(text)).drop_reason == DropReason.UNREADABLE


def test_every_map_with_tools_is_tried() -> None:
    offering = {name for name, maps in builtin().protocols.items() for one in maps.values() if one.parts.tools}
    assert offering - {"shadowmesh"} == {protocol for protocol, _, _ in WITH_TOOLS}


def test_tools_without_a_stub_go_and_the_others_are_answered_for_in_json() -> None:
    talk = (
        '"messages": [{"role":"assistant","tool_calls":[{"id":"a","function":{"name":"look"}},'
        '{"id":"b","function":{"name":"shout"}}]}, {"role":"tool","tool_call_id":"a","content":"rain", "x": 1.50},'
        ' {"role":"tool","tool_call_id":"b","content":"done"}]'
    )
    data = chat(f'{_OFFERS}, "tool_choice": "auto", {talk}, "temperature":0.50}}')
    changed = body(Rewrite(mapped("sglang", CHAT), stubs={"look": "sün"})(data))
    said = json.loads(changed)
    assert said["tools"] == _FUNCTIONS[:1]
    assert "tool_choice" not in said
    assert [message.get("content") for message in said["messages"]] == [None, "sün", "done"]
    # What nobody asked to change stays as it was written.
    assert '"x": 1.50' in changed
    assert changed.endswith('"temperature":0.50}')


def test_tools_without_a_stub_go_and_the_others_are_answered_for_in_messages() -> None:
    talk = [
        {"role": "ROLE_ASSISTANT", "tool_calls": [{"id": "a", "function": {"name": "look"}}]},
        {"role": "ROLE_TOOL", "tool_call_id": "a", "content": [{"text": "rain"}, {"text": " and wind"}]},
        {"role": "ROLE_TOOL", "tool_call_id": "b", "content": [{"text": "done"}]},
    ]
    request = view("xai.CompletionRequest", tools=_FUNCTIONS, tool_choice={}, messages=talk)
    method_map = mapped("xai", XAI)
    found: Any = method_map.parse_request(Rewrite(method_map, stubs={"look": "sun"})(request.SerializeToString()))
    assert [tool.function.name for tool in found.tools] == ["look"]
    assert not found.HasField("tool_choice")
    assert asked("xai", XAI, found.SerializeToString())[1:] == ["sun", "done"]
    kept: Any = method_map.parse_request(
        Rewrite(method_map, stubs={"look": "", "shout": ""})(request.SerializeToString())
    )
    assert kept.HasField("tool_choice")


@pytest.mark.parametrize(("protocol", "can"), [("xai", True), ("sglang", True), ("google", False), ("vertex", False)])
def test_a_stub_answers_where_results_name_their_calls(protocol: str, can: bool) -> None:
    stubs = [one.parts.can_stub for one in builtin().protocols[protocol].values() if one.parts.tools is not None]
    assert set(stubs) == {can}


# --- prompts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(CALLS))
def test_a_text_is_put_before_everything_else(name: str) -> None:
    spoken = CALLS[name]
    method_map = mapped(spoken.protocol, spoken.method)
    if not method_map.parts.takes_system_prompt:
        return
    data = spoken.requests[0].SerializeToString() + UNKNOWN
    changed = Rewrite(method_map, system="Be kind. ")(data)
    before, after = (
        [part["content"] for part in read_instructions(Requests(method_map, [one]), WHOLE).items]
        + asked(spoken.protocol, spoken.method, one)
        for one in (data, changed)
    )
    first = before[0] if before else ""
    # What is no text, but the ids of it, stays as it is.
    if method_map.parts.original is not None and method_map.parts.prompt is not None and before == ["hello"]:
        assert after in (["hello"], ["Be kind. hello"])
    elif after[0] == "Be kind. ":
        # Nobody had said anything like it: it stands apart, or is a message of its own.
        assert after[1:] == before
    else:
        assert after[0] == f"Be kind. {first}"
        assert len(after) == len(before)
    assert UNKNOWN in changed


def _gemini(**more: Any) -> Callable[[str], Message]:
    return lambda family: view(
        f"{family}.GenerateContentRequest", contents=[{"role": "user", "parts": [{"text": "hello"}]}], **more
    )


@pytest.mark.parametrize(("protocol", "method"), [("google", GOOGLE), ("vertex", VERTEX)])
@pytest.mark.parametrize(
    ("text", "replaces", "instructions", "then"),
    [
        ("Be kind.", False, None, ["Be kind."]),
        ("Be kind.", False, [{"text": " Be brief."}, {"text": "Now."}], ["Be kind. Be brief.", "Now."]),
        ("Be kind.", True, [{"text": "Be brief."}, {"text": "Now."}], ["Be kind."]),
        ("", True, [{"text": "Be brief."}], []),
        ("", True, None, []),
    ],
)
def test_instructions_that_stand_apart_are_changed_there(
    protocol: str, method: str, text: str, replaces: bool, instructions: Any, then: list[str]
) -> None:
    method_map = mapped(protocol, method)
    more = {} if instructions is None else {"system_instruction": {"parts": instructions}}
    data = _gemini(**more)(protocol).SerializeToString()
    changed = Rewrite(method_map, system=text, replaces=replaces)(data + UNKNOWN)
    assert [part["content"] for part in read_instructions(Requests(method_map, [changed]), WHOLE).items] == then
    assert asked(protocol, method, changed) == ["hello"]
    assert UNKNOWN in changed


@pytest.mark.parametrize(
    ("messages", "replaces", "then"),
    [
        ('[{"role":"user","content":"q"}]', False, ["S", "q"]),
        ('[{"role":"system","content":"s"},{"role":"user","content":"q"}]', False, ["Ss", "q"]),
        ('[{"role":"system","content":[{"type":"text","text":"s"}]}]', False, ["S", "s"]),
        ('[{"role":"system"},{"role":"user","content":"q"}]', False, ["S", "q"]),
        ('[{"role":"system","content":"s"},{"role":"user","content":"q"}]', True, ["S", "q"]),
        ("[]", False, []),
    ],
)
def test_the_system_message_of_json_is_made_changed_or_replaced(messages: str, replaces: bool, then: list[str]) -> None:
    data = chat(f'{{ "a":1.0, "messages":{messages} }}')
    changed = Rewrite(mapped("sglang", CHAT), system="S", replaces=replaces)(data)
    assert asked("sglang", CHAT, changed) == then
    assert body(changed).startswith('{ "a":1.0, ')


def test_prompts_of_json_may_be_several_and_ids_stay_ids() -> None:
    for prompt, then in (('"p"', '"Sp"'), ('["p", "q"]', '["Sp","Sq"]'), ("[1, 2]", "[1,2]"), ("7", "7")):
        data = chat(f'{{"prompt":{prompt}}}')
        assert body(Rewrite(mapped("sglang", COMPLETE), system="S")(data)) == f'{{"prompt":{then}}}'


def test_a_raw_tensor_of_text_keeps_its_place_among_the_others() -> None:
    tensors = [{"name": "n", "datatype": "INT32"}, {"name": "text_input", "datatype": "BYTES"}]
    request = view("oip.ModelInferRequest", inputs=tensors, raw_input_contents=[b"\1\0\0\0", b"\2\0\0\0hi"])
    method_map = mapped("oip_triton", INFER)
    found: Any = method_map.parse_request(Rewrite(method_map, system="Oh ")(request.SerializeToString()))
    assert list(found.raw_input_contents) == [b"\1\0\0\0", b"\5\0\0\0Oh hi"]


def test_a_tensor_that_is_no_text_cannot_be_changed() -> None:
    request = view("oip.ModelInferRequest", inputs=[{"name": "text_input", "datatype": "FP32"}])
    with pytest.raises(DecodeError):
        Rewrite(mapped("oip_triton", INFER), system="Oh ")(request.SerializeToString())


# --- whatever the bytes are -----------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "tool_calls", "id", "function", "name", "x"]), inner)
    ),
    max_leaves=12,
)
TALK = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "role": st.sampled_from(["system", "tool", 5, None, {}]),
            "content": JSON,
            "tool_call_id": st.sampled_from(["a", "b", [], 5]),
            "tool_calls": JSON
            | st.just([{"id": "a", "function": {"name": "name"}}])
            | st.just([{"id": [], "function": []}]),
        },
    )
    | JSON,
    max_size=4,
)
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "messages": TALK | st.integers() | st.text(max_size=3) | st.just({"a": 1}),
        "tools": JSON | st.just([{"function": {"name": "name"}}, {"function": 5}, 5]),
        "tool_choice": JSON,
        "prompt": JSON,
        "x": JSON,
        "ü": JSON,
    },
)


@given(DOCUMENTS, st.sampled_from([None, 0, 2]), st.booleans())
def test_what_is_not_about_tools_survives_in_any_document(document: Any, indent: int | None, escaped: bool) -> None:
    data = chat(json.dumps(document, indent=indent, ensure_ascii=escaped))
    changed = json.loads(body(Rewrite(mapped("sglang", CHAT), stubs={})(data)))
    assert changed == {key: value for key, value in document.items() if key not in ("tools", "tool_choice")}


@pytest.mark.parametrize("changes", [{"stubs": {}}, {"stubs": {"name": "s"}}, {"system": "S"}], ids=repr)
@given(text=st.one_of(DOCUMENTS.map(json.dumps), st.text(max_size=20)), cut=st.integers(0, 60))
def test_no_json_raises_anything_but_that_it_cannot_be_changed(changes: dict[str, Any], text: str, cut: int) -> None:
    for one in (text, text[:cut]):
        for method in (CHAT, COMPLETE) if "system" in changes else (CHAT,):
            try:
                changed = Rewrite(mapped("sglang", method), **changes)(chat(one))
            except DecodeError:
                continue
            assert Rewrite(mapped("sglang", method), **changes)(chat(one)) == changed

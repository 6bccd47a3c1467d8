"""SGLang's methods that carry JSON of the OpenAI API: what of a request is translated, and what of it refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.dialects.spoken import view

from shadowmesh.catalog.builtin import builtin
from shadowmesh.errors import DecodeError
from shadowmesh.protocols import wire
from shadowmesh.protocols.generate_map import Generate
from shadowmesh.protocols.generate_read import read_generation
from shadowmesh.protocols.generation import DECISIVE, Generation, Refusal, Turn
from shadowmesh.protocols.rewrite import Rewrite
from shadowmesh.protocols.translation import Terms, Translator

SERVICE = "/sglang.runtime.v1.SglangService/"
CHAT, COMPLETE, TEXT = SERVICE + "ChatComplete", SERVICE + "Complete", SERVICE + "TextGenerate"
XAI, VLLM = "/xai_api.Chat/GetCompletionChunk", "/vllm.Inference/GenerateStream"
HELLO = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}]
SAID = {"max_tokens": 8, "temperature": 0.5, "top_p": 0.25, "top_k": 4}


def read(method: str, **body: Any) -> Generation | Refusal:
    method_map = builtin().protocols["sglang"][method]
    data = view("sglang.OpenAiRequest", json_body=json.dumps(body).encode()).SerializeToString()
    # Headers of traces.
    data += wire.field(2, b"")
    message = method_map.parse_request(data)
    assert message is not None
    return read_generation(method_map.generates[""], data, message)


def read_of(found: Generation | Refusal) -> Generation:
    assert isinstance(found, Generation), found
    return found


def over(live: tuple[str, str], target: tuple[str, str], data: bytes, **terms: Any) -> Any:
    """Return the request that a target is sent, read by its view; or why it is not."""
    method_map, goal = (builtin().protocols[protocol][method] for protocol, method in (live, target))
    message = method_map.parse_request(data)
    assert message is not None
    sent = Translator(tuple(method_map.generates.values()), goal.generates[""], Terms(**terms))(data, message)
    return sent if isinstance(sent, Refusal) else goal.parse_request(sent)


def test_a_conversation_is_read_with_all_that_it_asks() -> None:
    found = read_of(
        read(
            CHAT,
            model="llm",
            messages=[*HELLO[:1], {"role": "user", "content": [{"type": "text", "text": "hello"}], "name": None}],
            stream=True,
            stop=".",
            n=2,
            seed=0,
            stop_token_ids=[7],
            max_completion_tokens=8,
            max_tokens=9,
            top_k=-1,
            rid="r",
            user="somebody",
            stream_options={"include_usage": True},
            tools=[],
            tool_choice="auto",
            response_format={"type": "text"},
            logit_bias=None,
        )
    )
    assert found.turns == (Turn("system", ("be brief",)), Turn("user", ("hello",)))
    assert (found.model, found.stream) == ("llm", True)
    said = {"max_tokens": 8, "seed": 0, "n": 2, "stop_sequences": (".",), "stop_token_ids": (7,), "top_k": 0}
    assert found.parameters == said


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"tools": [{"type": "function"}]}, "another key in json_body is not translated"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format.type is not translated"),
        ({"response_format": {"x": 1}}, "response_format.type is not translated"),
        ({"logprobs": True}, "logprobs is not translated"),
        ({"tool_choice": {"type": "function"}}, "tool_choice is not translated"),
        ({"secret": 1}, "another key in json_body is not translated"),
        ({"chat_template_kwargs": {"thinking": True}}, "another key in json_body is not translated"),
        ({"messages": [{"role": "tool", "content": "sun"}]}, "a turn of another role"),
        ({"messages": ["hello"]}, "a turn of another form"),
        ({"messages": "hello"}, "a conversation of another form"),
        ({"messages": []}, "there is no prompt"),
        ({"messages": [{"role": "user", "content": ""}]}, "a turn without text, or with more than text"),
        ({"messages": [{"role": "user", "content": "a", "name": "b"}]}, "a turn without text, or with more than text"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "a turn without text, or with more than text",
        ),
        # What the server puts between two parts is its own choice.
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}] * 2}]}, "a turn in several parts"),
        ({"temperature": "warm"}, "temperature cannot be read"),
        ({"temperature": [1]}, "temperature cannot be read"),
        ({"stream": "yes"}, "stream cannot be read"),
        ({"stop": [1]}, "stop_sequences cannot be read"),
    ],
)
def test_what_nobody_has_read_refuses(more: dict[str, Any], reason: str) -> None:
    assert read(CHAT, **{"messages": HELLO, **more}) == Refusal(reason)


@pytest.mark.parametrize(
    ("prompt", "form"),
    [("hello", "text"), (["hello"], "text"), ([1, 2], "ids")],
)
def test_a_prompt_is_text_or_its_token_ids(prompt: Any, form: str) -> None:
    assert read_of(read(COMPLETE, prompt=prompt)).form == form


@pytest.mark.parametrize("prompt", [["a", "b"], [[1], [2]], [[1, 2]], ["a", 1], ["a", [1]], 7, [True], None, "", []])
def test_prompts_that_are_not_one_refuse(prompt: Any) -> None:
    assert isinstance(read(COMPLETE, prompt=prompt), Refusal)


@pytest.mark.parametrize("text", ["", "[]", "null", '"a"', "{", "[" * 100_000])
def test_json_that_is_no_object_refuses(text: str) -> None:
    for method in (CHAT, COMPLETE):
        method_map = builtin().protocols["sglang"][method]
        message: Any = view("sglang.OpenAiRequest", json_body=text.encode())
        found = read_generation(method_map.generates[""], message.SerializeToString(), message)
        assert found == Refusal("it cannot be read whole")


def test_a_conversation_goes_over_to_another_protocol() -> None:
    body = {"model": "llm", "messages": HELLO, "stop": ["."], **{key: SAID[key] for key in ("max_tokens", "top_p")}}
    data = view("sglang.OpenAiRequest", json_body=json.dumps(body).encode()).SerializeToString()
    defaults = {"temperature": 0.5, "top_k": 0}
    found = over(("sglang", CHAT), ("xai", XAI), data, defaults=defaults)
    assert [[part.text for part in one.content] for one in found.messages] == [["be brief"], ["hello"]]
    roles = [type(one).DESCRIPTOR.fields_by_name["role"].enum_type.values_by_number for one in found.messages]
    assert [by[one.role].name for by, one in zip(roles, found.messages, strict=True)] == ["ROLE_SYSTEM", "ROLE_USER"]
    assert (found.model, found.max_tokens, found.temperature, found.top_p) == ("llm", 8, 0.5, 0.25)
    assert list(found.stop) == ["."]


def test_a_conversation_comes_over_from_another_protocol() -> None:
    turns = [
        {"role": "ROLE_SYSTEM", "content": [{"text": "be brief"}]},
        {"role": "ROLE_USER", "content": [{"text": 'hel"lo\u00e9'}]},
    ]
    asked = view("xai.CompletionRequest", model="grok", messages=turns, max_tokens=8, temperature=0.5, top_p=0.25)
    found = over(("xai", XAI), ("sglang", CHAT), asked.SerializeToString(), model="llm")
    assert found.json_body.decode() == (
        '{"messages":[{"role":"system","content":"be brief"},{"role":"user","content":"hel\\"lo\u00e9"}],"model":"llm",'
        '"stream":true,"max_completion_tokens":8,"temperature":0.5,"top_p":0.25,"top_k":-1,'
        '"stream_options":{"include_usage":true}}'
    )
    turns[1]["content"] = [{"text": "hel"}, {"text": "lo"}]
    several = view("xai.CompletionRequest", messages=turns, max_tokens=8, temperature=0.5, top_p=0.25)
    refused = over(("xai", XAI), ("sglang", CHAT), several.SerializeToString(), model="llm")
    assert refused == Refusal("no place for a turn in several parts in sglang")


def test_what_is_unsaid_is_what_the_server_does_then() -> None:
    data = view("sglang.OpenAiRequest", json_body=b'{"prompt": "hello"}').SerializeToString()
    found = over(("sglang", COMPLETE), ("sglang", TEXT), data)
    assert (found.text, found.sampling_params.max_new_tokens, found.sampling_params.temperature) == ("hello", 16, 1.0)
    refused = over(("sglang", COMPLETE), ("vllm", VLLM), b"\x0a\x02{}")
    assert refused == Refusal("there is no prompt")
    ids = view("sglang.OpenAiRequest", json_body=b'{"prompt": [1, 2]}').SerializeToString()
    assert isinstance(over(("sglang", COMPLETE), ("vllm", VLLM), ids), Refusal)
    same = over(("sglang", COMPLETE), ("vllm", VLLM), ids, same_tokenizer=True, defaults={"top_k": "unset"})
    assert list(same.token_ids.ids) == [1, 2]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.sampled_from(["user", "text"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "type", "text", "include_usage"]), inner, max_size=4)
    ),
    max_leaves=8,
)
KEYS = st.sampled_from(
    [
        "messages",
        "prompt",
        "model",
        "stream",
        "stop",
        "rid",
        "max_tokens",
        "temperature",
        "top_k",
        "n",
        "seed",
        "stream_options",
        "response_format",
        "tools",
        "tool_choice",
        "logprobs",
        "stop_token_ids",
        "ignore_eos",
    ]
)
TARGETS: list[Generate] = [
    way for maps in builtin().protocols.values() for one in maps.values() for way in one.generates.values()
]
AGREED = Terms(same_tokenizer=True, defaults=dict.fromkeys(DECISIVE, "unset"), model="m")


@given(st.dictionaries(KEYS, VALUES, max_size=6), st.sampled_from([CHAT, COMPLETE]), st.sampled_from(TARGETS))
def test_no_json_makes_anything_raise(body: dict[str, Any], method: str, goal: Generate) -> None:
    method_map = builtin().protocols["sglang"][method]
    data = wire.field(1, json.dumps(body).encode(errors="surrogatepass"))
    message = method_map.parse_request(data)
    assert message is not None
    sent = Translator(tuple(method_map.generates.values()), goal, AGREED)(data, message)
    assert isinstance(sent, bytes | Refusal)
    assert method_map.identity is not None
    assert isinstance(method_map.identity.of(data, ()), str)
    places = method_map.settable
    rewrite = Rewrite(
        method_map,
        values={places["model"]: "m", places["max_tokens"]: 4, "json(json_body, stream_options.x, bool)": True},
        removed=["json(json_body, seed, integer)", "json(json_body, response_format.type, text)"],
    )
    for change in (rewrite, lambda one: method_map.identified(one, "own")):
        try:
            assert method_map.parse_request(change(data)) is not None
        except DecodeError:
            continue

"""Calls to SGLang's own service: texts so far, facts in JSON, and the OpenAI API as JSON inside a message."""

from __future__ import annotations

import json
from typing import Any

from google.protobuf.message import Message
from support.dialects.spoken import SERVER_STREAM, UNARY, Said, Spoken, view

READS = frozenset({"text", "tokens"})
_USED: dict[str, Any] = {
    "input_tokens": 3,
    "output_tokens": 2,
    "cached_input_tokens": 1,
    "reasoning_output_tokens": 1,
    "usage_source": "response",
}
_ASKED: dict[str, Any] = {
    "request_model": "llm",
    "max_tokens": 8,
    "temperature": 0.5,
    "top_p": 0.25,
    "top_k": 4,
    "seed": 5,
    "stop_sequences": (".",),
}
_SERVICE = "/sglang.runtime.v1.SglangService/"
_SAMPLING = {"temperature": 0.5, "top_p": 0.25, "top_k": 4, "max_new_tokens": 8, "stop": ["."]}
_SGLANG_ASKED = {
    "operation": "text_completion",
    "provider": "sglang",
    "max_tokens": 8,
    "temperature": 0.5,
    "top_p": 0.25,
    "top_k": 4,
    "stop_sequences": (".",),
}


def _said(reason: str, **more: Any) -> dict[str, Any]:
    return {"response_id": "a", "response_model": "llm-1", "finish_reasons": (reason,), **more}


def _meta(output: int, reason: str | None = None) -> dict[str, str]:
    facts = {"id": "a", "prompt_tokens": 3, "completion_tokens": output, "cached_tokens": 1}
    ended = None if reason is None else {"type": reason, "matched": 7}
    return {key: json.dumps(value) for key, value in {**facts, "finish_reason": ended}.items()}


_META_READ = {
    "response_id": "a",
    "input_tokens": 3,
    "output_tokens": 2,
    "cached_input_tokens": 1,
    "usage_source": "response",
    "finish_reasons": ("stop",),
}


def _texts(*texts: str, reason: str = "stop") -> Said:
    """Return messages of which each has all the text so far."""
    last = len(texts) - 1
    return Said(
        [
            view(
                "sglang.TextGenerateResponse",
                text=text,
                meta_info=_meta(2, reason if place == last else None),
                finished=place == last,
            )
            for place, text in enumerate(texts)
        ]
    )


def _json(**body: Any) -> bytes:
    return json.dumps(body).encode()


_OPENAI: dict[str, Any] = {
    "model": "llm",
    "max_tokens": 8,
    "temperature": 0.5,
    "top_p": 0.25,
    "top_k": 4,
    "seed": 5,
    "stop": ["."],
}
_TALK: list[dict[str, Any]] = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": [{"type": "text", "text": "hello"}, {"type": "image_url"}, {"text": "there"}]},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c", "function": {"name": "look", "arguments": "{}"}}],
    },
    {"role": "tool", "content": "sun", "tool_call_id": "c"},
]
_OPENAI_USAGE = {
    "prompt_tokens": 3,
    "completion_tokens": 2,
    "prompt_tokens_details": {"cached_tokens": 1},
    "reasoning_tokens": 1,
}


def _chunk(choice: dict[str, Any] | None = None, **more: Any) -> Message:
    choices = [] if choice is None else [{"index": 0, **choice}]
    return view("sglang.OpenAiChunk", json_chunk=_json(id="a", model="llm-1", choices=choices, **more))


def _choices(*choices: dict[str, Any]) -> Message:
    numbered = [{"index": index, **choice} for index, choice in enumerate(choices)]
    return view("sglang.OpenAiChunk", json_chunk=_json(id="a", model="llm-1", choices=numbered))


def _openai(name: str, operation: str, live: Said, shadow: Said, **facts: Any) -> Spoken:
    asked = {"messages": _TALK} if name == "ChatComplete" else {"prompt": "hello"}
    request = view("sglang.OpenAiRequest", json_body=_json(**_OPENAI, **asked))
    return Spoken(
        protocol="sglang",
        method=_SERVICE + name,
        arity=SERVER_STREAM,
        requests=[request],
        live=live,
        shadow=shadow,
        asked=[{"operation": operation, "provider": "sglang", **_ASKED}],
        reads=READS,
        **facts,
    )


_EMBEDDED = _json(model="llm-1", data=[{"embedding": [0.5]}], usage={"prompt_tokens": 3})
CALLS: dict[str, Spoken] = {
    "sglang: all the text so far": Spoken(
        protocol="sglang",
        method=_SERVICE + "TextGenerate",
        arity=SERVER_STREAM,
        requests=[view("sglang.TextGenerateRequest", text="hello", sampling_params=_SAMPLING)],
        live=_texts("f", "fou", "four"),
        shadow=_texts("four"),
        asked=[_SGLANG_ASKED],
        answered=[_META_READ],
        answered_by_shadow=[_META_READ],
        reads=READS,
    ),
    "sglang: all the ids so far": Spoken(
        protocol="sglang",
        method=_SERVICE + "Generate",
        arity=SERVER_STREAM,
        requests=[view("sglang.GenerateRequest", input_ids=[1, 2, 3], sampling_params=_SAMPLING)],
        live=Said(
            [
                view("sglang.GenerateResponse", output_ids=[7], meta_info=_meta(1)),
                view("sglang.GenerateResponse", output_ids=[7, 8], meta_info=_meta(2, "stop"), finished=True),
            ]
        ),
        shadow=Said([view("sglang.GenerateResponse", output_ids=[7, 8], meta_info={}, finished=True)]),
        asked=[_SGLANG_ASKED],
        answered=[_META_READ],
        answered_by_shadow=[{}],
        reads=frozenset({"ids", "tokens"}),
    ),
    "sglang: a conversation in JSON": _openai(
        "ChatComplete",
        "chat",
        Said(
            [
                _chunk({"delta": {"role": "assistant", "content": ""}}),
                _chunk({"delta": {"reasoning_content": "hm"}}),
                _chunk({"delta": {"content": "fo"}}),
                _chunk({"delta": {"content": "ur"}, "finish_reason": "stop"}),
                _chunk(usage=_OPENAI_USAGE),
            ]
        ),
        Said([_chunk({"message": {"content": "four"}, "finish_reason": "length"}, usage=_OPENAI_USAGE)]),
        answered=[_said("stop", **_USED)],
        answered_by_shadow=[_said("length", **_USED)],
    ),
    "sglang: outputs side by side": _openai(
        "Complete",
        "text_completion",
        Said(
            [_chunk({"text": "a"}), _chunk({"text": "b", "index": 1}), _chunk({"text": "c", "finish_reason": "stop"})]
        ),
        Said(
            [_chunk({"text": "b", "index": 1}), _chunk({"text": "ac", "finish_reason": "length"}, usage=_OPENAI_USAGE)]
        ),
        answered=[_said("stop")],
        answered_by_shadow=[_said("length", **_USED)],
    ),
    "sglang: an error in JSON, of a completion": _openai(
        "Complete",
        "text_completion",
        Said([_chunk({"text": "four", "finish_reason": "stop"})]),
        Said([view("sglang.OpenAiChunk", json_chunk=_json(error={"message": "too long"}), finished=True)]),
        answered=[_said("stop")],
        answered_by_shadow=[{}],
        alike=False,
        status_of_shadow="UNKNOWN",
    ),
    "sglang: conversations side by side": _openai(
        "ChatComplete",
        "chat",
        Said([_chunk({"delta": {"content": text}, "index": index}) for text, index in (("a", 0), ("b", 1), ("c", 0))]),
        Said([_chunk({"delta": {"content": text}, "index": index}) for text, index in (("b", 1), ("ac", 0))]),
        answered=[{"response_id": "a", "response_model": "llm-1"}],
        answered_by_shadow=[{"response_id": "a", "response_model": "llm-1"}],
    ),
    "sglang: conversations in one message": _openai(
        "ChatComplete",
        "chat",
        Said([_choices({"message": {"content": "ac"}}, {"message": {"content": "b"}, "finish_reason": "length"})]),
        Said([_choices({"message": {"content": "acb"}, "finish_reason": "stop"})]),
        answered=[_said("length")],
        answered_by_shadow=[_said("stop")],
        alike=False,
    ),
    "sglang: a call of a tool in pieces": _openai(
        "ChatComplete",
        "chat",
        Said(
            [
                _chunk({"delta": {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "look"}}]}}),
                _chunk({"delta": {"tool_calls": [{"index": 0, "function": {"arguments": '{"at":'}}]}}),
                _chunk({"delta": {"tool_calls": [{"index": 0, "function": {"arguments": '"home"}'}}]}}),
                _chunk({"delta": {}, "finish_reason": "tool_calls"}),
            ]
        ),
        Said(
            [
                _chunk(
                    {
                        "message": {
                            "tool_calls": [{"id": "d", "function": {"name": "look", "arguments": '{"at":"home"}'}}]
                        },
                        "finish_reason": "tool_calls",
                    }
                )
            ]
        ),
        answered=[_said("tool_calls")],
        answered_by_shadow=[_said("tool_calls")],
    ),
    "sglang: an error by its status": _openai(
        "ChatComplete",
        "chat",
        Said([_chunk({"delta": {"content": "four"}, "finish_reason": "stop"})]),
        Said([_chunk({"delta": {"content": "fo"}})], "UNAVAILABLE"),
        answered=[_said("stop")],
        answered_by_shadow=[{"response_id": "a", "response_model": "llm-1"}],
        alike=False,
        status_of_shadow="UNAVAILABLE",
    ),
    "sglang: an error in JSON": _openai(
        "ChatComplete",
        "chat",
        Said([_chunk({"delta": {"content": "four"}, "finish_reason": "stop"})]),
        Said([view("sglang.OpenAiChunk", json_chunk=_json(error={"message": "too long"}), finished=True)]),
        answered=[_said("stop")],
        answered_by_shadow=[{}],
        alike=False,
        status_of_shadow="UNKNOWN",
    ),
    "sglang: an embedding, and an error by its code of HTTP": Spoken(
        protocol="sglang",
        method=_SERVICE + "OpenAIEmbed",
        arity=UNARY,
        requests=[view("sglang.OpenAiRequest", json_body=_json(model="llm", input="hello"))],
        live=Said([view("sglang.OpenAiResponse", json_body=_EMBEDDED, status_code=200)]),
        shadow=Said([view("sglang.OpenAiResponse", json_body=b"{}", status_code=400)]),
        asked=[{"operation": "embeddings", "provider": "sglang", "request_model": "llm"}],
        answered=[{"response_model": "llm-1", "input_tokens": 3, "usage_source": "response"}],
        answered_by_shadow=[{}],
        status_of_shadow="UNKNOWN",
        reads=frozenset({"tokens"}),
    ),
}
UNSHADOWABLE: dict[str, tuple[str, Message]] = {
    "sglang: prefill elsewhere, in JSON": (
        _SERVICE + "ChatComplete",
        view("sglang.OpenAiRequest", json_body=_json(bootstrap_room=0, messages=[])),
    ),
    "sglang: prefill elsewhere, of a completion in JSON": (
        _SERVICE + "Complete",
        view("sglang.OpenAiRequest", json_body=_json(bootstrap_host="a", prompt="")),
    ),
    "sglang: prefill elsewhere": (
        _SERVICE + "TextGenerate",
        view("sglang.TextGenerateRequest", disaggregated_params={}),
    ),
    "sglang: prefill elsewhere, of ids": (
        _SERVICE + "Generate",
        view("sglang.GenerateRequest", disaggregated_params={}),
    ),
}

"""Calls to the APIs of conversations: xAI's and Google's two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf.message import Message
from support.dialects.spoken import SERVER_STREAM, UNARY, Said, Spoken, view

READS = frozenset({"text", "tokens"})

_XAI_USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "reasoning_tokens": 1, "cached_prompt_text_tokens": 1}
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
    "seed": 5,
    "stop_sequences": (".",),
}
_XAI_TALK: list[dict[str, Any]] = [
    {"role": "ROLE_SYSTEM", "content": [{"text": "be brief"}]},
    {"role": "ROLE_USER", "content": [{"text": "hello"}, {"text": "there"}]},
    {
        "role": "ROLE_ASSISTANT",
        "content": [{"text": "hm"}],
        "tool_calls": [{"id": "c", "function": {"name": "look", "arguments": "{}"}}],
    },
    {"role": "ROLE_TOOL", "content": [{"text": "sun"}], "tool_call_id": "c"},
]
_XAI_REQUEST = view(
    "xai.CompletionRequest",
    model="llm",
    messages=_XAI_TALK,
    max_tokens=8,
    temperature=0.5,
    top_p=0.25,
    seed=5,
    stop=["."],
)


def _look(place: str) -> dict[str, Any]:
    return {"id": "c", "function": {"name": "look", "arguments": f'{{"at":"{place}"}}'}}


def _xai_whole(*outputs: dict[str, Any], **usage: Any) -> Message:
    return view("xai.CompletionResponse", id="a", model="llm-1", outputs=outputs, **usage)


def _xai_chunk(
    text: str = "",
    index: int = 0,
    *,
    reason: str = "REASON_INVALID",
    cost_in_usd_ticks: int | None = None,
    **delta: Any,
) -> Message:
    output = {"delta": {"content": text, **delta}, "index": index, "finish_reason": reason}
    usage = _XAI_USAGE | {"cost_in_usd_ticks": cost_in_usd_ticks}
    return view("xai.CompletionChunk", id="a", model="llm-1", outputs=[output], usage=usage)


def _xai(name: str, live: Said, shadow: Said, **facts: Any) -> Spoken:
    return Spoken(
        **{
            "protocol": "xai",
            "method": f"/xai_api.Chat/{name}",
            "arity": SERVER_STREAM if name == "GetCompletionChunk" else UNARY,
            "requests": [_XAI_REQUEST],
            "live": live,
            "shadow": shadow,
            "asked": [{"operation": "chat", "provider": "x_ai", **_ASKED}],
            "reads": READS,
            **facts,
        }
    )


def _said(reason: str, **more: Any) -> dict[str, Any]:
    return {"response_id": "a", "response_model": "llm-1", "finish_reasons": (reason,), **more}


_SAMPLE = view(
    "xai.SampleRequest",
    model="llm",
    prompt=["hello"],
    max_tokens=8,
    temperature=0.5,
    top_p=0.25,
    seed=5,
    stop=["."],
)


def _sample(text: str, index: int = 0, reason: str = "REASON_INVALID") -> Message:
    choices = [{"text": text, "index": index, "finish_reason": reason}]
    return view("xai.SampleResponse", id="a", model="llm-1", choices=choices, usage=_XAI_USAGE)


_XAI: dict[str, Spoken] = {
    "xai: one message": _xai(
        "GetCompletion",
        Said([_xai_whole({"message": {"content": "four"}, "finish_reason": "REASON_STOP"}, usage=_XAI_USAGE)]),
        Said([_xai_whole({"message": {"content": "four"}, "finish_reason": "REASON_MAX_LEN"})]),
        answered=[_said("stop", **_USED)],
        answered_by_shadow=[_said("length")],
    ),
    "xai: a call of a tool": _xai(
        "GetCompletion",
        Said([_xai_whole({"message": {"tool_calls": [_look("home")]}, "finish_reason": "REASON_TOOL_CALLS"})]),
        Said([_xai_whole({"message": {"tool_calls": [_look("sea")]}, "finish_reason": "REASON_TOOL_CALLS"})]),
        answered=[_said("tool_calls")],
        answered_by_shadow=[_said("tool_calls")],
        alike=False,
        reads=frozenset({"text"}),
    ),
    "xai: new text in each message, and what was thought before": _xai(
        "GetCompletionChunk",
        Said([_xai_chunk(reasoning_content="hm"), _xai_chunk("fo"), _xai_chunk("ur", reason="REASON_STOP")]),
        Said([_xai_chunk("four", reason="REASON_STOP", reasoning_content="well")]),
        answered=[_said("stop", **_USED)],
        answered_by_shadow=[_said("stop", **_USED)],
    ),
    "xai: outputs side by side": _xai(
        "GetCompletionChunk",
        Said([_xai_chunk("a"), _xai_chunk("b", 1), _xai_chunk("c"), _xai_chunk("d", 1, reason="REASON_STOP")]),
        Said([_xai_chunk("bd", 1), _xai_chunk("ac", reason="REASON_STOP")]),
        answered=[_said("stop", **_USED)],
        answered_by_shadow=[_said("stop", **_USED)],
    ),
    "xai: outputs in one message, and what they cost": _xai(
        "GetCompletion",
        Said(
            [
                _xai_whole(
                    {"index": 1, "message": {"content": "bd"}, "finish_reason": "REASON_MAX_LEN"},
                    {"message": {"content": "ac", "tool_calls": [_look("home")]}, "finish_reason": "REASON_STOP"},
                    usage=_XAI_USAGE | {"cost_in_usd_ticks": 37_756_000},
                )
            ]
        ),
        Said([_xai_whole({"message": {"content": "acbd"}, "finish_reason": "REASON_STOP"}, usage=_XAI_USAGE)]),
        answered=[_said("stop", **_USED) | {"finish_reasons": ("stop", "length")}],
        answered_by_shadow=[_said("stop", **_USED)],
        alike=False,
        costs=0.0037756,
    ),
    "xai: a stream that says at its end what it cost": _xai(
        "GetCompletionChunk",
        Said([_xai_chunk("four"), _xai_chunk(reason="REASON_STOP", cost_in_usd_ticks=0)]),
        Said([_xai_chunk("four", reason="REASON_STOP")]),
        answered=[_said("stop", **_USED)],
        answered_by_shadow=[_said("stop", **_USED)],
        costs=0.0,
    ),
    "xai: an error": _xai(
        "GetCompletionChunk",
        Said([_xai_chunk("four", reason="REASON_STOP")]),
        Said([], "PERMISSION_DENIED"),
        answered=[_said("stop", **_USED)],
        answered_by_shadow=[{}],
        alike=False,
        status_of_shadow="PERMISSION_DENIED",
    ),
    "xai: plain samples side by side": _xai(
        "SampleTextStreaming",
        Said([_sample("a"), _sample("b", 1), _sample("c", reason="REASON_STOP")]),
        Said([_sample("b", 1), _sample("ac", reason="REASON_STOP")]),
        method="/xai_api.Sample/SampleTextStreaming",
        arity=SERVER_STREAM,
        requests=[_SAMPLE],
        asked=[{"operation": "text_completion", "provider": "x_ai", **_ASKED}],
        answered=[_said("stop", **_USED)],
        answered_by_shadow=[_said("stop", **_USED)],
    ),
    "xai: a call of a tool in a stream": _xai(
        "GetCompletionChunk",
        Said([_xai_chunk(tool_calls=[_look("home")], reason="REASON_TOOL_CALLS")]),
        Said([_xai_chunk(tool_calls=[_look("sea")], reason="REASON_TOOL_CALLS")]),
        answered=[_said("tool_calls", **_USED)],
        answered_by_shadow=[_said("tool_calls", **_USED)],
        alike=False,
    ),
    **{
        f"xai: plain samples, {name}": _xai(
            name,
            Said([_sample("four", reason="REASON_STOP")]),
            Said([_sample("five", reason="REASON_STOP")]),
            method=f"/xai_api.Sample/{name}",
            arity=arity,
            requests=[_SAMPLE],
            asked=[{"operation": "text_completion", "provider": "x_ai", **_ASKED}],
            answered=[_said("stop", **_USED)],
            answered_by_shadow=[_said("stop", **_USED)],
            alike=False,
        )
        for name, arity in (("SampleText", UNARY), ("SampleTextStreaming", SERVER_STREAM))
    },
}

_GEMINI_USAGE = {
    "prompt_token_count": 3,
    "candidates_token_count": 2,
    "cached_content_token_count": 1,
    "thoughts_token_count": 1,
}


def _gemini(family: str, service: str, provider: str, *, first: bool = False) -> dict[str, Spoken]:
    """
    Return calls to one of Google's APIs, whose messages are alike and numbered otherwise; the ``first`` version of one
    has neither thoughts nor tools, and does not count what was cached.
    """
    counted = {name: value for name, value in _GEMINI_USAGE.items() if not first or "cached" not in name}
    spent = {name: value for name, value in _USED.items() if not first or "cached" not in name}
    asked = {"operation": "generate_content", "provider": provider, "top_k": 4, **_ASKED}
    sampling = {
        "max_output_tokens": 8,
        "temperature": 0.5,
        "top_p": 0.25,
        "top_k": 4,
        "seed": 5,
        "stop_sequences": ["."],
    }
    asking = {"model": "llm", "generation_config": sampling}
    request = view(
        f"{family}.GenerateContentRequest", **asking, contents=[{"role": "user", "parts": [{"text": "hello"}]}]
    )
    talk = view(
        f"{family}.GenerateContentRequest",
        **asking,
        system_instruction={"parts": [{"text": "be brief"}]},
        contents=[
            {"role": "user", "parts": [{"text": "hello"}, {"text": "there"}]},
            {"role": "model", "parts": [{"text": "hm"}, {"function_call": {"name": "look", "args": {"at": "home"}}}]},
            {"role": "user", "parts": [{"function_response": {"name": "look", "response": {"sky": "sun"}}}]},
        ],
    )

    def answer(
        *parts: dict[str, Any],
        index: int = 0,
        reason: str = "FINISH_REASON_UNSPECIFIED",
        others: Sequence[Any] = (),
        used: dict[str, int] = counted,
    ) -> Message:
        candidate = {"content": {"role": "model", "parts": parts}, "index": index, "finish_reason": reason}
        return view(
            f"{family}.GenerateContentResponse",
            candidates=[candidate, *(one for other in others for one in other.candidates)],
            usage_metadata=used or None,
            model_version="llm-1",
            response_id="a",
        )

    def call(name: str, live: Said, shadow: Said, **facts: Any) -> Spoken:
        arity = UNARY if name == "GenerateContent" else SERVER_STREAM
        method = f"/{service}/{name}"
        same: dict[str, Any] = {
            "protocol": family,
            "method": method,
            "arity": arity,
            "requests": [request],
            "asked": [asked],
        }
        return Spoken(**same | {"live": live, "shadow": shadow, "reads": READS} | facts)

    thoughts = [] if first else [{"text": "hm", "thought": True}]
    look, look_there = (
        {"function_call": {"name": "look", "args": {"far": True, "at": [place, 3, None]}}} for place in ("home", "sea")
    )
    calls_of_tools = {
        f"{family}: calls of tools, {service}": call(
            "StreamGenerateContent",
            Said([answer(look, reason="STOP")]),
            Said([answer(look_there, reason="STOP")]),
            answered=[_said("stop", **spent)],
            answered_by_shadow=[_said("stop", **spent)],
            requests=[talk],
            alike=False,
        ),
    }
    return {
        **({} if first else calls_of_tools),
        f"{family}: one message, {service}": call(
            "GenerateContent",
            Said([answer(*thoughts, {"text": "four"}, reason="STOP")]),
            Said([answer({"text": "four"}, reason="MAX_TOKENS")]),
            answered=[_said("stop", **spent)],
            answered_by_shadow=[_said("length", **spent)],
        ),
        f"{family}: new text in each message, {service}": call(
            "StreamGenerateContent",
            Said([answer(*thoughts), answer({"text": "fo"}), answer({"text": "ur"}, reason="STOP")]),
            Said([answer({"text": "four"}, reason="SAFETY")]),
            answered=[_said("stop", **spent)],
            answered_by_shadow=[_said("content_filter", **spent)],
        ),
        f"{family}: outputs side by side, {service}": call(
            "StreamGenerateContent",
            Said([answer({"text": "a"}), answer({"text": "b"}, index=1), answer({"text": "c"}, reason="STOP")]),
            Said([answer({"text": "b"}, index=1), answer({"text": "ac"}, reason="STOP")]),
            answered=[_said("stop", **spent)],
            answered_by_shadow=[_said("stop", **spent)],
        ),
        f"{family}: candidates in one message, {service}": call(
            "GenerateContent",
            Said([answer({"text": "b"}, index=1, reason="MAX_TOKENS", others=[answer({"text": "ac"}, reason="STOP")])]),
            Said([answer({"text": "acb"}, reason="STOP", used={})]),
            answered=[_said("stop", **spent) | {"finish_reasons": ("stop", "length")}],
            answered_by_shadow=[_said("stop")],
            alike=False,
        ),
        f"{family}: an error, {service}": call(
            "StreamGenerateContent",
            Said([answer({"text": "four"})], "UNAVAILABLE"),
            Said([], "INVALID_ARGUMENT"),
            answered=[{"response_id": "a", "response_model": "llm-1", **spent}],
            answered_by_shadow=[{}],
            alike=False,
            status="UNAVAILABLE",
            status_of_shadow="INVALID_ARGUMENT",
        ),
    }


def _google_embedding(version: str) -> dict[str, Spoken]:
    service = f"google.ai.generativelanguage.{version}.GenerativeService"
    answer = Said([view("google.EmbedContentResponse", embedding={"values": [0.5]})])
    asked = {"operation": "embeddings", "provider": "gcp.gemini", "request_model": "llm"}
    request = view("google.EmbedContentRequest", model="llm")
    call = Spoken("google", f"/{service}/EmbedContent", UNARY, [request], answer, answer, [asked], [{}], [{}])
    return {f"google: an embedding, {version}": call}


_GOOGLE: dict[str, Spoken] = {
    **_gemini("google", "google.ai.generativelanguage.v1beta.GenerativeService", "gcp.gemini"),
    **_gemini("google", "google.ai.generativelanguage.v1.GenerativeService", "gcp.gemini", first=True),
    **_gemini("vertex", "google.cloud.aiplatform.v1.PredictionService", "gcp.vertex_ai"),
    **_gemini("vertex", "google.cloud.aiplatform.v1beta1.PredictionService", "gcp.vertex_ai"),
    **_google_embedding("v1"),
    **_google_embedding("v1beta"),
}

CALLS: dict[str, Spoken] = {**_XAI, **_GOOGLE}
UNSHADOWABLE: dict[str, tuple[str, Message]] = {
    "xai: what the server keeps": ("/xai_api.Chat/GetCompletion", view("xai.CompletionRequest", store_messages=True)),
    "google: what the server keeps": (
        "/google.ai.generativelanguage.v1beta.GenerativeService/GenerateContent",
        view("google.GenerateContentRequest", cached_content="cachedContents/1"),
    ),
    "vertex: what the server keeps": (
        "/google.cloud.aiplatform.v1.PredictionService/GenerateContent",
        view("vertex.GenerateContentRequest", cached_content="cachedContents/1"),
    ),
    "xai: after what the server kept": (
        "/xai_api.Chat/GetCompletionChunk",
        view("xai.CompletionRequest", previous_response_id="a"),
    ),
}

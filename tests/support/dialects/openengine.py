"""Calls to OpenEngine: text and its tokens in pieces, usage and errors in messages of their own."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message
from support.dialects.spoken import SERVER_STREAM, Said, Spoken, view

READS = frozenset({"text", "tokens"})
_ASKED = {
    "operation": "text_completion",
    "request_model": "llm",
    "max_tokens": 8,
    "temperature": 0.5,
    "top_p": 0.25,
    "top_k": 4,
    "seed": 5,
    "stop_sequences": (".",),
}
_READ = {"input_tokens": 3, "output_tokens": 2, "usage_source": "response", "finish_reasons": ("stop",)}


def _engine(**event: Any) -> Message:
    return view("openengine.GenerateResponse", request_id="r", **event)


def _piece(text: str, *ids: int, index: int = 0) -> Message:
    return _engine(token={"text": text, "output_index": index, "tokens": [{"token_id": one} for one in ids]})


_ENGINE_USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "cached_prompt_tokens": 1, "reasoning_tokens": 0}
_ENGINE_READ = {
    **_READ,
    "response_id": "r",
    "cached_input_tokens": 1,
    "reasoning_output_tokens": 0,
}
_END = {"reason": "FINISH_REASON_STOP", "output_index": 0}


def _engine_call(live: Said, shadow: Said, **facts: Any) -> Spoken:
    request = view(
        "openengine.GenerateRequest",
        request_id="r",
        model="llm",
        prompt="hello",
        sampling={"temperature": 0.5, "top_p": 0.25, "top_k": 4, "seed": 5},
        stopping={"max_tokens": 8, "conditions": [{"stop_text": "."}]},
    )
    return Spoken(
        protocol="openengine",
        method="/openengine.v1.Inference/Generate",
        arity=SERVER_STREAM,
        requests=[request],
        live=live,
        shadow=shadow,
        asked=[_ASKED],
        reads=READS | {"ids"},
        **facts,
    )


CALLS: dict[str, Spoken] = {
    "openengine: usage on the last message": _engine_call(
        Said([_piece("fo", 7), _piece("ur", 8), _engine(finished=_END, usage=_ENGINE_USAGE)]),
        Said([_piece("four", 7, 8), _engine(finished=_END, usage={"prompt_tokens": 3, "completion_tokens": 2})]),
        answered=[_ENGINE_READ],
        answered_by_shadow=[{**_READ, "response_id": "r"}],
    ),
    "openengine: outputs side by side": _engine_call(
        Said([_piece("a", 1), _piece("b", 2, index=1), _piece("c", 3), _engine(finished=_END, usage=_ENGINE_USAGE)]),
        Said([_piece("b", 2, index=1), _piece("ac", 1, 3), _engine(finished=_END, usage=_ENGINE_USAGE)]),
        answered=[_ENGINE_READ],
        answered_by_shadow=[_ENGINE_READ],
    ),
    "openengine: no usage, and an error": _engine_call(
        Said([_piece("four", 7, 8), _engine(finished=_END)]),
        Said([_piece("fo", 7)], "UNAVAILABLE"),
        answered=[{"response_id": "r", "finish_reasons": ("stop",)}],
        answered_by_shadow=[{"response_id": "r"}],
        alike=False,
        status_of_shadow="UNAVAILABLE",
    ),
    "openengine: an error in a message of a stream that ends well": _engine_call(
        Said([_piece("four", 7, 8), _engine(finished=_END, usage=_ENGINE_USAGE)]),
        Said([_piece("fo", 7), _engine(error={"message": "overloaded"})]),
        answered=[_ENGINE_READ],
        answered_by_shadow=[{"response_id": "r"}],
        alike=False,
        status_of_shadow="UNKNOWN",
    ),
}
UNSHADOWABLE: dict[str, tuple[str, Message]] = {
    "openengine: the cache of another worker": (
        "/openengine.v1.Inference/Generate",
        view("openengine.GenerateRequest", kv={"session": {}}),
    ),
}

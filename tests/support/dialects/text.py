"""Calls to servers of text: vLLM's own, and the Text Generation Inference Server's."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message
from support.dialects.spoken import SERVER_STREAM, UNARY, Said, Spoken, view

READS = frozenset({"text", "tokens"})


def _vllm(text: str, tokens: int, *, index: int = 0, first: bool = False, reason: str = "", ids: Any = ()) -> Message:
    output: dict[str, Any] = {"text": text, "num_tokens": tokens, "index": index, "token_ids": ids}
    if reason:
        output["finish_info"] = {"num_output_tokens": tokens, "finish_reason": reason}
    prompt = {"prompt_info": {"num_prompt_tokens": 3}} if first else {}
    return view("vllm.GenerateResponse", outputs=output, **prompt)


def _counts(output: int, *reasons: str) -> dict[str, Any]:
    return {"input_tokens": 3, "output_tokens": output, "usage_source": "response", "finish_reasons": reasons}


_VLLM_REQUEST = view(
    "vllm.GenerateRequest",
    request_id="r",
    model="llm",
    text="hello",
    temperature=0.5,
    sampling={"top_p": 0.25, "top_k": 4, "seed": 5},
    stopping={"max_new_tokens": 8, "stop_strings": ["."]},
)
_VLLM_ASKED = {
    "operation": "text_completion",
    "provider": "vllm",
    "request_model": "llm",
    "max_tokens": 8,
    "temperature": 0.5,
    "top_p": 0.25,
    "top_k": 4,
    "seed": 5,
    "stop_sequences": (".",),
}


def _vllm_call(method: str, live: Said, shadow: Said, **facts: Any) -> Spoken:
    arity = SERVER_STREAM if method.endswith("Stream") else UNARY
    return Spoken(
        **{
            "protocol": "vllm",
            "method": method,
            "arity": arity,
            "requests": [_VLLM_REQUEST],
            "asked": [_VLLM_ASKED],
            "live": live,
            "shadow": shadow,
            "reads": READS,
            **facts,
        }
    )


_VLLM_STREAM = Said([_vllm("fo", 1, first=True), _vllm("ur", 2, reason="STOP")])
_VLLM: dict[str, Spoken] = {
    **{
        f"vllm: new text in each message, {service}": _vllm_call(
            f"/{service}/GenerateStream",
            _VLLM_STREAM,
            Said([_vllm("four", 3, first=True, reason="STOP")]),
            answered=[_counts(3, "stop")],
            answered_by_shadow=[_counts(3, "stop")],
        )
        for service in ("vllm.Inference", "vllm.Generate")
    },
    "vllm: one message": _vllm_call(
        "/vllm.Inference/Generate",
        Said([_vllm("four", 3, first=True, reason="LENGTH")]),
        Said([_vllm("five", 3, first=True, reason="ABORTED")]),
        answered=[_counts(3, "length")],
        answered_by_shadow=[_counts(3, "ABORTED")],
        alike=False,
    ),
    "vllm: one message, by its old name": _vllm_call(
        "/vllm.Generate/Generate",
        Said([_vllm("four", 3, first=True, reason="LENGTH")]),
        Said([], "INTERNAL"),
        answered=[_counts(3, "length")],
        answered_by_shadow=[{}],
        alike=False,
        status_of_shadow="INTERNAL",
    ),
    "vllm: no counts": _vllm_call(
        "/vllm.Inference/GenerateStream",
        _VLLM_STREAM,
        Said([view("vllm.GenerateResponse")]),
        answered=[_counts(3, "stop")],
        answered_by_shadow=[{}],
        alike=False,
    ),
    "vllm: outputs side by side": _vllm_call(
        "/vllm.Inference/GenerateStream",
        Said([_vllm("a", 1, first=True), _vllm("b", 1, index=1), _vllm("c", 1), _vllm("d", 1, index=1)]),
        Said([_vllm("bd", 2, index=1, first=True), _vllm("ac", 2)]),
        answered=[{key: value for key, value in _counts(4).items() if value}],
        answered_by_shadow=[{key: value for key, value in _counts(4).items() if value}],
    ),
    "vllm: ids where they are asked for, in pieces": _vllm_call(
        "/vllm.Inference/GenerateStream",
        Said([_vllm("", 1, first=True, ids=[7]), _vllm("", 1, reason="STOP", ids=[8])]),
        Said([_vllm("", 2, first=True, reason="STOP", ids=[7, 8])]),
        answered=[_counts(2, "stop")],
        answered_by_shadow=[_counts(2, "stop")],
        reads=frozenset({"ids"}),
    ),
    "vllm: ids where they are asked for": _vllm_call(
        "/vllm.Inference/Generate",
        Said([_vllm("", 2, first=True, reason="STOP", ids=[7, 8])]),
        Said([_vllm("", 2, first=True, reason="STOP", ids=[7, 9])]),
        answered=[_counts(2, "stop")],
        answered_by_shadow=[_counts(2, "stop")],
        alike=False,
        reads=frozenset({"ids"}),
    ),
}


_TGIS_PARAMETERS = {
    "sampling": {"temperature": 0.5, "top_p": 0.25, "top_k": 4, "seed": 5},
    "stopping": {"max_new_tokens": 8, "stop_sequences": ["."]},
}
_TGIS_ASKED = {key: value for key, value in _VLLM_ASKED.items() if key != "provider"}


def _tgis(text: str = "", total: int = 0, asked: int = 0, reason: str = "NOT_FINISHED") -> Message:
    return view("tgis.Response", text=text, generated_token_count=total, input_token_count=asked, stop_reason=reason)


def _tgis_stream(live: Said, shadow: Said, **facts: Any) -> Spoken:
    request = view("tgis.SingleRequest", model_id="llm", request={"text": "hello"}, params=_TGIS_PARAMETERS)
    return Spoken(
        protocol="tgis",
        method="/fmaas.GenerationService/GenerateStream",
        arity=SERVER_STREAM,
        requests=[request],
        live=live,
        shadow=shadow,
        asked=[_TGIS_ASKED],
        reads=READS,
        **facts,
    )


_BATCH = {"model_id": "llm", "requests": [{"text": "hello"}, {"text": "bye"}], "params": _TGIS_PARAMETERS}
_TGIS: dict[str, Spoken] = {
    "tgis: counts so far": _tgis_stream(
        Said([_tgis(asked=3), _tgis("fo", 1), _tgis("ur", 2, reason="EOS_TOKEN")]),
        Said([_tgis(asked=3), _tgis("four", 2, reason="MAX_TOKENS")]),
        answered=[_counts(2, "stop")],
        answered_by_shadow=[_counts(2, "length")],
    ),
    "tgis: no counts, and an error": _tgis_stream(
        Said([_tgis("four", reason="EOS_TOKEN")]),
        Said([_tgis(asked=3), _tgis("fo", 1)], "INTERNAL"),
        answered=[{"finish_reasons": ("stop",)}],
        answered_by_shadow=[{"input_tokens": 3, "output_tokens": 1, "usage_source": "response"}],
        alike=False,
        status_of_shadow="INTERNAL",
    ),
    "tgis: a decoding error at the end": _tgis_stream(
        Said([_tgis(asked=3), _tgis("four", 2, reason="STOP_SEQUENCE")]),
        Said([_tgis(asked=3), _tgis("fo", 1, reason="ERROR")]),
        answered=[_counts(2, "stop")],
        answered_by_shadow=[_counts(1, "error")],
        alike=False,
        status_of_shadow="UNKNOWN",
    ),
    "tgis: a batch": Spoken(
        protocol="tgis",
        method="/fmaas.GenerationService/Generate",
        arity=UNARY,
        requests=[view("tgis.BatchedRequest", **_BATCH)],
        live=Said(
            [view("tgis.BatchedResponse", responses=[_tgis("four", 2, 3, "EOS_TOKEN"), _tgis("x", 1, 2, "EOS_TOKEN")])]
        ),
        shadow=Said(
            [view("tgis.BatchedResponse", responses=[_tgis("", 0, 3, "ERROR"), _tgis("x", 1, 2, "EOS_TOKEN")])]
        ),
        asked=[_TGIS_ASKED],
        answered=[_counts(3, "stop") | {"input_tokens": 5}],
        answered_by_shadow=[_counts(1, "error", "stop") | {"input_tokens": 5}],
        alike=False,
        status_of_shadow="UNKNOWN",
        reads=READS,
    ),
}

CALLS: dict[str, Spoken] = {**_VLLM, **_TGIS}
UNSHADOWABLE: dict[str, tuple[str, Message]] = {
    "vllm: the cache of another worker": (
        "/vllm.Inference/Generate",
        view("vllm.GenerateRequest", kv={"kv_transfer_params": {}}),
    ),
    "vllm: what another worker encoded": (
        "/vllm.Inference/GenerateStream",
        view("vllm.GenerateRequest", kv={"ec_transfer_params": {}}),
    ),
}

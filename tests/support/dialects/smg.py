"""Calls to the engines that routers speak to: token ids in and out, whole or in pieces, one output or several."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from google.protobuf.message import Message
from support.dialects.spoken import SERVER_STREAM, UNARY, Said, Spoken, view

READS = frozenset({"ids", "tokens"})


_TOKENIZED = {"original_text": "hello", "input_ids": [1, 2, 3]}


def _vllm(stream: bool = True, n: int = 1) -> Message:
    sampling = {"temperature": 0.5, "top_p": 0.25, "top_k": 4, "max_tokens": 8, "stop": ["."], "n": n, "seed": 3}
    return view(
        "smg.VllmGenerateRequest",
        request_id="r",
        tokenized=_TOKENIZED,
        sampling_params=sampling,
        stream=stream,
    )


_VLLM_ASKED: dict[str, Any] = {
    "operation": "text_completion",
    "provider": "vllm",
    "max_tokens": 8,
    "temperature": 0.5,
    "top_p": 0.25,
    "top_k": 4,
    "seed": 3,
    "stop_sequences": (".",),
}


def _counts(output: int, reason: str = "stop", **more: Any) -> dict[str, Any]:
    counts = {"input_tokens": 3, "output_tokens": output, "cached_input_tokens": 1, "usage_source": "response"}
    return {**counts, "finish_reasons": (reason,), **more}


def _vllm_chunk(*ids: int, index: int = 0) -> Message:
    chunk = {"token_ids": ids, "prompt_tokens": 3, "completion_tokens": len(ids), "cached_tokens": 1, "index": index}
    return view("smg.VllmGenerateResponse", chunk=chunk)


def _vllm_complete(*ids: int, reason: str = "stop", index: int = 0) -> Message:
    complete = {
        "output_ids": ids,
        "finish_reason": reason,
        "prompt_tokens": 3,
        "completion_tokens": len(ids),
        "cached_tokens": 1,
        "index": index,
    }
    return view("smg.VllmGenerateResponse", complete=complete)


def _vllm_call(live: Said, shadow: Said, **facts: Any) -> Spoken:
    return Spoken(
        **{
            "protocol": "vllm_smg",
            "method": "/vllm.grpc.engine.VllmEngine/Generate",
            "arity": SERVER_STREAM,
            "requests": [_vllm()],
            "live": live,
            "shadow": shadow,
            "asked": [_VLLM_ASKED],
            "reads": READS,
            **facts,
        }
    )


_SGLANG_ASKED: dict[str, Any] = {
    "operation": "text_completion",
    "provider": "sglang",
    "max_tokens": 8,
    # Zero is what was asked for, whatever the server's default is.
    "temperature": 0.0,
    "top_p": 1.0,
    "top_k": -1,
    "stop_sequences": (".",),
}


def _sglang() -> Message:
    sampling = {"temperature": 0.0, "top_p": 1.0, "top_k": -1, "max_new_tokens": 8, "stop": ["."]}
    return view(
        "smg.SglangGenerateRequest", request_id="r", tokenized=_TOKENIZED, sampling_params=sampling, stream=True
    )


def _sglang_chunk(ids: list[int], total: int, index: int = 0) -> Message:
    chunk = {
        "token_ids": ids,
        "prompt_tokens": 3,
        "completion_tokens": total,
        "cached_tokens": 1,
        "reasoning_tokens": 1,
        "index": index,
    }
    return view("smg.SglangGenerateResponse", request_id="r", chunk=chunk)


def _sglang_complete(ids: list[int], total: int, index: int = 0) -> Message:
    complete = {
        "output_ids": ids,
        "finish_reason": "length",
        "prompt_tokens": 3,
        "completion_tokens": total,
        "cached_tokens": 1,
        "reasoning_tokens": 1,
        "index": index,
    }
    return view("smg.SglangGenerateResponse", request_id="r", complete=complete)


def _sglang_call(live: Said, shadow: Said, **facts: Any) -> Spoken:
    return Spoken(
        **{
            "protocol": "sglang_smg",
            "method": "/sglang.grpc.scheduler.SglangScheduler/Generate",
            "arity": SERVER_STREAM,
            "requests": [_sglang()],
            "live": live,
            "shadow": shadow,
            "asked": [_SGLANG_ASKED],
            "reads": READS,
            **facts,
        }
    )


_SAMPLED = {"temperature": 0.5, "top_p": 0.25, "top_k": 4}
_SAMPLED_ASKED: dict[str, Any] = {"operation": "text_completion", "max_tokens": 8, "seed": 5, **_SAMPLED}


def _alike(
    protocol: str, method: str, names: tuple[str, str, str], request: Message, asked: dict[str, Any]
) -> dict[str, Spoken]:
    """Return a call to an engine whose chunks are new ids, and whose end has all or none of them."""
    response, index, ids = names
    top = {"request_id": "r"} if protocol != "mlx" else {}
    top_read = {"response_id": "r"} if protocol != "mlx" else {}
    answered = _counts(3, **top_read)
    counts = {"prompt_tokens": 3, "cached_tokens": 1}

    def chunk(new: list[int], total: int, output: int = 0) -> Message:
        return view(response, **top, chunk={"token_ids": new, "completion_tokens": total, index: output, **counts})

    def complete(all_of_it: list[int], total: int, output: int = 0) -> Message:
        end = {ids: all_of_it, "completion_tokens": total, "finish_reason": "stop", index: output, **counts}
        return view(response, **top, complete=end)

    def end(all_of_it: list[int], output: int = 0) -> Message:
        return complete([] if protocol == "mlx" else all_of_it, len(all_of_it), output)

    streamed = Spoken(
        protocol=protocol,
        method=method,
        arity=SERVER_STREAM,
        requests=[request],
        live=Said([chunk([7], 1), chunk([8, 9], 3), end([7, 8, 9])]),
        shadow=Said([complete([7, 8, 9], 3)]),
        asked=[asked],
        answered=[answered],
        answered_by_shadow=[answered],
        reads=READS,
    )
    several = replace(
        streamed,
        live=Said([chunk([7], 1), chunk([5], 1, 1), chunk([8], 2), end([5], 1), end([7, 8])]),
        shadow=Said([complete([5], 1, 1), complete([7, 8], 2)]),
    )
    begun = {key: value for key, value in _counts(1, **top_read).items() if key != "finish_reasons"}
    broken = replace(
        streamed,
        live=Said([chunk([7], 1)], "INTERNAL"),
        shadow=Said([], "RESOURCE_EXHAUSTED"),
        # Only MLX counts in each chunk.
        answered=[begun if protocol == "mlx" else top_read],
        answered_by_shadow=[{}],
        alike=False,
        status="INTERNAL",
        status_of_shadow="RESOURCE_EXHAUSTED",
    )
    silent = replace(streamed, shadow=Said([view(response, **top)]), answered_by_shadow=[top_read], alike=False)
    return {
        f"{protocol}: in pieces, and whole from the shadow": streamed,
        f"{protocol}: a stream that breaks off": broken,
        f"{protocol}: a shadow that says nothing": silent,
        f"{protocol}: outputs side by side": several,
    }


def _embed(protocol: str, method: str, prefix: str, provider: str, more: dict[str, Any]) -> dict[str, Spoken]:
    answer = view(f"smg.{prefix}EmbedResponse", embedding=[0.5], prompt_tokens=3, **more)
    read = {"input_tokens": 3, "usage_source": "response"} | ({"response_id": "r"} if more else {})
    request = view(f"smg.{prefix}EmbedRequest", request_id="r", tokenized={"original_text": "hello"})
    asked = {"operation": "embeddings", "provider": provider}
    said, reads = Said([answer]), frozenset({"tokens"})
    call = Spoken(protocol, method, UNARY, [request], said, said, [asked], [read], [read], reads=reads)
    return {f"{protocol}: an embedding": call}


CALLS: dict[str, Spoken] = {
    "vllm_smg: the end repeats the last piece": _vllm_call(
        Said([_vllm_chunk(7), _vllm_chunk(8, 9), _vllm_complete(8, 9)]),
        Said([_vllm_chunk(7, 8), _vllm_chunk(9), _vllm_complete(9)]),
        answered=[_counts(3)],
        answered_by_shadow=[_counts(3)],
    ),
    "vllm_smg: a single message": _vllm_call(
        Said([_vllm_complete(7, 8, 9, reason="length")]),
        Said([_vllm_complete(7, 8, reason="length")]),
        requests=[_vllm(stream=False)],
        answered=[_counts(3, "length")],
        answered_by_shadow=[_counts(2, "length")],
        alike=False,
    ),
    "vllm_smg: outputs side by side": _vllm_call(
        Said([_vllm_chunk(7), _vllm_chunk(5, index=1), _vllm_complete(7), _vllm_complete(5, index=1)]),
        Said([_vllm_chunk(5, index=1), _vllm_complete(5, index=1), _vllm_chunk(7), _vllm_complete(7)]),
        requests=[_vllm(n=2)],
        answered=[_counts(2)],
        answered_by_shadow=[_counts(2)],
    ),
    "vllm_smg: a stream that breaks off": _vllm_call(
        Said([_vllm_chunk(7), _vllm_chunk(8)], "INTERNAL"),
        Said([], "RESOURCE_EXHAUSTED"),
        answered=[{key: value for key, value in _counts(2).items() if key != "finish_reasons"}],
        answered_by_shadow=[{}],
        alike=False,
        status="INTERNAL",
        status_of_shadow="RESOURCE_EXHAUSTED",
    ),
    "vllm_smg: a shadow that says nothing": _vllm_call(
        Said([_vllm_complete(7, 8, 9)]),
        Said([view("smg.VllmGenerateResponse")]),
        answered=[_counts(3)],
        answered_by_shadow=[{}],
        alike=False,
    ),
    "sglang_smg: a stream that breaks off, and a shadow that says nothing": _sglang_call(
        Said([_sglang_chunk([7], 1)], "INTERNAL"),
        Said([view("smg.SglangGenerateResponse", request_id="r")]),
        answered=[
            {"input_tokens": 3, "output_tokens": 1, "cached_input_tokens": 1, "reasoning_output_tokens": 1}
            | {"usage_source": "response", "response_id": "r"}
        ],
        answered_by_shadow=[{"response_id": "r"}],
        alike=False,
        status="INTERNAL",
    ),
    "sglang_smg: counts so far, and all of it at the end": _sglang_call(
        Said([_sglang_chunk([7], 1), _sglang_chunk([8], 2), _sglang_complete([7, 8], 2)]),
        Said([_sglang_chunk([7, 8], 2), _sglang_complete([7, 8], 2)]),
        answered=[_counts(2, "length", reasoning_output_tokens=1, response_id="r")],
        answered_by_shadow=[_counts(2, "length", reasoning_output_tokens=1, response_id="r")],
    ),
    "sglang_smg: outputs side by side": _sglang_call(
        Said(
            [
                _sglang_chunk([7], 1),
                _sglang_chunk([5], 1, index=1),
                _sglang_complete([7], 1),
                _sglang_chunk([6], 2, index=1),
                _sglang_complete([6], 2, index=1),
            ]
        ),
        Said([_sglang_complete([7], 1), _sglang_complete([5, 6], 2, index=1)]),
        answered=[_counts(3, "length", reasoning_output_tokens=2, response_id="r")],
        answered_by_shadow=[_counts(3, "length", reasoning_output_tokens=2, response_id="r")],
    ),
    **_alike(
        "trtllm",
        "/trtllm.TrtllmService/Generate",
        ("smg.TrtllmGenerateResponse", "sequence_index", "output_token_ids"),
        view(
            "smg.TrtllmGenerateRequest",
            request_id="r",
            tokenized={"original_text": "hello"},
            max_tokens=8,
            sampling_config=_SAMPLED | {"seed": 5},
            stop=["."],
        ),
        {"provider": "tensorrt_llm", **_SAMPLED_ASKED, "stop_sequences": (".",)},
    ),
    **_alike(
        "tokenspeed",
        "/tokenspeed.grpc.scheduler.TokenSpeedScheduler/Generate",
        ("smg.TokenSpeedGenerateResponse", "index", "output_ids"),
        view(
            "smg.TokenSpeedGenerateRequest",
            tokenized=_TOKENIZED,
            sampling_params=_SAMPLED | {"max_new_tokens": 8, "sampling_seed": 5, "stop": ["."]},
        ),
        {"provider": "tokenspeed", **_SAMPLED_ASKED, "stop_sequences": (".",)},
    ),
    **_alike(
        "mlx",
        "/mlx.grpc.engine.MlxEngine/Generate",
        ("smg.MlxGenerateResponse", "index", "output_ids"),
        view(
            "smg.MlxGenerateRequest",
            request_id="r",
            tokenized=_TOKENIZED,
            sampling_params=_SAMPLED | {"max_tokens": 8, "seed": 5},
        ),
        {"provider": "mlx", **_SAMPLED_ASKED},
    ),
    **_embed("vllm_smg", "/vllm.grpc.engine.VllmEngine/Embed", "Vllm", "vllm", {}),
    **_embed("sglang_smg", "/sglang.grpc.scheduler.SglangScheduler/Embed", "Sglang", "sglang", {}),
    **_embed("trtllm", "/trtllm.TrtllmService/Embed", "Trtllm", "tensorrt_llm", {"request_id": "r"}),
}

UNSHADOWABLE: dict[str, tuple[str, Message]] = {
    "vllm_smg: the cache of another worker": (
        "/vllm.grpc.engine.VllmEngine/Generate",
        view("smg.VllmGenerateRequest", kv_transfer_params={}),
    ),
    "vllm_smg: the cache of another worker, in JSON": (
        "/vllm.grpc.engine.VllmEngine/Generate",
        view("smg.VllmGenerateRequest", kv_transfer_params_json="{}"),
    ),
    "sglang_smg: prefill elsewhere": (
        "/sglang.grpc.scheduler.SglangScheduler/Generate",
        view("smg.SglangGenerateRequest", disaggregated_params={}),
    ),
    "trtllm: prefill elsewhere": (
        "/trtllm.TrtllmService/Generate",
        view("smg.TrtllmGenerateRequest", disaggregated_params={}),
    ),
    "tokenspeed: prefill elsewhere": (
        "/tokenspeed.grpc.scheduler.TokenSpeedScheduler/Generate",
        view("smg.TokenSpeedGenerateRequest", kv_bootstrap_info={}),
    ),
    "tokenspeed: encoding elsewhere": (
        "/tokenspeed.grpc.scheduler.TokenSpeedScheduler/Generate",
        view("smg.TokenSpeedGenerateRequest", encode_bootstrap_info={}),
    ),
}

"""Calls in the Open Inference Protocol: tensors typed and raw, streams with many requests, errors inside a message."""

from __future__ import annotations

import json
import struct
from typing import Any

from google.protobuf.message import Message
from support.dialects.spoken import BIDI, UNARY, Said, Spoken, view

INFER = "/inference.GRPCInferenceService/ModelInfer"
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
READS = frozenset({"text", "tokens"})
_PROMPT = {"name": "text_input", "datatype": "BYTES", "shape": [1], "contents": {"bytes_contents": [b"hello"]}}


def _of_bytes(name: str, *values: str) -> dict[str, Any]:
    contents = {"bytes_contents": [value.encode() for value in values]}
    return {"name": name, "datatype": "BYTES", "shape": [len(values)], "contents": contents}


def _of_counts(name: str, value: int) -> dict[str, Any]:
    return {"name": name, "datatype": "UINT32", "shape": [1], "contents": {"uint_contents": [value]}}


def _request(identity: str = "", **fields: Any) -> Message:
    return view("oip.ModelInferRequest", model_name="llm", id=identity, **{"inputs": [_PROMPT], **fields})


def _response(*outputs: dict[str, Any], identity: str = "", **fields: Any) -> Message:
    return view("oip.ModelInferResponse", model_name="llm", id=identity, outputs=outputs, **fields)


def _streamed(*outputs: dict[str, Any], identity: str = "", last: bool = False) -> Message:
    parameters = {"triton_final_response": {"bool_param": last}}
    return view(
        "oip.ModelStreamInferResponse",
        infer_response=_response(*outputs, identity=identity, parameters=parameters),
    )


def _dynamo(text: str, reason: str, identity: str = "1") -> Message:
    outputs = (_of_bytes("text_output", text), _of_bytes("finish_reason", reason))
    return view("oip.ModelStreamInferResponse", infer_response=_response(*outputs, identity=identity))


def _raw(*values: str) -> bytes:
    return b"".join(struct.pack("<I", len(value.encode())) + value.encode() for value in values)


_WHOLE = (
    _of_bytes("text_output", "four"),
    _of_bytes("finish_reason", "stop"),
    _of_counts("num_input_tokens", 3),
    _of_counts("num_output_tokens", 2),
)
_READ: dict[str, Any] = {
    "response_model": "llm",
    "finish_reasons": ("stop",),
    "input_tokens": 3,
    "output_tokens": 2,
    "usage_source": "response",
}
_RAW_WHOLE = _response(
    {"name": "text_output", "datatype": "BYTES", "shape": [1]},
    {"name": "num_output_tokens", "datatype": "UINT32", "shape": [1]},
    {"name": "finish_reason", "datatype": "BYTES", "shape": [1]},
    {"name": "num_input_tokens", "datatype": "UINT32", "shape": [1]},
    raw_output_contents=[_raw("four"), struct.pack("<I", 2), _raw("stop"), struct.pack("<I", 3)],
)
_TWO = (
    _of_bytes("text_output", "ac", "b"),
    _of_bytes("finish_reason", "stop", "length"),
    _of_counts("num_input_tokens", 3),
    {"name": "num_output_tokens", "datatype": "UINT32", "shape": [2], "contents": {"uint_contents": [2, 1]}},
)
"""Two outputs of one prompt."""
_ASKED: dict[str, Any] = {"operation": "text_completion", "request_model": "llm"}


def _call(protocol: str, method: str, live: Said, shadow: Said, **facts: Any) -> Spoken:
    return Spoken(
        **{
            "protocol": protocol,
            "method": method,
            "arity": UNARY if method == INFER else BIDI,
            "requests": [_request()],
            "live": live,
            "shadow": shadow,
            "asked": [_ASKED],
            "reads": READS,
            **facts,
        }
    )


def _vllm_parameters() -> Message:
    """Return a request that has its parameters as the vLLM backend's clients write them."""
    said = json.dumps({"max_tokens": "8", "temperature": "0.5", "top_p": 0.25, "top_k": 4, "seed": 5})
    return _request(inputs=[_PROMPT, _of_bytes("sampling_parameters", said)])


_REST = (_of_bytes("text_output", "ur"), *_WHOLE[1:])


def _parameters() -> Message:
    """Return a request that has its parameters in typed tensors."""
    integers = [
        {"name": name, "datatype": "INT32", "contents": {"int_contents": [value]}}
        for name, value in (("max_tokens", 8), ("top_k", 4))
    ]
    reals = [
        {"name": name, "datatype": "FP32", "contents": {"fp32_contents": [value]}}
        for name, value in (("temperature", 0.5), ("top_p", 0.25))
    ]
    return _request(inputs=[_PROMPT, *integers, *reals])


def _trtllm_parameters(identity: str = "") -> Message:
    """Return a request that has its parameters as the TensorRT-LLM backend's clients write them: raw."""
    tensors = [("text_input", "BYTES"), ("max_tokens", "INT32"), ("temperature", "FP32"), ("random_seed", "UINT64")]
    tensors += [("top_p", "FP16"), ("top_k", "INT8"), ("stop_words", "BYTES")]
    return _request(
        identity,
        inputs=[{"name": name, "datatype": datatype, "shape": [1]} for name, datatype in tensors],
        raw_input_contents=[
            _raw("hello"),
            struct.pack("<i", 8),
            struct.pack("<f", 0.5),
            struct.pack("<Q", 5),
            struct.pack("<e", 0.25),
            struct.pack("<b", 4),
            _raw("."),
        ],
    )


_TRTLLM_ASKED = {
    "max_tokens": 8,
    "temperature": 0.5,
    "top_p": 0.25,
    "top_k": 4,
    "seed": 5,
    "stop_sequences": (".",),
}

_INTERLEAVED = [
    {"response_id": "1", "response_model": "llm", "finish_reasons": ("length",)},
    {"response_id": "2", "response_model": "llm", "finish_reasons": ("stop",)},
]
CALLS: dict[str, Spoken] = {
    **{
        f"{protocol}: typed tensors, and raw ones from the shadow": _call(
            protocol,
            INFER,
            Said([_response(*_WHOLE)]),
            Said([_RAW_WHOLE]),
            answered=[_READ],
            answered_by_shadow=[_READ],
        )
        for protocol in ("oip_triton", "oip_mlserver", "oip_kserve")
    },
    **{
        f"{protocol}: several outputs": _call(
            protocol,
            INFER,
            Said([_response(*_TWO)]),
            Said([_response(_of_bytes("text_output", "acb"))]),
            answered=[_READ | {"output_tokens": 3, "finish_reasons": ("stop", "length")}],
            answered_by_shadow=[{"response_model": "llm"}],
            alike=False,
        )
        for protocol in ("oip_triton", "oip_mlserver", "oip_kserve")
    },
    "oip_dynamo: several outputs": _call(
        "oip_dynamo",
        INFER,
        Said([_response(*_TWO)]),
        Said([], "INTERNAL"),
        answered=[{"response_model": "llm", "finish_reasons": ("stop", "length")}],
        answered_by_shadow=[{}],
        alike=False,
        status_of_shadow="INTERNAL",
        reads=frozenset({"text"}),
    ),
    **{
        f"{protocol}: parameters as tensors": _call(
            protocol,
            INFER,
            Said([_response(*_WHOLE, identity="1")]),
            Said([], "UNAVAILABLE"),
            requests=[_parameters()],
            asked=[_ASKED | {"max_tokens": 8, "temperature": 0.5, "top_p": 0.25, "top_k": 4}],
            answered=[_READ | {"response_id": "1"}],
            answered_by_shadow=[{}],
            alike=False,
            status_of_shadow="UNAVAILABLE",
        )
        for protocol in ("oip_mlserver", "oip_kserve")
    },
    "oip_triton: parameters as JSON": _call(
        "oip_triton",
        INFER,
        Said([_response(*_WHOLE)]),
        Said([_response(_of_bytes("text_output", "five"))]),
        requests=[_vllm_parameters()],
        asked=[_ASKED | {"max_tokens": 8, "temperature": 0.5, "top_p": 0.25, "top_k": 4, "seed": 5}],
        answered=[_READ],
        answered_by_shadow=[{"response_model": "llm"}],
        alike=False,
    ),
    "oip_triton: parameters as tensors": _call(
        "oip_triton",
        INFER,
        Said([_response(*_WHOLE)]),
        Said([], "UNAVAILABLE"),
        requests=[_trtllm_parameters()],
        asked=[_ASKED | _TRTLLM_ASKED],
        answered=[_READ],
        answered_by_shadow=[{}],
        alike=False,
        status_of_shadow="UNAVAILABLE",
    ),
    "oip_triton: token ids of the inner model": _call(
        "oip_triton",
        INFER,
        Said([_response({"name": "output_ids", "datatype": "INT32", "contents": {"int_contents": [7, 8]}})]),
        Said([_response({"name": "output_ids", "datatype": "INT32"}, raw_output_contents=[struct.pack("<ii", 7, 8)])]),
        answered=[{"response_model": "llm"}],
        answered_by_shadow=[{"response_model": "llm"}],
        reads=frozenset({"ids"}),
    ),
    "oip_triton: requests without ids, one after the other in a stream": _call(
        "oip_triton",
        STREAM,
        Said(
            [
                _streamed(_of_bytes("text_output", "fo"), _of_counts("num_output_tokens", 1)),
                _streamed(_of_bytes("text_output", "ur"), _of_counts("num_output_tokens", 1), last=True),
                _streamed(_of_bytes("text_output", "seven"), _of_counts("num_output_tokens", 1), last=True),
            ]
        ),
        Said(
            [
                _streamed(_of_bytes("text_output", "four"), last=True),
                _streamed(_of_bytes("text_output", "seven"), last=True),
            ]
        ),
        requests=[_request(), _request()],
        asked=[_ASKED, _ASKED],
        answered=[
            {"response_model": "llm", "output_tokens": 2, "usage_source": "response"},
            {"response_model": "llm", "output_tokens": 1, "usage_source": "response"},
        ],
        answered_by_shadow=[{"response_model": "llm"}, {"response_model": "llm"}],
    ),
    "oip_triton: two requests interleaved in a stream": _call(
        "oip_triton",
        STREAM,
        Said(
            [
                _streamed(_of_bytes("text_output", "fo"), _of_counts("num_output_tokens", 1), identity="1"),
                _streamed(_of_bytes("text_output", "se"), _of_counts("num_output_tokens", 1), identity="2"),
                _streamed(_of_bytes("text_output", "ven"), _of_counts("num_output_tokens", 2), identity="2"),
                _streamed(_of_bytes("text_output", "ur"), _of_counts("num_output_tokens", 1), identity="1"),
                _streamed(identity="1", last=True),
                _streamed(identity="2", last=True),
            ]
        ),
        Said(
            [
                _streamed(_of_bytes("text_output", "seven"), identity="2", last=True),
                _streamed(_of_bytes("text_output", "four"), identity="1", last=True),
            ]
        ),
        requests=[_request("1"), _request("2")],
        asked=[_ASKED, _ASKED],
        answered=[
            {"response_id": "1", "response_model": "llm", "output_tokens": 2, "usage_source": "response"},
            {"response_id": "2", "response_model": "llm", "output_tokens": 3, "usage_source": "response"},
        ],
        answered_by_shadow=[
            {"response_id": "1", "response_model": "llm"},
            {"response_id": "2", "response_model": "llm"},
        ],
    ),
    "oip_triton: all that a stream may say": _call(
        "oip_triton",
        STREAM,
        Said([_streamed(*_WHOLE, identity="1"), _streamed(identity="1", last=True)]),
        Said([_streamed(_of_bytes("text_output", "four"), identity="1")], "DEADLINE_EXCEEDED"),
        requests=[_trtllm_parameters("1")],
        asked=[_ASKED | _TRTLLM_ASKED],
        answered=[_READ | {"response_id": "1"}],
        answered_by_shadow=[{"response_id": "1", "response_model": "llm"}],
        status_of_shadow="DEADLINE_EXCEEDED",
    ),
    "oip_dynamo: an error in a message of a stream that ends well": _call(
        "oip_dynamo",
        STREAM,
        Said([_dynamo("four", "stop")]),
        Said([view("oip.ModelStreamInferResponse", error_message="no such model", infer_response={"id": "1"})]),
        requests=[_request("1")],
        answered=[{"response_id": "1", "response_model": "llm", "finish_reasons": ("stop",)}],
        answered_by_shadow=[{"response_id": "1"}],
        alike=False,
        status_of_shadow="UNKNOWN",
        reads=frozenset({"text"}),
    ),
    "oip_triton: an error in a message of a stream that ends well": _call(
        "oip_triton",
        STREAM,
        Said([_streamed(_of_bytes("text_output", "four"), identity="1", last=True)]),
        Said([view("oip.ModelStreamInferResponse", error_message="no such model", infer_response={"id": "1"})]),
        requests=[_request("1")],
        answered=[{"response_id": "1", "response_model": "llm"}],
        answered_by_shadow=[{"response_id": "1"}],
        alike=False,
        status_of_shadow="UNKNOWN",
    ),
    "oip_dynamo: one message": _call(
        "oip_dynamo",
        INFER,
        Said([_response(*_WHOLE, identity="1")]),
        Said([_RAW_WHOLE]),
        # Its front end has no counts, and these would not be its own.
        answered=[{"response_id": "1", "response_model": "llm", "finish_reasons": ("stop",)}],
        answered_by_shadow=[{"response_model": "llm", "finish_reasons": ("stop",)}],
        reads=frozenset({"text"}),
    ),
    "oip_dynamo: the finish reason ends an exchange": _call(
        "oip_dynamo",
        STREAM,
        Said([_dynamo("fo", ""), _dynamo("ur", "length")]),
        Said([_dynamo("four", "stop")]),
        requests=[_request("1")],
        answered=[{"response_id": "1", "response_model": "llm", "finish_reasons": ("length",)}],
        answered_by_shadow=[{"response_id": "1", "response_model": "llm", "finish_reasons": ("stop",)}],
        reads=frozenset({"text"}),
    ),
    "oip_dynamo: two requests interleaved in a stream": _call(
        "oip_dynamo",
        STREAM,
        Said([_dynamo("fo", ""), _dynamo("seven", "stop", "2"), _dynamo("ur", "length")]),
        Said([_dynamo("seven", "stop", "2"), _dynamo("four", "length")]),
        requests=[_request("1"), _request("2")],
        asked=[_ASKED, _ASKED],
        answered=_INTERLEAVED,
        answered_by_shadow=_INTERLEAVED,
        reads=frozenset({"text"}),
    ),
    "oip_mlserver: plain messages in a stream": _call(
        "oip_mlserver",
        STREAM,
        Said([_response(_of_bytes("text_output", "fo"), _of_counts("num_output_tokens", 1)), _response(*_REST)]),
        Said([_response(_of_bytes("text_output", "four"))]),
        requests=[_parameters()],
        asked=[_ASKED | {"max_tokens": 8, "temperature": 0.5, "top_p": 0.25, "top_k": 4}],
        answered=[_READ | {"output_tokens": 3}],
        answered_by_shadow=[{"response_model": "llm"}],
    ),
}

_SHARED = {"shared_memory_region": {"string_param": "r"}}
UNSHADOWABLE: dict[str, tuple[str, Message]] = {
    "oip_triton: one of a sequence": (INFER, _request(parameters={"sequence_id": {"int64_param": 1}})),
    "oip_triton: an input in shared memory": (INFER, _request(inputs=[_PROMPT | {"parameters": _SHARED}])),
    "oip_triton: an output to shared memory": (STREAM, _request(outputs=[{"name": "y", "parameters": _SHARED}])),
}

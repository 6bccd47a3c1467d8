"""Calls to our own reference API: one message or a stream of them each way, conversations side by side, documents."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message
from support.dialects.spoken import BIDI, SERVER_STREAM, STREAM_UNARY, UNARY, Said, Spoken
from support.filled import filled

from shadowmesh.schema.descriptors import message_class

READS = frozenset({"text", "tokens"})
_USAGE = {"input_tokens": 3, "output_tokens": 2, "cached_input_tokens": 1, "reasoning_output_tokens": 1}
_USED: dict[str, Any] = {**_USAGE, "usage_source": "response"}
_LOOK = {"id": "c", "name": "look", "arguments_json": '{"at":"home"}'}


def _own(name: str, **fields: Any) -> Message:
    message: Message = filled(message_class(f"shadowmesh.v1.{name}"), **fields)
    return message


def _request(identity: str = "r", **fields: Any) -> Message:
    sampling = {"temperature": 0.5, "top_p": 0.25, "top_k": 4, "stop": ["."]}
    asked = fields or {"prompt": "hello"}
    return _own("GenerateRequest", request_id=identity, model="llm", sampling=sampling, max_tokens=8, seed=5, **asked)


def _asked(operation: str = "chat") -> dict[str, Any]:
    parameters = {"max_tokens": 8, "temperature": 0.5, "top_p": 0.25, "top_k": 4, "seed": 5, "stop_sequences": (".",)}
    return {"operation": operation, "provider": "shadowmesh", "request_model": "llm", **parameters}


def _delta(text: str = "", identity: str = "r", **fields: Any) -> Message:
    return _own("GenerateDelta", request_id=identity, model="llm-1", delta=text, **fields)


def _whole(text: str = "", **fields: Any) -> Message:
    return _own("GenerateResponse", request_id="r", model="llm-1", text=text, **fields)


def _said(reason: str | None = None, identity: str = "r", **more: Any) -> dict[str, Any]:
    ended = {} if reason is None else {"finish_reasons": (reason,)}
    return {"response_id": identity, "response_model": "llm-1", **ended, **more}


def _call(name: str, arity: str, live: Said, shadow: Said, **facts: Any) -> Spoken:
    return Spoken(
        **{
            "protocol": "shadowmesh",
            "method": f"/shadowmesh.v1.Inference/{name}",
            "arity": arity,
            "requests": [_request()],
            "live": live,
            "shadow": shadow,
            "asked": [_asked()],
            "reads": READS,
            **facts,
        }
    )


_STOP, _LENGTH = {"finish_reason": "FINISH_REASON_STOP"}, {"finish_reason": "FINISH_REASON_LENGTH"}
_TALK = {
    "messages": [
        {"role": "ROLE_SYSTEM", "content": "be brief"},
        {"role": "ROLE_USER", "content": "hello"},
        {"role": "ROLE_ASSISTANT", "tool_calls": [_LOOK]},
        {"role": "ROLE_TOOL", "content": "sun", "tool_call_id": "c"},
    ]
}
_INGESTED: dict[str, Any] = {"operation": "ingest", "provider": "shadowmesh", "request_model": "llm"}
_READ_IN: dict[str, Any] = {"input_tokens": 3, "output_tokens": 0, "cached_input_tokens": 1, "usage_source": "response"}
CALLS: dict[str, Spoken] = {
    "shadowmesh: one message": _call(
        "Generate",
        UNARY,
        Said([_whole("four", usage=_USAGE, **_STOP)]),
        Said([_whole("five", **_LENGTH)]),
        answered=[_said("stop", **_USED)],
        answered_by_shadow=[_said("length")],
        alike=False,
    ),
    "shadowmesh: a call of a tool": _call(
        "StreamGenerate",
        SERVER_STREAM,
        Said([_delta(tool_calls=[_LOOK], finish_reason="FINISH_REASON_TOOL_CALLS", usage=_USAGE)]),
        Said([_delta("fo")], "UNAVAILABLE"),
        requests=[_request(messages=_TALK)],
        answered=[_said("tool_calls", **_USED)],
        answered_by_shadow=[_said()],
        alike=False,
        status_of_shadow="UNAVAILABLE",
    ),
    "shadowmesh: conversations side by side in one call": _call(
        "Converse",
        BIDI,
        Said(
            [
                _delta("fo", "1"),
                _delta("seven", "2", usage=_USAGE, **_STOP),
                _delta("ur", "1", usage=_USAGE, **_LENGTH),
            ]
        ),
        Said([_delta("four", "1", **_STOP), _delta("seven", "2", **_STOP)]),
        requests=[_request("1"), _request("2")],
        asked=[_asked(), _asked()],
        answered=[_said("length", "1", **_USED), _said("stop", "2", **_USED)],
        answered_by_shadow=[_said("stop", "1"), _said("stop", "2")],
    ),
    "shadowmesh: documents": _call(
        "Ingest",
        STREAM_UNARY,
        Said(
            [_own("IngestResponse", request_id="r", model="llm-1", usage={"input_tokens": 3, "cached_input_tokens": 1})]
        ),
        Said([], "RESOURCE_EXHAUSTED"),
        requests=[_own("IngestRequest", request_id="r", model="llm", text=text) for text in ("one", "two")],
        asked=[_INGESTED],
        answered=[_said(**_READ_IN)],
        answered_by_shadow=[{}],
        status_of_shadow="RESOURCE_EXHAUSTED",
        reads=frozenset({"tokens"}),
    ),
}

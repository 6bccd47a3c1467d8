"""Captured text, from OTLP's log events to what the store keeps (pure)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from google.protobuf.message import DecodeError as ProtobufError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from shadowmesh import names
from shadowmesh.errors import DecodeError
from shadowmesh.names import Role
from shadowmesh.store.records import Content

_LONGEST_NAME = 256
_DEEPEST = 16
_MOST_NAMES = 8


def decode_contents(data: bytes) -> list[Content]:
    """
    Return the text of legs in the bytes of an ``ExportLogsServiceRequest``; other records are none of ours.

    The texts are JSON, in the form that the conventions for generative AI publish.

    Raises:
        DecodeError: the bytes are no such request.
    """
    request = ExportLogsServiceRequest()
    try:
        request.ParseFromString(data)
    except ProtobufError as error:
        raise DecodeError("not an ExportLogsServiceRequest") from error
    return [
        content
        for resource in request.resource_logs
        for scope in resource.scope_logs
        for record in scope.log_records
        for content in _contents(record)
    ]


def _contents(record: LogRecord) -> Iterator[Content]:
    attributes = {one.key: one.value for one in record.attributes}
    experiment, pair_id, role, target = (
        attributes[key].string_value if key in attributes else ""
        for key in (names.EXPERIMENT_NAME, names.PAIR_ID, names.ROLE, names.TARGET_NAME)
    )
    ours = experiment and pair_id and (role == Role.LIVE or (role == Role.SHADOW and target))
    if not ours or max(map(len, (experiment, pair_id, target))) > _LONGEST_NAME:
        return
    texts = {
        field: _json(attributes[key])
        for field, key in (
            ("instructions", names.GEN_AI_SYSTEM_INSTRUCTIONS),
            ("input", names.GEN_AI_INPUT_MESSAGES),
            ("output", names.GEN_AI_OUTPUT_MESSAGES),
        )
        if key in attributes
    }
    if texts:
        truncated = attributes.get(names.CONTENT_TRUNCATED, AnyValue()).array_value.values
        yield Content(
            experiment=experiment,
            pair_id=pair_id,
            role=role,
            target=target if role == Role.SHADOW else "",
            truncated=tuple(one.string_value for one in truncated[:_MOST_NAMES]),
            **texts,
        )


def _json(value: AnyValue) -> str:
    # A sender without structured attributes says the same as a string.
    if value.WhichOneof("value") == "string_value":
        return value.string_value
    return json.dumps(_plain(value, 0), ensure_ascii=False, separators=(",", ":"))


def _plain(value: AnyValue, depth: int) -> Any:
    """Return an attribute as JSON has it; what is nested deeper than any message is left out."""
    kind = value.WhichOneof("value")
    if kind is None or depth > _DEEPEST:
        return None
    if kind == "array_value":
        return [_plain(one, depth + 1) for one in value.array_value.values]
    if kind == "kvlist_value":
        return {one.key: _plain(one.value, depth + 1) for one in value.kvlist_value.values}
    return value.bytes_value.hex() if kind == "bytes_value" else getattr(value, kind)

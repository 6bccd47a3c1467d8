"""A ``google.protobuf.Struct`` as JSON: the same text for the same content, whatever the order on the wire."""

from __future__ import annotations

import json
from typing import Any

from google.protobuf.message import Message

STRUCT = "google.protobuf.Struct"
# A double holds every whole number up to here, and its neighbours above are not all there.
_WHOLE = 1 << 53
as_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode


def struct_json(struct: Message) -> str:
    """Return its JSON, with its keys in order; raises nothing, since what is parsed is not deep."""
    return as_json(_object(struct))


def _object(struct: Any) -> dict[str, Any]:
    return {key: _value(value) for key, value in struct.fields.items()}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("kind")
    if kind is None or kind == "null_value":
        return None
    held = getattr(value, kind)
    if kind == "struct_value":
        return _object(held)
    if kind == "list_value":
        return [_value(one) for one in held.values]
    if kind == "number_value" and held.is_integer() and abs(held) <= _WHOLE:
        return int(held)
    return held

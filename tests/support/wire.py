"""Bytes of the reference model API, and how each of its methods is read."""

from __future__ import annotations

from typing import Any

from shadowmesh.catalog.builtin import method_map
from shadowmesh.protocols.protocol_map import MethodMap
from shadowmesh.schema import messages


def reference(method: str) -> MethodMap:
    """Return the built-in map of one method of the reference API."""
    found = method_map(f"/shadowmesh.v1.Inference/{method}")
    assert found is not None
    return found


def request(request_id: str = "r", **fields: Any) -> bytes:
    """Return the bytes of a ``GenerateRequest``."""
    return messages.GenerateRequest(request_id=request_id, **fields).SerializeToString()


def response(text: str = "", **fields: Any) -> bytes:
    """Return the bytes of a ``GenerateResponse``."""
    return messages.GenerateResponse(text=text, **fields).SerializeToString()


def delta(text: str = "", request_id: str = "r", **fields: Any) -> bytes:
    """Return the bytes of a ``GenerateDelta``."""
    return messages.GenerateDelta(delta=text, request_id=request_id, **fields).SerializeToString()


def last_delta(text: str = "", request_id: str = "r", *, tokens: tuple[int, int] = (1, 1)) -> bytes:
    """Return the bytes of the delta that ends an exchange."""
    usage = messages.Usage(input_tokens=tokens[0], output_tokens=tokens[1])
    return delta(text, request_id, finish_reason=messages.FINISH_REASON_STOP, usage=usage)

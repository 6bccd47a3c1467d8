"""What travels: messages of the reference API, made once, of exactly the sizes the settings say, and metadata."""

from __future__ import annotations

from typing import Final

from google.protobuf.message import Message

from shadowmesh.schema import inference

REQUEST_BYTES: Final = 400
REPLY_BYTES: Final = 200
STREAM_MESSAGES: Final = 64
FRAMING_BYTES: Final = 5
"""What gRPC puts before every message."""

UNARY: Final = inference.method("Generate")
STREAM: Final = inference.method("StreamGenerate")
_USAGE: Final = {"input_tokens": 80, "output_tokens": 64}
_STOP: Final = 1
_CALLS_OF_A_CONVERSATION: Final = 8


def request() -> bytes:
    """Return a prompt with sampling parameters."""
    fixed = {
        "request_id": "bench-1",
        "model": "bench-1b",
        "sampling": {"temperature": 0.7},
        "max_tokens": 64,
        "seed": 7,
    }
    return _filled(UNARY.request, "prompt", fixed, REQUEST_BYTES)


def reply() -> bytes:
    """Return a whole answer with its usage."""
    fixed = {"request_id": "bench-1", "model": "bench-1b", "finish_reason": _STOP, "usage": _USAGE}
    return _filled(UNARY.response, "text", fixed, REPLY_BYTES)


def deltas() -> tuple[bytes, ...]:
    """Return the messages of a stream; the last one has the usage."""
    fixed: dict[str, object] = {"request_id": "bench-1", "model": "bench-1b"}
    last = {**fixed, "finish_reason": _STOP, "usage": _USAGE}
    delta = _filled(STREAM.response, "delta", fixed, REPLY_BYTES)
    return (delta,) * (STREAM_MESSAGES - 1) + (_filled(STREAM.response, "delta", last, REPLY_BYTES),)


def metadata(call: int) -> tuple[tuple[str, str], ...]:
    """Return what a call with this number bears where policies read metadata; its idempotency key is its own."""
    return (
        ("authorization", "Bearer of-the-caller"),
        ("cookie", "session=3f1c0a77d2; theme=dark"),
        ("x-tenant-id", "tenant-0042"),
        ("x-tier", "paid"),
        ("x-client", "web/3.14.1"),
        ("x-conversation-id", f"{call // _CALLS_OF_A_CONVERSATION:016x}"),
        ("idempotency-key", f"{call:016x}"),
        ("x-experiment-arm", "b"),
    )


def _filled(kind: type[Message], field: str, fixed: dict[str, object], size: int) -> bytes:
    data = b""
    # The text's own length takes one byte or two, so the sum is found by trying.
    for length in range(size):
        data = kind(**fixed, **{field: "x" * length}).SerializeToString()
        if len(data) == size:
            return data
    raise ValueError(f"no {kind.__name__} of {size} bytes: the last try had {len(data)}")

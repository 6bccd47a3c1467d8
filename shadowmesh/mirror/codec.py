"""
Frames as bytes (pure).

On the wire a frame is a header ``kind u8 | body length u32 | call u64`` (little endian), then fixed fields, then
parts, each with its length. Nothing is ever pickled: a frame can only be what is written here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import lru_cache

from shadowmesh.errors import FrameError
from shadowmesh.mirror.frames import (
    Abandon,
    Begin,
    Caller,
    Credit,
    Credits,
    Drain,
    Extra,
    Frame,
    LiveDone,
    Lost,
    Outcome,
    Outcomes,
    Reload,
    Reported,
    Request,
    RequestEnd,
    Response,
    Settled,
    Setup,
    State,
)
from shadowmesh.model import Metadata
from shadowmesh.policy.live_gate import Admission
from shadowmesh.rpc import Arity

_HEADER = struct.Struct("<BIQ")
_LENGTH = struct.Struct("<I")
_DOUBLE = struct.Struct("<d")
_TIME = struct.Struct("<q")
_MESSAGES = struct.Struct("<II")
_BEGIN = struct.Struct("<qqdQ?II?")
_DONE = struct.Struct("<qq?QII")
_ARITIES = tuple(Arity)
_NO_DEADLINE = float("inf")
MAX_BODY = 1 << 31


def encode(frame: Frame) -> bytes:
    """Return the bytes of one frame."""
    kind = _KINDS[type(frame)]
    body = _ENCODERS[kind](frame)
    return _HEADER.pack(kind, len(body), frame.call) + body


class Decoder:
    """Cuts a byte stream back into frames, however it is chunked."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """
        Yield every frame completed by ``data``.

        Raises:
            FrameError: the bytes are not frames; the stream cannot be read any further.
        """
        buffer = self._buffer
        buffer += data
        while len(buffer) >= _HEADER.size:
            kind, length, call = _HEADER.unpack_from(buffer)
            if kind >= len(_DECODERS) or length > MAX_BODY:
                raise FrameError(f"frame kind {kind} of {length} bytes")
            end = _HEADER.size + length
            if len(buffer) < end:
                return
            try:
                frame = _DECODERS[kind](call, bytes(buffer[_HEADER.size : end]))
            except (struct.error, ValueError, IndexError) as error:
                raise FrameError(f"frame of kind {kind} does not parse") from error
            # Before it is handed out: whoever stops reading here must not get it again. Cutting off the front of a
            # bytearray moves no bytes.
            del buffer[:end]
            yield frame


def _pack(*parts: bytes) -> bytes:
    return b"".join([piece for part in parts for piece in (_LENGTH.pack(len(part)), part)])


def _unpack(body: bytes, start: int) -> list[bytes]:
    parts = []
    while start < len(body):
        (length,) = _LENGTH.unpack_from(body, start)
        start += _LENGTH.size
        if start + length > len(body):
            raise ValueError("a part is cut")
        parts.append(body[start : start + length])
        start += length
    return parts


def _encode_begin(frame: Begin) -> bytes:
    caller, request = frame.caller, frame.request
    about = _encode_about(frame.method, frame.arity, frame.experiment, frame.admissions)
    metadata = _encode_metadata(frame.metadata) if frame.metadata else b""
    trace = _encode_trace(caller.traceparent, caller.tracestate) if caller.traceparent else b""
    fixed = _BEGIN.pack(
        frame.at_ns,
        frame.wall_ns,
        _NO_DEADLINE if frame.deadline is None else frame.deadline,
        caller.attempt,
        caller.instrumented,
        frame.pages,
        len(about),
        request is not None,
    )
    return b"".join((fixed, about, _pack(trace, metadata), request or b""))


@lru_cache(maxsize=256)
def _encode_about(method: str, arity: Arity, experiment: str, admissions: tuple[Admission, ...]) -> bytes:
    """Return what is the same for nearly every call; remembered, and given to the decoder in one piece."""
    parts = [bytes((_ARITIES.index(arity),)), method.encode(), experiment.encode()]
    for target, probability, reason in admissions:
        parts += [target.encode(), _DOUBLE.pack(probability), reason.encode()]
    return _pack(*parts)


@lru_cache(maxsize=256)
def _decode_about(body: bytes) -> tuple[str, Arity, str, tuple[Admission, ...]]:
    arity, method, experiment, *parts = _unpack(body, 0)
    admissions = tuple(
        Admission(target.decode(), _DOUBLE.unpack(probability)[0], reason.decode())
        for target, probability, reason in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    )
    return method.decode(), _ARITIES[arity[0]], experiment.decode(), admissions


def _encode_trace(traceparent: str, tracestate: str) -> bytes:
    return _pack(traceparent.encode(), tracestate.encode())


def _encode_metadata(metadata: Metadata) -> bytes:
    return _pack(*(part for key, value in metadata for part in (key.encode(), _encode_value(value))))


def _encode_value(value: str | bytes) -> bytes:
    return b"b" + value if isinstance(value, bytes) else b"s" + value.encode()


def _decode_begin(call: int, body: bytes) -> Begin:
    at_ns, wall_ns, deadline, attempt, instrumented, pages, length, with_request = _BEGIN.unpack_from(body)
    start = _BEGIN.size + length
    method, arity, experiment, admissions = _decode_about(body[_BEGIN.size : start])
    trace, start = _part(body, start)
    metadata, start = _part(body, start)
    traceparent, tracestate = (part.decode() for part in _unpack(trace, 0)) if trace else ("", "")
    if not with_request and start < len(body):
        raise ValueError("bytes after the last part")
    return Begin(
        call=call,
        method=method,
        arity=arity,
        experiment=experiment,
        at_ns=at_ns,
        wall_ns=wall_ns,
        deadline=None if deadline == _NO_DEADLINE else deadline,
        caller=Caller(traceparent, tracestate, instrumented, attempt),
        metadata=_decode_metadata(metadata) if metadata else (),
        admissions=admissions,
        request=body[start:] if with_request else None,
        pages=pages,
    )


def _part(body: bytes, start: int) -> tuple[bytes, int]:
    (length,) = _LENGTH.unpack_from(body, start)
    start += _LENGTH.size
    if start + length > len(body):
        raise ValueError("a part is cut")
    return body[start : start + length], start + length


def _decode_metadata(body: bytes) -> Metadata:
    parts = _unpack(body, 0)
    return tuple(
        (key.decode(), value[1:] if value[:1] == b"b" else value[1:].decode())
        for key, value in zip(parts[::2], parts[1::2], strict=True)
    )


def _encode_messages(frame: Request | Response) -> bytes:
    count = len(frame.times_ns)
    return _MESSAGES.pack(count, frame.pages) + struct.pack(f"<{count}q", *frame.times_ns) + _pack(*frame.messages)


def _decode_messages(body: bytes) -> tuple[tuple[int, ...], tuple[bytes, ...], int]:
    count, pages = _MESSAGES.unpack_from(body)
    times = struct.unpack_from(f"<{count}q", body, _MESSAGES.size)
    return times, tuple(_unpack(body, _MESSAGES.size + 8 * count)), pages


def _encode_done(frame: LiveDone) -> bytes:
    count = len(frame.times_ns)
    fixed = _DONE.pack(frame.at_ns, frame.stall_ns, frame.captured, frame.total, frame.pages, count)
    times = struct.pack(f"<{count}q", *frame.times_ns)
    return b"".join((fixed, times, _pack(frame.status.encode(), frame.end.encode(), *frame.messages)))


def _decode_done(call: int, body: bytes) -> LiveDone:
    at_ns, stall_ns, captured, total, pages, count = _DONE.unpack_from(body)
    times = struct.unpack_from(f"<{count}q", body, _DONE.size)
    status, end, *messages = _unpack(body, _DONE.size + 8 * count)
    return LiveDone(
        call, at_ns, status.decode(), end.decode(), stall_ns, captured, total, times, tuple(messages), pages
    )


def _encode_outcome(frame: Outcome) -> bytes:
    return _pack(frame.experiment.encode(), frame.target.encode())


def _decode_outcome(call: int, body: bytes) -> Outcome:
    experiment, target = _unpack(body, 0)
    return Outcome(call, experiment.decode(), target.decode())


def _encode_extra(frame: Extra) -> bytes:
    return _LENGTH.pack(frame.exchanges) + _pack(frame.experiment.encode(), frame.target.encode())


def _decode_extra(call: int, body: bytes) -> Extra:
    (exchanges,) = _LENGTH.unpack_from(body)
    experiment, target = _unpack(body, _LENGTH.size)
    return Extra(call, experiment.decode(), target.decode(), exchanges)


def _encode_state(frame: State) -> bytes:
    return _pack(frame.experiment.encode(), frame.target.encode(), frame.closed.encode())


def _decode_state(call: int, body: bytes) -> State:
    experiment, target, closed = _unpack(body, 0)
    return State(call, experiment.decode(), target.decode(), closed.decode())


def _encode_outcomes(frame: Outcomes) -> bytes:
    return _pack(frame.experiment.encode(), frame.target.encode(), struct.pack(f"<{len(frame.calls)}Q", *frame.calls))


def _decode_outcomes(call: int, body: bytes) -> Outcomes:
    experiment, target, calls = _unpack(body, 0)
    return Outcomes(call, experiment.decode(), target.decode(), struct.unpack(f"<{len(calls) // 8}Q", calls))


def _encode_credits(frame: Credits) -> bytes:
    count = len(frame.calls)
    return struct.pack(f"<{count}Q{count}I", *frame.calls, *frame.pages)


def _decode_credits(call: int, body: bytes) -> Credits:
    count = len(body) // 12
    numbers = struct.unpack(f"<{count}Q{count}I", body)
    return Credits(call, numbers[:count], numbers[count:])


def _encode_settled(frame: Settled) -> bytes:
    return struct.pack(f"<{len(frame.calls)}Q", *frame.calls)


def _decode_settled(call: int, body: bytes) -> Settled:
    return Settled(call, struct.unpack(f"<{len(body) // 8}Q", body))


def _encode_lost(frame: Lost) -> bytes:
    return _LENGTH.pack(frame.exchanges) + _pack(
        frame.experiment.encode(), frame.target.encode(), frame.reason.encode()
    )


def _decode_lost(call: int, body: bytes) -> Lost:
    (exchanges,) = _LENGTH.unpack_from(body)
    experiment, target, reason = _unpack(body, _LENGTH.size)
    return Lost(call, experiment.decode(), target.decode(), reason.decode(), exchanges)


def _decode_reported(call: int, body: bytes) -> Reported:
    (times,) = _LENGTH.unpack_from(body)
    return Reported(call, body[_LENGTH.size :].decode(), times)


_CODECS: tuple[tuple[type[Frame], Callable[..., bytes], Callable[[int, bytes], Frame]], ...] = (
    (Begin, _encode_begin, _decode_begin),
    (Request, _encode_messages, lambda call, body: Request(call, *_decode_messages(body))),
    (
        RequestEnd,
        lambda frame: _TIME.pack(frame.at_ns),
        lambda call, body: RequestEnd(call, *_TIME.unpack(body)),
    ),
    (Response, _encode_messages, lambda call, body: Response(call, *_decode_messages(body))),
    (LiveDone, _encode_done, _decode_done),
    (Abandon, lambda frame: frame.reason.encode(), lambda call, body: Abandon(call, body.decode())),
    (Reload, lambda frame: frame.config, Reload),
    (
        Drain,
        lambda frame: _DOUBLE.pack(frame.grace),
        lambda call, body: Drain(call, *_DOUBLE.unpack(body)),
    ),
    (Outcome, _encode_outcome, _decode_outcome),
    (Extra, _encode_extra, _decode_extra),
    (State, _encode_state, _decode_state),
    (
        Credit,
        lambda frame: _LENGTH.pack(frame.pages),
        lambda call, body: Credit(call, *_LENGTH.unpack(body)),
    ),
    (Setup, lambda frame: frame.config, Setup),
    (Settled, _encode_settled, _decode_settled),
    (Outcomes, _encode_outcomes, _decode_outcomes),
    (Credits, _encode_credits, _decode_credits),
    (Lost, _encode_lost, _decode_lost),
    (Reported, lambda frame: _LENGTH.pack(frame.times) + frame.cause.encode(), _decode_reported),
)
_KINDS = {record: kind for kind, (record, _, _) in enumerate(_CODECS)}
_ENCODERS = tuple(codec[1] for codec in _CODECS)
_DECODERS = tuple(codec[2] for codec in _CODECS)

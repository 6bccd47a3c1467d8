"""The bytes of the frames that a call is made of, on their way to the engine (pure)."""

from __future__ import annotations

import struct
from functools import lru_cache

from shadowmesh.mirror.frames import Abort, Begin, Caller, LiveDone, Request, Response
from shadowmesh.mirror.parts import DOUBLE, TIME, pack, pack_texts, part_at, unpack, unpack_texts
from shadowmesh.model import Metadata
from shadowmesh.policy.plan import Admission
from shadowmesh.rpc import Arity

_MESSAGES = struct.Struct("<II")
_BEGIN = struct.Struct("<qqdQ?II?h")
_DONE = struct.Struct("<qq?QII")
_ARITIES = tuple(Arity)
_NO_DEADLINE = float("inf")
_NO_SESSION = -1


def encode_begin(frame: Begin) -> bytes:
    """Return the body of a ``Begin``."""
    caller, request = frame.caller, frame.request
    about = _encode_about(frame.method, frame.arity, frame.experiment, frame.admissions)
    metadata = _encode_metadata(frame.metadata) if frame.metadata else b""
    trace = pack_texts(caller.traceparent, caller.tracestate) if caller.traceparent else b""
    fixed = _BEGIN.pack(
        frame.at_ns,
        frame.wall_ns,
        _NO_DEADLINE if frame.deadline is None else frame.deadline,
        caller.attempt,
        caller.instrumented,
        frame.pages,
        len(about),
        request is not None,
        _NO_SESSION if frame.session is None else frame.session,
    )
    return b"".join((fixed, about, pack(trace, metadata), request or b""))


@lru_cache(maxsize=256)
def _encode_about(method: str, arity: Arity, experiment: str, admissions: tuple[Admission, ...]) -> bytes:
    """Return what is the same for nearly every call; remembered, and given to the decoder in one piece."""
    arity_code = bytes((_ARITIES.index(arity),))
    return pack(arity_code, method.encode(), experiment.encode(), *encode_admissions(admissions))


@lru_cache(maxsize=256)
def _decode_about(body: bytes) -> tuple[str, Arity, str, tuple[Admission, ...]]:
    arity, method, experiment, *parts = unpack(body)
    return method.decode(), _ARITIES[arity[0]], experiment.decode(), decode_admissions(parts)


def encode_admissions(admissions: tuple[Admission, ...]) -> list[bytes]:
    """Return admissions as parts."""
    return [
        part
        for target, probability, reason in admissions
        for part in (target.encode(), DOUBLE.pack(probability), reason.encode())
    ]


def decode_admissions(parts: list[bytes]) -> tuple[Admission, ...]:
    """Return the admissions that these parts are."""
    return tuple(
        Admission(target.decode(), DOUBLE.unpack(probability)[0], reason.decode())
        for target, probability, reason in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    )


def _encode_metadata(metadata: Metadata) -> bytes:
    return pack(*(part for key, value in metadata for part in (key.encode(), _encode_value(value))))


def _encode_value(value: str | bytes) -> bytes:
    return b"b" + value if isinstance(value, bytes) else b"s" + value.encode()


def decode_begin(call: int, body: bytes) -> Begin:
    """Return the ``Begin`` whose body this is."""
    at_ns, wall_ns, deadline, attempt, instrumented, pages, length, with_request, session = _BEGIN.unpack_from(body)
    start = _BEGIN.size + length
    method, arity, experiment, admissions = _decode_about(body[_BEGIN.size : start])
    trace, start = part_at(body, start)
    metadata, start = part_at(body, start)
    traceparent, tracestate = unpack_texts(trace) if trace else ("", "")
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
        session=None if session == _NO_SESSION else session,
    )


def _decode_metadata(body: bytes) -> Metadata:
    parts = unpack(body)
    return tuple(
        (key.decode(), value[1:] if value[:1] == b"b" else value[1:].decode())
        for key, value in zip(parts[::2], parts[1::2], strict=True)
    )


def encode_messages(frame: Request | Response) -> bytes:
    """Return the body of a frame of messages."""
    count = len(frame.times_ns)
    return _MESSAGES.pack(count, frame.pages) + struct.pack(f"<{count}q", *frame.times_ns) + pack(*frame.messages)


def decode_messages(body: bytes) -> tuple[tuple[int, ...], tuple[bytes, ...], int]:
    """Return the times, messages and pages that are in this body."""
    count, pages = _MESSAGES.unpack_from(body)
    times = struct.unpack_from(f"<{count}q", body, _MESSAGES.size)
    return times, tuple(unpack(body, _MESSAGES.size + 8 * count)), pages


def encode_done(frame: LiveDone) -> bytes:
    """Return the body of a ``LiveDone``."""
    count = len(frame.times_ns)
    fixed = _DONE.pack(frame.at_ns, frame.stall_ns, frame.captured, frame.total, frame.pages, count)
    times = struct.pack(f"<{count}q", *frame.times_ns)
    return b"".join((fixed, times, pack(frame.status.encode(), frame.end.encode(), *frame.messages)))


def decode_done(call: int, body: bytes) -> LiveDone:
    """Return the ``LiveDone`` whose body this is."""
    at_ns, stall_ns, captured, total, pages, count = _DONE.unpack_from(body)
    times = struct.unpack_from(f"<{count}q", body, _DONE.size)
    status, end, *messages = unpack(body, _DONE.size + 8 * count)
    return LiveDone(
        call, at_ns, status.decode(), end.decode(), stall_ns, captured, total, times, tuple(messages), pages
    )


def encode_abort(frame: Abort) -> bytes:
    """Return the body of an ``Abort``."""
    return TIME.pack(frame.at_ns) + pack(frame.method.encode(), frame.request)


def decode_abort(call: int, body: bytes) -> Abort:
    """Return the ``Abort`` whose body this is."""
    (at_ns,) = TIME.unpack_from(body)
    method, request = unpack(body, TIME.size)
    return Abort(call, at_ns, method.decode(), request)

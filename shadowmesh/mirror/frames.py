"""
The frames that cross from the live side to the mirror engine and back, and their bytes.

Carriers inside one process hand the records over as they are; a carrier that leaves the process encodes them. On
the wire a frame is a header ``kind u8 | body length u32 | call u64`` (little endian), then fixed fields, then
parts, each with its length. Nothing is ever pickled: a frame can only be what is written here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

from shadowmesh.errors import FrameError
from shadowmesh.model import Metadata, TraceContext
from shadowmesh.policy.live_gate import Admission
from shadowmesh.rpc import Arity


class Begin(NamedTuple):
    """
    An exchange has begun. ``at_ns`` is the monotonic clock that all frames of a call share, ``wall_ns`` the
    wall clock at the same moment; ``deadline`` is what the live call has left, seconds.
    """

    call: int
    method: str
    arity: Arity
    experiment: str
    pair_id: int
    at_ns: int
    wall_ns: int
    trace: TraceContext
    live_span_id: int
    deadline: float | None
    attempt: int
    metadata: Metadata
    admissions: tuple[Admission, ...]


class Request(NamedTuple):
    """Request messages as they came, with the time of each; ``pages`` is the credit they hold."""

    call: int
    times_ns: tuple[int, ...]
    messages: tuple[bytes, ...]
    pages: int


class RequestEnd(NamedTuple):
    """The live client has half-closed."""

    call: int
    at_ns: int


class Response(NamedTuple):
    """Response messages as they went, with the time of each; no messages when their bytes were let go."""

    call: int
    times_ns: tuple[int, ...]
    messages: tuple[bytes, ...]
    pages: int


class LiveDone(NamedTuple):
    """
    The live leg has ended. ``status`` is empty when nobody can know it; ``captured`` says whether every response
    message is in the frames, ``messages`` how many there were; ``stall_ns`` how long our writes waited for the client.
    """

    call: int
    at_ns: int
    status: str
    end: str
    stall_ns: int
    captured: bool
    messages: int = 0


class Abandon(NamedTuple):
    """Request messages were let go for ``reason``: what the shadows have is not the whole request."""

    call: int
    reason: str


class Reload(NamedTuple):
    """The experiments in force for every call that begins after this frame, as JSON."""

    call: int
    config: bytes


class Drain(NamedTuple):
    """No call begins after this frame; what is open may take ``grace`` seconds more."""

    call: int
    grace: float


class Outcome(NamedTuple):
    """Back: the shadow of ``target`` is over."""

    call: int
    experiment: str
    target: str


class Extra(NamedTuple):
    """Back: the call turned out to carry ``exchanges`` more than the one it was admitted for, at ``target`` too."""

    call: int
    experiment: str
    target: str
    exchanges: int


class State(NamedTuple):
    """Back: whether ``target`` of ``experiment`` may be admitted; ``closed`` is the drop reason while it may not."""

    call: int
    experiment: str
    target: str
    closed: str


class Credit(NamedTuple):
    """Back: ``pages`` of captured bytes are free again."""

    call: int
    pages: int


Frame: TypeAlias = (
    Begin | Request | RequestEnd | Response | LiveDone | Abandon | Reload | Drain | Outcome | Extra | State | Credit
)

_HEADER = struct.Struct("<BIQ")
_LENGTH = struct.Struct("<I")
_MESSAGES = struct.Struct("<II")
_BEGIN = struct.Struct("<BqqdQ16s16sQQQB?")
_DONE = struct.Struct("<qq?Q")
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


def _pack(parts: list[bytes]) -> bytes:
    return b"".join(piece for part in parts for piece in (_LENGTH.pack(len(part)), part))


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
    trace = frame.trace
    fixed = _BEGIN.pack(
        _ARITIES.index(frame.arity),
        frame.at_ns,
        frame.wall_ns,
        _NO_DEADLINE if frame.deadline is None else frame.deadline,
        frame.attempt,
        frame.pair_id.to_bytes(16, "big"),
        trace.trace_id.to_bytes(16, "big"),
        trace.inbound_span_id,
        trace.remote_span_id,
        frame.live_span_id,
        trace.flags,
        trace.inbound_is_ours,
    )
    parts = [frame.method.encode(), frame.experiment.encode(), trace.state.encode()]
    parts.append(_pack([part for key, value in frame.metadata for part in (key.encode(), _encode_value(value))]))
    for target, probability, reason in frame.admissions:
        parts += [target.encode(), struct.pack("<d", probability), reason.encode()]
    return fixed + _pack(parts)


def _encode_value(value: str | bytes) -> bytes:
    return b"b" + value if isinstance(value, bytes) else b"s" + value.encode()


def _decode_begin(call: int, body: bytes) -> Begin:
    (arity, at_ns, wall_ns, deadline, attempt, pair_id, trace_id, inbound, remote, live, flags, ours) = (
        _BEGIN.unpack_from(body)
    )
    method, experiment, state, packed, *admissions = _unpack(body, _BEGIN.size)
    pairs = _unpack(packed, 0)
    return Begin(
        call=call,
        method=method.decode(),
        arity=_ARITIES[arity],
        experiment=experiment.decode(),
        pair_id=int.from_bytes(pair_id, "big"),
        at_ns=at_ns,
        wall_ns=wall_ns,
        trace=TraceContext(
            trace_id=int.from_bytes(trace_id, "big"),
            inbound_span_id=inbound,
            remote_span_id=remote,
            inbound_is_ours=ours,
            flags=flags,
            state=state.decode(),
        ),
        live_span_id=live,
        deadline=None if deadline == _NO_DEADLINE else deadline,
        attempt=attempt,
        metadata=tuple(
            (key.decode(), value[1:] if value[:1] == b"b" else value[1:].decode())
            for key, value in zip(pairs[::2], pairs[1::2], strict=True)
        ),
        admissions=tuple(
            Admission(target.decode(), struct.unpack("<d", probability)[0], reason.decode())
            for target, probability, reason in zip(admissions[::3], admissions[1::3], admissions[2::3], strict=True)
        ),
    )


def _encode_messages(frame: Request | Response) -> bytes:
    count = len(frame.times_ns)
    return _MESSAGES.pack(count, frame.pages) + struct.pack(f"<{count}q", *frame.times_ns) + _pack(list(frame.messages))


def _decode_messages(body: bytes) -> tuple[tuple[int, ...], tuple[bytes, ...], int]:
    count, pages = _MESSAGES.unpack_from(body)
    times = struct.unpack_from(f"<{count}q", body, _MESSAGES.size)
    return times, tuple(_unpack(body, _MESSAGES.size + 8 * count)), pages


def _encode_done(frame: LiveDone) -> bytes:
    fixed = _DONE.pack(frame.at_ns, frame.stall_ns, frame.captured, frame.messages)
    return fixed + _pack([frame.status.encode(), frame.end.encode()])


def _decode_done(call: int, body: bytes) -> LiveDone:
    at_ns, stall_ns, captured, messages = _DONE.unpack_from(body)
    status, end = _unpack(body, _DONE.size)
    return LiveDone(call, at_ns, status.decode(), end.decode(), stall_ns, captured, messages)


def _encode_outcome(frame: Outcome) -> bytes:
    return _pack([frame.experiment.encode(), frame.target.encode()])


def _decode_outcome(call: int, body: bytes) -> Outcome:
    experiment, target = _unpack(body, 0)
    return Outcome(call, experiment.decode(), target.decode())


def _encode_extra(frame: Extra) -> bytes:
    return _LENGTH.pack(frame.exchanges) + _pack([frame.experiment.encode(), frame.target.encode()])


def _decode_extra(call: int, body: bytes) -> Extra:
    (exchanges,) = _LENGTH.unpack_from(body)
    experiment, target = _unpack(body, _LENGTH.size)
    return Extra(call, experiment.decode(), target.decode(), exchanges)


def _encode_state(frame: State) -> bytes:
    return _pack([frame.experiment.encode(), frame.target.encode(), frame.closed.encode()])


def _decode_state(call: int, body: bytes) -> State:
    experiment, target, closed = _unpack(body, 0)
    return State(call, experiment.decode(), target.decode(), closed.decode())


_CODECS: tuple[tuple[type[Frame], Callable[..., bytes], Callable[[int, bytes], Frame]], ...] = (
    (Begin, _encode_begin, _decode_begin),
    (Request, _encode_messages, lambda call, body: Request(call, *_decode_messages(body))),
    (
        RequestEnd,
        lambda frame: struct.pack("<q", frame.at_ns),
        lambda call, body: RequestEnd(call, *struct.unpack("<q", body)),
    ),
    (Response, _encode_messages, lambda call, body: Response(call, *_decode_messages(body))),
    (LiveDone, _encode_done, _decode_done),
    (Abandon, lambda frame: frame.reason.encode(), lambda call, body: Abandon(call, body.decode())),
    (Reload, lambda frame: frame.config, Reload),
    (
        Drain,
        lambda frame: struct.pack("<d", frame.grace),
        lambda call, body: Drain(call, *struct.unpack("<d", body)),
    ),
    (Outcome, _encode_outcome, _decode_outcome),
    (Extra, _encode_extra, _decode_extra),
    (State, _encode_state, _decode_state),
    (
        Credit,
        lambda frame: _LENGTH.pack(frame.pages),
        lambda call, body: Credit(call, *_LENGTH.unpack(body)),
    ),
)
_KINDS = {record: kind for kind, (record, _, _) in enumerate(_CODECS)}
_ENCODERS = tuple(codec[1] for codec in _CODECS)
_DECODERS = tuple(codec[2] for codec in _CODECS)

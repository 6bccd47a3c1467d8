"""
Frames as bytes (pure).

On the wire a frame is a header ``kind u8 | body length u32 | call u64`` (little endian), then fixed fields, then
parts, each with its length. Nothing is ever pickled: a frame can only be what is written here.

Frames that are true only together travel behind a header of their own, whose length is that of all of them: none is
read before the last one is there. Of a process that is killed while it speaks they are heard all or not at all.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from shadowmesh.errors import FrameError
from shadowmesh.mirror import codec_answers as answers
from shadowmesh.mirror import codec_calls as calls
from shadowmesh.mirror.frames import (
    Abandon,
    Abort,
    Aborted,
    Begin,
    Credit,
    Credits,
    Drain,
    Extra,
    Frame,
    Left,
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
from shadowmesh.mirror.parts import DOUBLE, LENGTH, TIME

_HEADER = struct.Struct("<BIQ")
_TOGETHER = 128
MAX_BODY = 1 << 31


def encode(frame: Frame) -> bytes:
    """
    Return the bytes of one frame.

    Raises:
        FrameError: its body would be larger than anybody reads.
        ValueError, struct.error: a text of it is none that can be encoded, a number none that fits.
    """
    kind = _KINDS[type(frame)]
    body = _ENCODERS[kind](frame)
    if len(body) > MAX_BODY:
        raise FrameError(f"frame kind {kind} of {len(body)} bytes")
    return _HEADER.pack(kind, len(body), frame.call) + body


def together(encoded: list[bytes]) -> bytes:
    """Return the bytes of frames as those of one breath."""
    body = b"".join(encoded)
    return _HEADER.pack(_TOGETHER, len(body), 0) + body


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
            if (kind >= len(_DECODERS) and kind != _TOGETHER) or length > MAX_BODY:
                raise FrameError(f"frame kind {kind} of {length} bytes")
            end = _HEADER.size + length
            if len(buffer) < end:
                return
            if kind == _TOGETHER:
                # All of them are here: they are read as if they had come one by one.
                del buffer[: _HEADER.size]
                continue
            try:
                frame = _DECODERS[kind](call, bytes(buffer[_HEADER.size : end]))
            except (struct.error, ValueError, IndexError) as error:
                raise FrameError(f"frame of kind {kind} does not parse") from error
            # Before it is handed out: whoever stops reading here must not get it again. Cutting off the front of a
            # bytearray moves no bytes.
            del buffer[:end]
            yield frame


_CODECS: tuple[tuple[type[Frame], Callable[..., bytes], Callable[[int, bytes], Frame]], ...] = (
    (Begin, calls.encode_begin, calls.decode_begin),
    (Request, calls.encode_messages, lambda call, body: Request(call, *calls.decode_messages(body))),
    (
        RequestEnd,
        lambda frame: TIME.pack(frame.at_ns),
        lambda call, body: RequestEnd(call, *TIME.unpack(body)),
    ),
    (Response, calls.encode_messages, lambda call, body: Response(call, *calls.decode_messages(body))),
    (LiveDone, calls.encode_done, calls.decode_done),
    (Abandon, lambda frame: frame.reason.encode(), lambda call, body: Abandon(call, body.decode())),
    (Reload, lambda frame: frame.config, Reload),
    (
        Drain,
        lambda frame: DOUBLE.pack(frame.grace),
        lambda call, body: Drain(call, *DOUBLE.unpack(body)),
    ),
    (Outcome, answers.encode_outcome, answers.decode_outcome),
    (Extra, answers.encode_extra, answers.decode_extra),
    (State, answers.encode_state, answers.decode_state),
    (
        Credit,
        lambda frame: LENGTH.pack(frame.pages),
        lambda call, body: Credit(call, *LENGTH.unpack(body)),
    ),
    (Setup, lambda frame: frame.config, Setup),
    (Settled, answers.encode_settled, answers.decode_settled),
    (Outcomes, answers.encode_outcomes, answers.decode_outcomes),
    (Credits, answers.encode_credits, answers.decode_credits),
    (Lost, answers.encode_lost, answers.decode_lost),
    (Reported, answers.encode_reported, answers.decode_reported),
    (Left, answers.encode_left, answers.decode_left),
    (Abort, calls.encode_abort, calls.decode_abort),
    (Aborted, answers.encode_aborted, answers.decode_aborted),
)
_KINDS = {record: kind for kind, (record, _, _) in enumerate(_CODECS)}
_ENCODERS = tuple(codec[1] for codec in _CODECS)
_DECODERS = tuple(codec[2] for codec in _CODECS)

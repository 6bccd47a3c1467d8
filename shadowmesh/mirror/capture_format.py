"""
The files that live calls are captured to: JSON Lines, which anything can read.

The first line is ``{"schema": "shadowmesh.capture/1"}``; every other is one call, written whole when it has ended and
never changed:

=============  ========================================================================================================
``method``     its full name
``arity``      ``unary_unary``, ``unary_stream``, ``stream_unary`` or ``stream_stream``
``at_ns``      when it began, nanoseconds since 1970
``elapsed_ns`` how long it took
``metadata``   of the request, what the allow-list let pass: a list of keys and values; a value is a text, or an object
               with ``base64``
``deadline``   what its client gave it, seconds; null without one
``requests``   its messages: a list of objects with ``ns``, when it came after the beginning (null where nobody knows),
               and ``base64``, its bytes
``responses``  likewise
``complete``   whether these are all; what did not fit the bounds of ``mirror`` is left out whole, per direction
``status``     the name of its status; empty where nobody can know it, as when the client left
``end``        how it ended: ``completed``, ``cancelled``, ``deadline`` or ``cut``
=============  ========================================================================================================

A reader takes keys that it does not know. A last line that is torn, by a crash or a full disk, is no call; where it is
the first one there is none.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from binascii import b2a_base64
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

from shadowmesh.errors import DecodeError
from shadowmesh.mirror.frames import Begin
from shadowmesh.mirror.observation import Observation
from shadowmesh.model import Metadata

SCHEMA = "shadowmesh.capture/1"
HEADER = json.dumps({"schema": SCHEMA}).encode() + b"\n"
# What is made in one step of the interpreter, in which no other thread runs; divisible by 3, as base64 wants it.
_PIECE = 3 << 16


class CapturedMessage(NamedTuple):
    """One message, and when it came, nanoseconds after the beginning of its call."""

    ns: int | None
    data: bytes


class CapturedCall(NamedTuple):
    """One live call; see the module's text."""

    method: str
    arity: str
    at_ns: int
    elapsed_ns: int
    metadata: Metadata
    deadline: float | None
    requests: tuple[CapturedMessage, ...]
    responses: tuple[CapturedMessage, ...]
    complete: bool
    status: str
    end: str


def captured_call(
    begin: Begin, requests: Sequence[bytes], live: Observation, *, requests_complete: bool
) -> CapturedCall:
    """Return a call that has ended, from what the engine's side saw of it."""
    kept = requests if requests_complete else ()
    return CapturedCall(
        method=begin.method,
        arity=begin.arity.value,
        at_ns=begin.wall_ns,
        elapsed_ns=live.ended_ns - begin.at_ns,
        metadata=begin.metadata,
        deadline=begin.deadline,
        requests=_timed(kept, live.request_times, begin.at_ns),
        responses=_timed(live.responses, live.response_times, begin.at_ns),
        complete=requests_complete and live.captured and bool(requests or begin.arity.request_streaming),
        status=live.status,
        end=live.end,
    )


def encoded(call: CapturedCall) -> bytes:
    """Return the line of a call."""
    return b"".join(pieces(call))


def pieces(call: CapturedCall) -> Iterator[bytes]:
    """Yield the line of a call, a long one in pieces: it is made beside live calls, which want to go on in between."""
    written = call._asdict()
    del written["requests"], written["responses"]
    written["metadata"] = [
        [key, {"base64": _text(value)} if isinstance(value, bytes) else value] for key, value in call.metadata
    ]
    line = bytearray(json.dumps(written, separators=(",", ":")).encode()[:-1])
    for name, messages in (("requests", call.requests), ("responses", call.responses)):
        line += b',"%s":[' % name.encode()
        for number, (ns, data) in enumerate(messages):
            line += b'%s{"ns":%s,"base64":"' % (b"," if number else b"", b"null" if ns is None else b"%d" % ns)
            for at in range(0, len(data), _PIECE):
                line += b2a_base64(data[at : at + _PIECE], newline=False)
                if len(line) > _PIECE:
                    yield bytes(line)
                    line.clear()
            line += b'"}'
        line += b"]"
    line += b"}\n"
    yield bytes(line)


def decoded(lines: Iterable[bytes]) -> Iterator[CapturedCall]:
    """
    Yield the calls of one file.

    Raises:
        DecodeError: it is no such file, or a line that is not its last one is no call.
    """
    torn = 0
    for number, line in enumerate(lines, 1):
        if torn:
            raise DecodeError(f"line {torn} is no call")
        if number == 1 and line != HEADER and HEADER.startswith(line):
            return
        try:
            read = json.loads(line)
            if number == 1:
                _check(read)
            else:
                yield _call(read)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            if number == 1:
                raise DecodeError(f"not a capture of {SCHEMA}") from error
            torn = number


def _check(header: Any) -> None:
    if header["schema"] != SCHEMA:
        raise ValueError(header["schema"])


def _call(read: Any) -> CapturedCall:
    values = {name: read[name] for name in CapturedCall._fields}
    for name in ("method", "arity", "status", "end"):
        if not isinstance(values[name], str):
            raise TypeError(name)
    values["metadata"] = tuple(
        (str(key), value if isinstance(value, str) else _bytes(value["base64"])) for key, value in read["metadata"]
    )
    for name in ("requests", "responses"):
        values[name] = tuple(CapturedMessage(one["ns"], _bytes(one["base64"])) for one in read[name])
    return CapturedCall(**values)


def _timed(messages: Sequence[bytes], times: Sequence[int], began_ns: int) -> tuple[CapturedMessage, ...]:
    times = times[: len(messages)]
    return tuple(
        CapturedMessage(None if at is None else at - began_ns, data) for data, at in zip_longest(messages, times)
    )


def _text(data: bytes) -> str:
    return b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return b64decode(text, validate=True)

"""The bytes of one exchange → its fields and its answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from google.protobuf.message import Message

from shadowmesh.model import NO_FIELDS, Fields
from shadowmesh.names import UsageSource
from shadowmesh.protocols.protocol_map import MethodMap
from shadowmesh.protocols.sources import Source

# Whoever sends the bytes also writes these into our spans, so they are cut to a size.
_MOST_CHARACTERS = 256
_MOST_STOPS = 16
# OTLP holds integers in 64 bits with a sign.
_INTEGERS = range(-(1 << 63), 1 << 63)
_USAGE = ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_output_tokens")


class Reading(NamedTuple):
    """
    What was read. ``output`` is the answer in parts (text, then tool calls), ``None`` where it is unknown; it
    stays in this process.
    """

    fields: Fields
    output: tuple[bytes, ...] | None


def read(method_map: MethodMap | None, requests: Sequence[bytes], responses: Sequence[bytes]) -> Reading:
    """Read one exchange; without a map the raw messages are the output and every field is unknown."""
    return Reading(
        read_fields(method_map, read_request(method_map, requests), responses), read_output(method_map, responses)
    )


def read_request(method_map: MethodMap | None, requests: Sequence[bytes]) -> dict[str, Any]:
    """Return the fields of a request: all legs of an exchange share them."""
    if method_map is None:
        return {}
    values: dict[str, Any] = {"operation": method_map.operation, "provider": method_map.provider}
    first = method_map.parse_request(requests[0]) if requests else None
    if first is None:
        return values
    for name, path in method_map.request.items():
        found = path.find(first)
        if not found:
            continue
        if name == "stop_sequences":
            values[name] = tuple(_text(value) for value in found[:_MOST_STOPS])
        else:
            values["request_model" if name == "model" else name] = _READERS.get(name, _integer)(found[0])
    return values


def read_fields(method_map: MethodMap | None, asked: dict[str, Any], responses: Sequence[bytes]) -> Fields:
    """Return the fields of one leg: those ``read_request`` returned, and those of its answer."""
    if method_map is None:
        return NO_FIELDS
    return Fields(**asked, **_response(method_map, responses))


def read_output(method_map: MethodMap | None, responses: Sequence[bytes]) -> tuple[bytes, ...] | None:
    """Return the answer in parts, ``None`` where one of its messages is none or the map does not say where it is."""
    if method_map is None:
        return tuple(responses)
    answers = [answer for answer in map(method_map.parse_response, responses) if answer is not None]
    return _output(method_map, answers) if len(answers) == len(responses) and _is_read(method_map, answers) else None


def _is_read(method_map: MethodMap, answers: Sequence[Message]) -> bool:
    """Return whether the map says where the answer is: two answers of which nothing is read are not the same."""
    sources = [method_map.response[name] for name in ("text", "ids") if name in method_map.response]
    if method_map.has_tensors:
        # Its models answer with tensors of any name.
        return any(source.find(answer) for source in sources for answer in answers)
    return bool(sources) or method_map.tool_calls is not None


def failure(method_map: MethodMap | None, responses: Sequence[bytes]) -> str:
    """Return the status of an answer that says itself that it failed, empty where it does not."""
    if method_map is None or method_map.pieces.error is None:
        return ""
    answers = filter(None, map(method_map.parse_response, responses))
    return method_map.pieces.error_status if any(map(method_map.pieces.failed, answers)) else ""


def first_content(method_map: MethodMap | None, responses: Sequence[bytes]) -> int:
    """Return the place of the message that is the first chunk; the first one, where none has content."""
    if method_map is None or not method_map.pieces.first_content:
        return 0
    for place, data in enumerate(responses):
        answer = method_map.parse_response(data)
        if answer is not None and method_map.pieces.says_something(answer):
            return place
    return 0


def _response(method_map: MethodMap, responses: Sequence[bytes]) -> dict[str, Any]:
    values = _last_words(method_map, responses)
    if method_map.counted:
        answers = [answer for answer in map(method_map.parse_response, responses) if answer is not None]
        for name, found in method_map.counted:
            count = method_map.pieces.count(name, found, answers)
            if count is not None:
                values[name] = _integer(count)
    if any(values.get(name) is not None for name in _USAGE):
        values["usage_source"] = str(UsageSource.RESPONSE)
    return values


def _last_words(method_map: MethodMap, responses: Sequence[bytes]) -> dict[str, Any]:
    """The last word on a field stands. Read from the end: the last message of a stream mostly has them all."""
    values: dict[str, Any] = {}
    wanted: Sequence[tuple[str, Source]] = method_map.answer
    for data in reversed(responses):
        answer = method_map.parse_response(data)
        if answer is None:
            continue
        missing = []
        for name, source in wanted:
            found = source.find(answer)
            if not found:
                missing.append((name, source))
                continue
            last = found[-1]
            if name == "finish_reason":
                reason = _text(last)
                values["finish_reasons"] = (method_map.finish_reasons.get(reason, reason),)
            elif name in ("id", "model"):
                values[f"response_{name}"] = _text(last)
            else:
                values[name] = _integer(last)
        wanted = missing
        if not wanted:
            break
    return values


def _output(method_map: MethodMap, answers: list[Message]) -> tuple[bytes, ...]:
    parts = list(joined(method_map, "text", answers))
    ids = method_map.response.get("ids")
    if ids is not None:
        parts += [b" ".join(b"%d" % one for one in output) for output in method_map.pieces.outputs(ids, answers)]
    calls = method_map.tool_calls
    if calls is not None:
        # Without their ids, which no two servers have in common; an absent name or argument is an empty part.
        parts += [part.encode() for answer in answers for call in calls.of(answer) for part in call[:2]]
    return tuple(parts)


def joined(method_map: MethodMap, name: str, answers: Sequence[Message]) -> Iterator[bytes]:
    """Yield a text of each output in UTF-8, whatever the protocol carries it as; of the answer's, one at least."""
    source = method_map.response.get(name)
    if source is None:
        return
    for values in method_map.pieces.outputs(source, answers) or ([[]] if name == "text" else []):
        yield b"".join(values) if source.kind == "bytes" else "".join(values).encode()


def _text(value: Any) -> str:
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return text[:_MOST_CHARACTERS]


def _integer(value: int) -> int | None:
    """What no span can carry is unknown, not another number."""
    return value if value in _INTEGERS else None


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


_READERS: dict[str, Callable[[Any], Any]] = {
    "model": _text,
    "temperature": _number,
    "top_p": _number,
    "top_k": _number,
}

"""The bytes of one exchange → its fields and its answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from google.protobuf.message import Message

from shadowmesh.model import NO_FIELDS, Cost, Fields, Metadata
from shadowmesh.names import CostSource, UsageSource
from shadowmesh.protocols.call_metadata import find_in_call
from shadowmesh.protocols.protocol_map import MethodMap
from shadowmesh.protocols.sources import Source
from shadowmesh.protocols.tool_calls import ToolCall

# Whoever sends the bytes also writes these into our spans, so they are cut to a size.
_MOST_CHARACTERS = 256
_MOST_STOPS = 16
_MOST_OUTPUTS = 16
_MOST_COST = 1 << 63
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


def read(
    method_map: MethodMap | None, requests: Sequence[bytes], responses: Sequence[bytes], metadata: Metadata = ()
) -> Reading:
    """Read one exchange; without a map the raw messages are the output and every field is unknown."""
    asked = read_request(method_map, requests, metadata)
    return Reading(read_fields(method_map, asked, responses), read_output(method_map, responses))


def read_request(method_map: MethodMap | None, requests: Sequence[bytes], metadata: Metadata = ()) -> dict[str, Any]:
    """Return the fields of a request: all legs of an exchange that were sent the same share them."""
    if method_map is None:
        return {}
    values: dict[str, Any] = {"operation": method_map.operation, "provider": method_map.provider}
    first = method_map.parse_request(requests[0]) if requests else None
    if first is None:
        return values
    for name, path in method_map.request.items():
        said = find_in_call(path, first, metadata)
        if not said:
            continue
        if name == "stop_sequences":
            values[name] = tuple(_text(value) for value in said[:_MOST_STOPS])
        else:
            values["request_model" if name == "model" else name] = _READERS.get(name, _integer)(said[0])
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
    return _output(method_map, answers) if len(answers) == len(responses) and is_read(method_map, answers) else None


def is_read(method_map: MethodMap, answers: Sequence[Message]) -> bool:
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


def read_cost(method_map: MethodMap | None, responses: Sequence[bytes]) -> Cost | None:
    """Return what the answer says it cost, the last word on it; ``None`` where it does not say."""
    if method_map is None or method_map.cost is None:
        return None
    source, units, currency = method_map.cost
    for data in reversed(responses):
        answer = method_map.parse_response(data)
        found = source.find(answer) if answer is not None else ()
        if found:
            # No other number is between the two, and JSON may say any.
            if not 0 <= found[-1] < _MOST_COST:
                return None
            return Cost(amount=found[-1] / units, currency=currency, source=str(CostSource.PROVIDER))
    return None


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
    if not (method_map.counted or method_map.reasons is not None):
        values = _last_words(method_map, map(method_map.parse_response, reversed(responses)))
    else:
        answers = [answer for answer in map(method_map.parse_response, responses) if answer is not None]
        values = _last_words(method_map, reversed(answers))
        if reasons := _reasons(method_map, answers):
            values["finish_reasons"] = reasons
        for name, found in method_map.counted:
            count = method_map.pieces.count(name, found, answers)
            if count is not None:
                values[name] = _integer(count)
    if any(values.get(name) is not None for name in _USAGE):
        values["usage_source"] = str(UsageSource.RESPONSE)
    return values


def _last_words(method_map: MethodMap, answers: Iterable[Message | None]) -> dict[str, Any]:
    """The last word on a field stands. Read from the end: the last message of a stream mostly has them all."""
    values: dict[str, Any] = {}
    wanted: Sequence[tuple[str, Source]] = method_map.answer
    for answer in answers:
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


def _reasons(method_map: MethodMap, answers: Sequence[Message]) -> tuple[str, ...]:
    """Return one reason where it is the same for all outputs, else each output's own, in their order."""
    found = reasons_of(method_map, answers)
    reasons = tuple(found[index] for index in sorted(found)[:_MOST_OUTPUTS])
    return reasons[:1] if len(set(reasons)) == 1 else reasons


def reasons_of(method_map: MethodMap, answers: Sequence[Message]) -> dict[int, str]:
    """Return why each of several outputs ended, by its index; nothing where a method has one output alone."""
    last: dict[int, str] = {}
    source = method_map.reasons
    if source is None:
        return last
    for answer in answers:
        for index, values in method_map.pieces.split(source, answer):
            said = _text(values[-1]) if values else ""
            if said:
                last[index] = method_map.finish_reasons.get(said, said)
    return last


def _output(method_map: MethodMap, answers: list[Message]) -> tuple[bytes, ...]:
    texts = joined(method_map, "text", answers)
    # A text at least, be it empty: an answer that calls a tool is another one than an answer of its name.
    parts = [texts[index] for index in sorted(texts)] or ([b""] if "text" in method_map.response else [])
    ids = method_map.response.get("ids")
    if ids is not None:
        found = method_map.pieces.outputs(ids, answers)
        parts += [b" ".join(b"%d" % one for one in found[index]) for index in sorted(found)]
    # Without their ids, which no two servers have in common; an absent name or argument is an empty part.
    for _, calls in sorted(tool_calls(method_map, answers).items()):
        parts += [part.encode() for call in calls for part in call[:2]]
    return tuple(parts)


def joined(method_map: MethodMap, name: str, answers: Sequence[Message]) -> dict[int, bytes]:
    """Return a text of each output that has it, by its index, in UTF-8, whatever the protocol carries it as."""
    source = method_map.response.get(name)
    if source is None:
        return {}
    found = method_map.pieces.outputs(source, answers)
    if source.kind == "bytes":
        return {index: b"".join(values) for index, values in found.items()}
    return {index: "".join(values).encode() for index, values in found.items()}


def tool_calls(method_map: MethodMap, answers: Sequence[Message]) -> dict[int, Sequence[ToolCall]]:
    """Return the calls of tools that each output makes, by its index."""
    source = method_map.tool_calls
    if source is None:
        return {}
    found: dict[int, list[Any]] = {}
    for answer in answers:
        for index, calls in method_map.pieces.split(source, answer):
            if calls:
                found.setdefault(index, []).extend(calls)
    return {index: source.whole(calls) for index, calls in found.items()}


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

"""What was said in one exchange → its fields and its answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields as dataclass_fields
from dataclasses import make_dataclass
from typing import Any, NamedTuple

from google.protobuf.message import Message

from shadowmesh.model import NO_FIELDS, Cost, Fields, Metadata
from shadowmesh.names import CostSource, UsageSource
from shadowmesh.protocols.fields import text as field_text
from shadowmesh.protocols.fields import tokens
from shadowmesh.protocols.messages import Answer, Requests
from shadowmesh.protocols.protocol_map import MethodMap
from shadowmesh.protocols.tool_calls import ToolCall

_MOST_OUTPUTS = 16
_MOST_COST = 1 << 63
# To look up a member and its value takes up to half a microsecond.
_IN_RESPONSE, _BY_PROVIDER = UsageSource.RESPONSE.value, CostSource.PROVIDER.value

_Unfrozen: Any = make_dataclass(
    "_Unfrozen", [(one.name, object, one.default) for one in dataclass_fields(Fields)], slots=True, kw_only=True
)
"""Has the slots of ``Fields``, so that what it makes can become one."""


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
    answer = Answer(method_map, responses)
    return Reading(read_fields(read_request(Requests(method_map, requests), metadata), answer), read_output(answer))


def read_request(requests: Requests, metadata: Metadata = ()) -> dict[str, Any]:
    """Return the fields of a request: all legs of an exchange that were sent the same share them."""
    method_map = requests.method_map
    if method_map is None:
        return {}
    first = requests.at(0) if requests.data else None
    values = {} if first is None else method_map.asked_fields.read(first, metadata)
    values["operation"], values["provider"] = method_map.operation, method_map.provider
    return values


def read_fields(asked: dict[str, Any], answer: Answer) -> Fields:
    """Return the fields of one leg: those ``read_request`` returned, and those of its answer."""
    if answer.method_map is None:
        return NO_FIELDS
    # A frozen class sets each of its fields through ``object.__setattr__``, which takes half as long as to read them.
    fields = _Unfrozen(**asked, **_response(answer.method_map, answer))
    fields.__class__ = Fields
    made: Fields = fields
    return made


def read_output(answer: Answer) -> tuple[bytes, ...] | None:
    """Return the answer in parts, ``None`` where one of its messages is none or the map does not say where it is."""
    method_map = answer.method_map
    if method_map is None:
        return tuple(answer.data)
    answers = answer.some
    return _output(method_map, answers) if len(answers) == len(answer.data) and is_read(method_map, answers) else None


def is_read(method_map: MethodMap, answers: Sequence[Message]) -> bool:
    """Return whether the map says where the answer is: two answers of which nothing is read are not the same."""
    said = method_map.response
    if method_map.has_tensors:
        # Its models answer with tensors of any name.
        sources = [said[name] for name in ("text", "ids") if name in said]
        return any(source.find(answer) for source in sources for answer in answers)
    return "text" in said or "ids" in said or method_map.tool_calls is not None


def failure(answer: Answer) -> str:
    """Return the status of an answer that says itself that it failed, empty where it does not."""
    method_map = answer.method_map
    if method_map is None or method_map.pieces.error is None:
        return ""
    return method_map.pieces.error_status if any(map(method_map.pieces.failed, answer.some)) else ""


def read_cost(answer: Answer) -> Cost | None:
    """Return what the answer says it cost, the last word on it; ``None`` where it does not say."""
    method_map = answer.method_map
    if method_map is None or method_map.cost is None:
        return None
    source, units, currency = method_map.cost
    for message in answer.backwards():
        found = source.find(message) if message is not None else ()
        if found:
            # No other number is between the two, and JSON may say any.
            if not 0 <= found[-1] < _MOST_COST:
                return None
            return Cost(amount=found[-1] / units, currency=currency, source=_BY_PROVIDER)
    return None


def first_content(answer: Answer) -> int:
    """Return the place of the message that is the first chunk; the first one, where none has content."""
    method_map = answer.method_map
    if method_map is None or not method_map.pieces.first_content:
        return 0
    for place in range(len(answer.data)):
        message = answer.at(place)
        if message is not None and method_map.pieces.says_something(message):
            return place
    return 0


def _response(method_map: MethodMap, answer: Answer) -> dict[str, Any]:
    values = method_map.last_fields.last_words(answer.backwards())
    if method_map.reasons is not None and (reasons := _reasons(method_map, answer.some)):
        values["finish_reasons"] = reasons
    for name, found in method_map.counted:
        count = method_map.pieces.count(name, found, answer.some)
        if count is not None:
            values[name] = tokens(count)
    said = values.get
    if (
        said("output_tokens") is not None
        or said("input_tokens") is not None
        or said("cached_input_tokens") is not None
        or said("reasoning_output_tokens") is not None
    ):
        values["usage_source"] = _IN_RESPONSE
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
            said = field_text(values[-1]) if values else ""
            if said:
                last[index] = method_map.finish_reasons.get(said, said)
    return last


def _output(method_map: MethodMap, answers: Sequence[Message]) -> tuple[bytes, ...]:
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
    if not method_map.pieces.several:
        only = [call for answer in answers for call in source.find(answer)]
        return {0: source.whole(only)} if only else {}
    found: dict[int, list[Any]] = {}
    for answer in answers:
        for index, calls in method_map.pieces.split(source, answer):
            if calls:
                found.setdefault(index, []).extend(calls)
    return {index: source.whole(calls) for index, calls in found.items()}

"""
A request to generate → what it asks; or why that cannot be told whole.

Everything on the wire has to be read here or be known to change nothing. What is left over refuses the request: written
anew without it, it would be another question.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from google.protobuf.message import Message

from shadowmesh.errors import DecodeError
from shadowmesh.protocols.generate_map import Generate
from shadowmesh.protocols.generation import (
    ALL,
    DECISIVE,
    LISTS,
    PARAMETERS,
    SAMPLING,
    Generation,
    ParameterKind,
    Refusal,
    UnfitError,
    Value,
)
from shadowmesh.protocols.places import Place


def read_generation(generate: Generate, data: bytes, message: Message) -> Generation | Refusal:
    """
    Return what a request asks.

    Args:
        data: its bytes.
        message: the same, parsed.
    """
    try:
        unread = generate.known.first_unread(data)
        if unread is None and generate.names is not None:
            unread = generate.names.unread(message)
    except (DecodeError, ValueError):
        return Refusal("it cannot be read whole")
    if unread is not None:
        return Refusal(f"{unread} is not translated")
    for name, keys in generate.known_keys.items():
        if not keys.issuperset(getattr(message, name)):
            return Refusal(f"{name} is not translated")
    for name, find, values in generate.neutral:
        if any(value not in values for value in find(message)):
            return Refusal(f"{name} is not translated")
    if generate.needs is not None and not generate.needs.find(message):
        return Refusal(f"{generate.settings.needs} does not hold")
    return _asked(generate, message)


def _asked(generate: Generate, message: Message) -> Generation | Refusal:
    parameters: dict[str, Value] = {}
    name = "the prompt"
    try:
        asks = _prompt(generate, message)
        name = "the model"
        model = "" if generate.model is None else str(_only(generate.model.read(message)) or "")
        for name, place in generate.parameters.items():
            value = _parameter(generate, name, place, message)
            if value is not None:
                parameters[name] = value
        name = "stream"
        stream = _streams(generate, message)
        name = "" if generate.greedy is None else generate.greedy.text
        greedy = generate.is_greedy(message)
    except ValueError as error:
        if name == "the prompt" and isinstance(error, UnfitError):
            return Refusal(str(error))
        return Refusal(f"{name} cannot be read")
    if greedy:
        parameters["temperature"] = 0.0
    return Generation(**asks, model=model, stream=stream, parameters=stated(parameters))


def stated(parameters: dict[str, Value]) -> dict[str, Value]:
    """Return parameters without those that change nothing."""
    idle = set(SAMPLING) if parameters.get("temperature") == 0 else set()
    return {
        name: value
        for name, value in parameters.items()
        if name not in idle and (name in DECISIVE or value != PARAMETERS[name].idle)
    }


def _prompt(generate: Generate, message: Message) -> dict[str, Any]:
    """Return the prompt in its one form; raises ``UnfitError`` with the reason why there is none, or another one."""
    found: dict[str, Any] = {}
    if generate.turns is not None and (turns := generate.turns.read(message)) is not None:
        found["turns"] = turns
    if generate.ids is not None and (ids := tuple(generate.ids.read(message))):
        found["ids"] = ids
    if generate.text is not None and (texts := generate.text.read(message)):
        if len(texts) > 1:
            raise UnfitError("there are several prompts")
        found["text"] = str(texts[0])
    if len(found) != 1:
        raise UnfitError("there are prompts of two forms" if found else "there is no prompt")
    return found


def _parameter(generate: Generate, name: str, place: Place, message: Message) -> Value | None:
    values = place.read(message)
    kind = PARAMETERS[name].kind
    if kind in LISTS:
        return _of_kind(kind, values)
    value = _only(values)
    if value is None or (not place.says_zero and value == 0 and name not in generate.settings.said):
        return None
    read = _scalar(kind, value)
    return ALL if name == "top_k" and generate.settings.every is not None and read <= 0 else read


def _of_kind(kind: ParameterKind, values: Sequence[Any]) -> Value | None:
    if not values:
        return None
    wanted = str if kind == "texts" else int
    if not all(isinstance(value, wanted) and not isinstance(value, bool) for value in values):
        raise UnfitError("of another kind")
    return tuple(values)


def _scalar(kind: ParameterKind, value: Any) -> Any:
    """Return a value of the parameter's kind; a number may be written as text, and a whole one with a point."""
    if kind == "bool":
        if not isinstance(value, bool):
            raise UnfitError("of another kind")
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise UnfitError("of another kind")
    if kind == "integer" and isinstance(value, int):
        return value
    try:
        number = float(value)
    except OverflowError as error:
        raise UnfitError("too large") from error
    if not math.isfinite(number) or (kind == "integer" and not number.is_integer()):
        raise UnfitError("of another kind")
    return int(number) if kind == "integer" else number


def _streams(generate: Generate, message: Message) -> bool:
    if generate.stream is None:
        return generate.settings.arity != "unary_unary"
    value = _only(generate.stream.read(message))
    return value is not None and bool(_scalar("bool", value))


def _only(values: Sequence[Any]) -> Any:
    """Return the one value, ``None`` for none; raises ``UnfitError`` where there are several."""
    if len(values) > 1:
        raise UnfitError("several values")
    return values[0] if values else None

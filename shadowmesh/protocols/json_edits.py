"""
Changes inside a JSON text, as far as changing a request needs them: the members of an object and the elements of a list
by where they stand, so that every other character stays as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from shadowmesh.errors import DecodeError

_SPACE = re.compile(r"[ \t\n\r]*")
_decode = json.JSONDecoder().raw_decode
as_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Member(NamedTuple):
    """One member of an object, or element of a list: its key, where it starts, and where its value does and ends."""

    key: str
    start: int
    value: int
    end: int


def members(text: str) -> list[Member]:
    """
    Return the members of the object that a text is, also those whose key stands twice.

    Raises:
        DecodeError: it is none.
    """
    return _between(text, "{", "}")


def elements(text: str) -> list[str]:
    """
    Return the elements of the list that a text is, as the texts that they are.

    Raises:
        DecodeError: it is none.
    """
    return [text[one.value : one.end] for one in _between(text, "[", "]")]


def value_of(text: str, key: str) -> str | None:
    """Return the text of a member's value, the last one's where the key stands twice; ``None`` without it."""
    return next((text[one.value : one.end] for one in reversed(members(text)) if one.key == key), None)


def removed(text: str, keys: Sequence[str]) -> str:
    """Return the object without the members of these keys."""
    found = members(text)
    kept = [place for place, one in enumerate(found) if one.key not in keys]
    if len(kept) == len(found):
        return text
    parts = [text[: found[0].start]]
    for place in kept:
        # What parts it from the next one stands behind it; behind the last one, what stands behind the last of all.
        behind = found[place + 1].start if place != kept[-1] else found[place].end
        parts.append(text[found[place].start : behind])
    return "".join([*parts, text[found[-1].end :]])


def changed(text: str, key: str, how: Callable[[str], str]) -> str:
    """Return the object with the value of every member of this key changed."""
    return _replaced(text, [one for one in members(text) if one.key == key], how)


def _replaced(text: str, found: Sequence[Member], how: Callable[[str], str]) -> str:
    if not found:
        return text
    # In one pass: a key may stand there as often as there is room.
    parts, at = [], 0
    for one in found:
        parts += [text[at : one.value], how(text[one.value : one.end])]
        at = one.end
    return "".join([*parts, text[at:]])


def with_member(text: str, key: str, value: str) -> str:
    """Return the object with this text under a key, which is put at its end where it is missing."""
    found = members(text)
    same = [one for one in found if one.key == key]
    if same:
        return _replaced(text, same, lambda _: value)
    end = text.rindex("}")
    return f"{text[:end]}{',' if found else ''}{as_json(key)}:{value}{text[end:]}"


def with_value(text: str, keys: Sequence[str], value: str) -> str:
    """Return the object with this text under the last of keys inside of each other; objects around it are made."""
    key, *inner = keys
    if not inner:
        return with_member(text, key, value)
    inside = value_of(text, key)
    return with_member(text, key, with_value("{}" if inside in (None, "null") else inside, inner, value))


def without_value(text: str, keys: Sequence[str]) -> str:
    """Return the object without what stands under the last of keys inside of each other."""
    key, *inner = keys
    if not inner:
        return removed(text, [key])
    return changed(text, key, lambda inside: inside if inside == "null" else without_value(inside, inner))


def listed(found: Sequence[str]) -> str:
    """Return the list of these elements."""
    return f"[{','.join(found)}]"


def _between(text: str, begin: str, end: str) -> list[Member]:
    at = _after_space(text, 0)
    if text[at : at + 1] != begin:
        raise DecodeError("JSON of another kind than was asked for")
    found: list[Member] = []
    at = _after_space(text, at + 1)
    if text[at : at + 1] == end:
        return _alone(text, at + 1, found)
    while True:
        member = _member(text, at) if begin == "{" else Member("", at, at, _end(text, at))
        found.append(member)
        at = _after_space(text, member.end)
        if text[at : at + 1] == end:
            return _alone(text, at + 1, found)
        if text[at : at + 1] != ",":
            raise DecodeError("no JSON")
        at = _after_space(text, at + 1)


def _alone(text: str, at: int, found: list[Member]) -> list[Member]:
    if _after_space(text, at) != len(text):
        raise DecodeError("no JSON")
    return found


def _member(text: str, start: int) -> Member:
    key, at = _decoded(text, start)
    at = _after_space(text, at)
    if not isinstance(key, str) or text[at : at + 1] != ":":
        raise DecodeError("no JSON")
    value = _after_space(text, at + 1)
    return Member(key, start, value, _end(text, value))


def _end(text: str, at: int) -> int:
    return _decoded(text, at)[1]


def _decoded(text: str, at: int) -> tuple[Any, int]:
    try:
        return _decode(text, at)
    except (ValueError, RecursionError) as error:
        raise DecodeError("no JSON") from error


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return at if match is None else match.end()

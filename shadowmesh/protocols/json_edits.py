"""
Changes inside a JSON text, as far as changing a request needs them: the members of an object and the elements of a list
by where they stand, so that every other character stays as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

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
    kept = [one for one in found if one.key not in keys]
    if len(kept) == len(found):
        return text
    inner = ",".join(text[one.start : one.end] for one in kept)
    return text[: text.index("{") + 1] + inner + text[text.rindex("}") :]


def changed(text: str, key: str, how: Callable[[str], str]) -> str:
    """Return the object with the value of every member of this key changed."""
    for one in reversed(members(text)):
        if one.key == key:
            text = text[: one.value] + how(text[one.value : one.end]) + text[one.end :]
    return text


def with_member(text: str, key: str, value: str) -> str:
    """Return the object with this text under a key, which is put at its end where it is missing."""
    found = members(text)
    if any(one.key == key for one in found):
        return changed(text, key, lambda _: value)
    end = text.rindex("}")
    return f"{text[:end]}{',' if found else ''}{as_json(key)}:{value}{text[end:]}"


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
        return found
    while True:
        member = _member(text, at) if begin == "{" else Member("", at, at, _end(text, at))
        found.append(member)
        at = _after_space(text, member.end)
        if text[at : at + 1] == end:
            return found
        if text[at : at + 1] != ",":
            raise DecodeError("no JSON")
        at = _after_space(text, at + 1)


def _member(text: str, start: int) -> Member:
    at = _end(text, start)
    key = json.loads(text[start:at])
    at = _after_space(text, at)
    if not isinstance(key, str) or text[at : at + 1] != ":":
        raise DecodeError("no JSON")
    value = _after_space(text, at + 1)
    return Member(key, start, value, _end(text, value))


def _end(text: str, at: int) -> int:
    try:
        return _decode(text, at)[1]
    except (ValueError, RecursionError) as error:
        raise DecodeError("no JSON") from error


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return at if match is None else match.end()

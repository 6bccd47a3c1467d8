"""
Where a protocol map finds a value: a path, or what is made of paths.

- ``a | b``: the first of them that has a value in a message.
- ``has(path)``: true where the path leads to something, the member of a oneof or a message.
- ``path == 'x'``, ``path != 'x'``: true where a value of the path is, or is not, the text, number or boolean. Where
  there is no value neither is.
- ``tensor('name', kind)``: the elements of a tensor, see ``tensors``.
- ``json(path, inner, kind)``: what JSON in a field says, see ``json_source``.
- ``md:key``: what the metadata of the call says, in sources of a request's fields; see ``call_metadata``.

True is a value and untrue is none, so that a predicate can stand wherever a map asks whether something is there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from shadowmesh.errors import ProtocolMapError
from shadowmesh.protocols.paths import Get, Kind, Path, Placed

Find = Callable[[Any], Sequence[Any]]
Place = Callable[[Any], Sequence[Placed]]
Make = Callable[[Sequence[str], Descriptor, str], "Source"]
"""Makes a source of the arguments of a function, for a message; the last is the whole text, for errors."""

_CALL = re.compile(r"(?P<name>[a-z_]+)\((?P<arguments>.*)\)", re.DOTALL)
_COMPARISON = re.compile(r"(?P<path>.*?)\s*(?P<sign>==|!=)\s*(?P<value>'[^']*'|-?\d+(?:\.\d+)?|true|false)", re.DOTALL)
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
# Kinds that one field may be read as, whichever of them it is.
_ALIKE: tuple[frozenset[Kind], ...] = (frozenset({"integer", "number"}), frozenset({"text", "enum"}))
_TRUE = (True,)


class Source(Protocol):
    """Finds values in a message, and says beforehand of what kind."""

    text: str
    kind: Kind
    find: Find

    @property
    def repeats(self) -> bool:
        """Whether it can find several values."""
        ...

    def first(self, message: Message) -> Any | None:
        """Return the first value, or ``None``."""
        ...

    def placed(self, message: Message) -> Sequence[Placed]:
        """Return every value with its place among the outputs of the message."""
        ...


class Expression:
    """
    A source made of others.

    Args:
        place: finds the values with their places; without it all of them stand at the first.
        first: returns the first value, or ``None``, sooner than ``find`` can.
    """

    def __init__(
        self, text: str, kind: Kind, find: Find, place: Place | None = None, *, first: Get | None = None
    ) -> None:
        self.text = text
        self.kind: Kind = kind
        self.find = find
        self.repeats = place is not None
        self._place = place
        self.first = first or self._first

    def placed(self, message: Message) -> Sequence[Placed]:
        """Return every value with its place among the outputs of the message."""
        return [(0, value) for value in self.find(message)] if self._place is None else self._place(message)

    def _first(self, message: Message) -> Any | None:
        found = self.find(message)
        return found[0] if found else None


def source(text: str, descriptor: Descriptor, functions: Mapping[str, Make] | None = None) -> Source:
    """
    Compile ``text`` for a message.

    Args:
        functions: what makes the source of each function beside ``has``.

    Raises:
        ProtocolMapError: it is no such text, or the message has no such field.
    """
    found = [_one(part.strip(), descriptor, functions or {}, text) for part in alternatives(text)]
    if len(found) == 1:
        return found[0]
    kind = of_one_kind(text, [one.kind for one in found])
    if all(isinstance(one, Path) and not one.selects for one in found):
        return _one_of_fields(text, kind, tuple(one.first for one in found))
    place = _first_of(tuple(one.placed for one in found)) if any(one.repeats for one in found) else None
    return Expression(text, kind, _first_of(tuple(one.find for one in found)), place)


def alternatives(text: str) -> list[str]:
    """Return the parts of ``a | b``."""
    return _split(text, "|")


def of_one_kind(text: str, kinds: Sequence[Kind]) -> Kind:
    """
    Return the kind of alternatives of these kinds.

    Raises:
        ProtocolMapError: no field could be read as each of them.
    """
    several = frozenset(kinds)
    if len(several) > 1 and not any(several <= alike for alike in _ALIKE):
        raise ProtocolMapError(f"{text!r} is {' or '.join(sorted(several))}, which is not the same")
    return kinds[0]


def _one(text: str, descriptor: Descriptor, functions: Mapping[str, Make], whole: str) -> Source:
    call = _CALL.fullmatch(text)
    if call is not None:
        arguments = [argument.strip() for argument in _split(call["arguments"], ",")]
        if call["name"] == "has":
            return _has(text, arguments, descriptor)
        make = functions.get(call["name"])
        if make is None:
            raise ProtocolMapError(f"no function {call['name']!r} for this message in {whole!r}")
        return make(arguments, descriptor, whole)
    comparison = _COMPARISON.fullmatch(text)
    if comparison is None:
        return Path(text, descriptor)
    compared = _one(comparison["path"].strip(), descriptor, functions, whole)
    if compared.kind == "message":
        raise ProtocolMapError(f"{compared.text!r} is a message, which is compared with nothing")
    value = _literal(comparison["value"], compared.kind)
    return Expression(text, "bool", _compares(compared.find, value, equal=comparison["sign"] == "=="))


def _has(text: str, arguments: Sequence[str], descriptor: Descriptor) -> Source:
    if len(arguments) != 1:
        raise ProtocolMapError(f"{text!r} takes one path")
    find = Path(arguments[0], descriptor).find
    return Expression(text, "bool", lambda message: _TRUE if find(message) else ())


def _first_of(finds: tuple[Find, ...]) -> Find:
    def find(message: Any) -> Sequence[Any]:
        for one in finds:
            if found := one(message):
                return found
        return ()

    return find


def _one_of_fields(text: str, kind: Kind, gets: tuple[Get, ...]) -> Expression:
    def first(message: Any) -> Any:
        for get in gets:
            if (value := get(message)) is not None:
                return value
        return None

    def find(message: Any) -> Sequence[Any]:
        return (value,) if (value := first(message)) is not None else ()

    return Expression(text, kind, find, first=first)


def _compares(find: Find, value: object, *, equal: bool) -> Find:
    return lambda message: _TRUE if any((one == value) is equal for one in find(message)) else ()


def _literal(text: str, kind: Kind) -> object:
    if text.startswith("'"):
        return text[1:-1].encode() if kind == "bytes" else text[1:-1]
    if text in ("true", "false"):
        return text == "true"
    return float(text)


def _split(text: str, by: str) -> list[str]:
    """Return the parts of ``text`` between those ``by`` that stand neither in quotes nor in parentheses or brackets."""
    hidden = _QUOTED.sub(lambda match: "q" * len(match[0]), text)
    parts, depth, begin = [], 0, 0
    for place, character in enumerate(hidden):
        depth += (character in "([") - (character in ")]")
        if character == by and depth == 0:
            parts.append(text[begin:place])
            begin = place + 1
    return [*parts, text[begin:]]

"""
What of a request nobody has read: its fields on the wire, those that the view does not know included, against those
that are read or change nothing.

A request that is written anew in another protocol loses what nobody has read, so there must be nothing of the kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from google.protobuf.descriptor import Descriptor

from shadowmesh.errors import ProtocolMapError
from shadowmesh.protocols import wire

Node = dict[int, "Node | None"]
"""Fields by their number, each with those inside of it; one that is known with all that is in it has ``None``."""


def field_numbers(text: str, descriptor: Descriptor) -> tuple[int, ...]:
    """
    Return the numbers of the fields on the way to ``text``, dotted names or numbers, without selections.

    The last ones may be numbers of fields that the view does not have.

    Raises:
        ProtocolMapError: there is no such field.
    """
    numbers: list[int] = []
    inside: Descriptor | None = descriptor
    for name in text.split("."):
        field = None
        if inside is not None:
            field = inside.fields_by_number.get(int(name)) if name.isdecimal() else inside.fields_by_name.get(name)
        if field is None and not name.isdecimal():
            raise ProtocolMapError(f"no field {name!r} in {text!r}")
        numbers.append(int(name) if field is None else field.number)
        inside = None if field is None else field.message_type
    return tuple(numbers)


class Known:
    """The fields that are read, or change nothing, of one request message."""

    def __init__(self, paths: Iterable[Sequence[int]], descriptor: Descriptor) -> None:
        """Take the numbers on the way to each; a message that ends a path is known with all that is in it."""
        self._root: Node = {}
        self._descriptor = descriptor
        for numbers in sorted(paths, key=len):
            self._add(numbers)

    def _add(self, numbers: Sequence[int]) -> None:
        node, last = self._root, len(numbers) - 1
        for place, number in enumerate(numbers):
            if place == last:
                node[number] = None
                return
            inside = node.setdefault(number, {})
            if inside is None:
                return
            node = inside

    def first_unread(self, data: bytes) -> str | None:
        """
        Return the first field on the wire that is not known, by its path; ``None`` where all are.

        Raises:
            DecodeError: the bytes are no message.
        """
        return _first(data, self._root, self._descriptor)


def _first(data: bytes, node: Node, inside: Descriptor | None) -> str | None:
    for piece in wire.pieces(data):
        field = None if inside is None else inside.fields_by_number.get(piece.number)
        name = str(piece.number) if field is None else field.name
        if piece.number not in node:
            return name
        known = node[piece.number]
        if known is None:
            continue
        deeper = None if field is None else field.message_type
        if not piece.nested:
            return name
        found = _first(data[piece.body : piece.end], known, deeper)
        if found is not None:
            return f"{name}.{found}"
    return None

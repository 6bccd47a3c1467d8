"""Changes of a tensor of text, typed or raw; see ``tensors``."""

from __future__ import annotations

from typing import Any

from shadowmesh.errors import DecodeError
from shadowmesh.protocols import wire
from shadowmesh.protocols.edits import Edit
from shadowmesh.protocols.tensors import TensorSource, encoded_texts, raw_texts, stands_in


def text_before(source: TensorSource, text: bytes) -> Edit:
    """Return what puts a text before every element; one in shared memory, or that is no text, cannot be changed."""
    tensors, raw = source.tensors.numbers, source.raw.numbers

    def edit(data: bytes, message: Any) -> bytes:
        found = source.tensors.find(message)
        at = next((at for at, tensor in enumerate(found) if tensor.name == source.name), None)
        if at is None:
            return data
        if found[at].datatype != "BYTES" or not source.find(message):
            raise DecodeError("a tensor of text that is none")
        if stands_in(found[at]) == "contents":
            contents = found[at].DESCRIPTOR.fields_by_name["contents"]
            inner = (contents.number, contents.message_type.fields_by_name["bytes_contents"].number)
            return _at(data, tensors, at, lambda one: wire.change(one, inner, lambda said: [text + e for e in said]))
        place = sum(stands_in(tensor) == "raw" for tensor in found[:at])
        return _at(data, raw, place, lambda one: encoded_texts([text + element for element in raw_texts(one)]))

    return edit


def _at(data: bytes, numbers: tuple[int, ...], place: int, how: Any) -> bytes:
    return wire.change(data, numbers, lambda found: [how(one) if at == place else one for at, one in enumerate(found)])

"""
Places in requests of the Open Inference Protocol, as its text models use them by convention.

``tensor('max_tokens', INT32)`` is a tensor by its name, and ``json('sampling_parameters', top_k)`` a key of the JSON
object in a tensor of text. Both are read as clients may send them, typed or raw, and written typed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from shadowmesh.errors import ProtocolMapError
from shadowmesh.protocols.generation import UnfitError
from shadowmesh.protocols.paths import Path
from shadowmesh.protocols.places import Draft
from shadowmesh.protocols.tensors import TensorLists, tensor_function

_TEXT = re.compile(r"(?P<kind>tensor|json)\('(?P<name>[^']+)',\s*(?P<what>\w+)\)")
# Each with the list that its elements are written to, and the kind that they are read as.
_TYPES = {
    "BYTES": ("bytes_contents", "bytes"),
    "BOOL": ("bool_contents", "bool"),
    "INT32": ("int_contents", "integer"),
    "INT64": ("int64_contents", "integer"),
    "UINT32": ("uint_contents", "integer"),
    "UINT64": ("uint64_contents", "integer"),
    "FP32": ("fp32_contents", "number"),
}


def is_tensor_place(text: str) -> bool:
    """Return whether a place is one of these."""
    return _TEXT.fullmatch(text) is not None


class TensorPlace:
    """A tensor by its name."""

    says_zero = True

    def __init__(self, text: str, request: Descriptor, lists: TensorLists, shape: Sequence[int]) -> None:
        """
        Compile ``text``; ``shape`` are the dimensions around the elements of every tensor.

        Raises:
            ProtocolMapError: it is no such place.
        """
        match = _TEXT.fullmatch(text)
        if match is None or match["kind"] != "tensor" or match["what"] not in _TYPES:
            raise ProtocolMapError(f"{text!r} is no tensor of one of {', '.join(_TYPES)}")
        self.text = text
        self.name, self._datatype = match["name"], match["what"]
        self._contents, kind = _TYPES[self._datatype]
        self._find = tensor_function(lists, request)([f"'{self.name}'", kind], request, text).find
        self._list = Path(lists.list, request)
        self.known = self._list.numbers
        self._shape = tuple(shape)

    def read(self, message: Message) -> Sequence[Any]:
        """See :class:`~shadowmesh.protocols.places.Place`; text as such."""
        return [value.decode() if isinstance(value, bytes) else value for value in self._find(message)]

    def write(self, draft: Draft, values: Sequence[Any]) -> None:
        """See :class:`~shadowmesh.protocols.places.Place`."""
        tensor = getattr(draft.message, self._list.fields[0].name).add()
        tensor.name, tensor.datatype = self.name, self._datatype
        tensor.shape.extend((*self._shape, len(values)))
        elements = [value.encode() if isinstance(value, str) else value for value in values]
        getattr(tensor.contents, self._contents).extend(elements)


class JsonPlace:
    """A key of the JSON object in a tensor of text."""

    says_zero = True

    def __init__(self, text: str, request: Descriptor, lists: TensorLists, shape: Sequence[int]) -> None:
        """Compile ``text``; see :class:`TensorPlace`."""
        match = _TEXT.fullmatch(text)
        if match is None or match["kind"] != "json":
            raise ProtocolMapError(f"{text!r} is no key of JSON in a tensor")
        self.text, self.key = text, match["what"]
        self.tensor = TensorPlace(f"tensor('{match['name']}', BYTES)", request, lists, shape)
        self.known = self.tensor.known
        self.holds_list = False

    def read(self, message: Message) -> Sequence[Any]:
        """See :class:`~shadowmesh.protocols.places.Place`."""
        value = json_object(self.tensor, message).get(self.key)
        return () if value is None else value if isinstance(value, list) else [value]

    def write(self, draft: Draft, values: Sequence[Any]) -> None:
        """See :class:`~shadowmesh.protocols.places.Place`; the tensor itself is written by ``write_json``."""
        said = draft.json.setdefault(self.tensor.name, (self.tensor, {}))[1]
        said[self.key] = list(values) if self.holds_list else values[0]


def json_object(tensor: TensorPlace, message: Message) -> dict[str, Any]:
    """
    Return the JSON object in a tensor of text, empty where there is none.

    Raises:
        ValueError: it is no such object.
    """
    texts = tensor.read(message)
    if not texts:
        return {}
    try:
        (found,) = (json.loads(text) for text in texts)
    except RecursionError as error:
        raise UnfitError("too deep") from error
    if not isinstance(found, dict):
        raise UnfitError("no object")
    return found


class TensorNames:
    """What is known of the tensors of a request: their names, and the keys of the JSON in them."""

    def __init__(self, places: Iterable[TensorPlace | JsonPlace], lists: TensorLists, request: Descriptor) -> None:
        self._inputs = Path(lists.list, request)
        self._names: set[str] = set()
        self._json: dict[str, tuple[TensorPlace, set[str]]] = {}
        for place in places:
            if isinstance(place, JsonPlace):
                tensor = place.tensor
                self._json.setdefault(tensor.name, (tensor, set()))[1].add(place.key)
                self._names.add(tensor.name)
            else:
                self._names.add(place.name)

    def unread(self, message: Message) -> str | None:
        """
        Return what nobody would read, without a name that a sender chose; ``None`` where all is read.

        Raises:
            ValueError: JSON in a tensor cannot be read.
        """
        seen: set[str] = set()
        for tensor in self._inputs.find(message):
            if tensor.name not in self._names:
                return "a tensor of another name"
            if tensor.parameters or tensor.name in seen:
                return f"more than the elements of {tensor.name}"
            seen.add(tensor.name)
        for name, (place, keys) in self._json.items():
            if not keys.issuperset(json_object(place, message)):
                return f"another key in {name}"
        return None

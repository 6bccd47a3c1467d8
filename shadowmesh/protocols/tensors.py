"""
Tensors of the Open Inference Protocol, by name: ``tensor('text_output', bytes)``.

A tensor's elements stand in its ``contents``, a list for each datatype, or in raw form beside the tensors, at the place
that the tensor has among those without contents: fixed width and little endian, and for BYTES each with its length
before it. FP16 and BF16 have the raw form only. A tensor in shared memory is in neither. What does not fit together is
absent.

Source: the protocol's ``open_inference_grpc.proto`` and "Binary Tensor Data" of its HTTP extension.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from google.protobuf.descriptor import Descriptor

from shadowmesh.errors import ProtocolMapError
from shadowmesh.protocols.paths import Kind, Path, Placed
from shadowmesh.protocols.sources import Expression, Make, Source
from shadowmesh.settings import Settings

# As the proto names the lists of typed elements.
_TYPED = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
_RAW = {
    "BOOL": "<?",
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "UINT8": "<u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
_KINDS: dict[str, Kind] = {"bytes": "bytes", "integer": "integer", "number": "number", "bool": "bool"}
_FITS: dict[str, tuple[type, ...]] = {"bytes": (bytes,), "integer": (int,), "number": (int, float), "bool": (bool,)}
_SHARED = "shared_memory_region"
_LENGTH = struct.Struct("<I")


class TensorLists(Settings):
    """Where a message has its tensors, ``list``, and their raw elements, ``raw``."""

    list: str
    raw: str


class TensorSource(Expression):
    """The elements of one tensor: of ``tensors`` the one called ``name``; ``raw`` are those of all that are raw."""

    def __init__(self, tensors: Path, raw: Path, name: str, kind: str) -> None:
        find = _finder(tensors, raw, name, _FITS[kind])
        super().__init__(f"tensor('{name}', {kind})", _KINDS[kind], find, _placer(tensors, name, find))
        self.tensors, self.raw, self.name = tensors, raw, name


def tensor_function(lists: TensorLists, message: Descriptor) -> Make:
    """
    Return what makes sources of ``tensor(…)`` for one message.

    Raises:
        ProtocolMapError: the message has no such lists.
    """
    tensors, raw = Path(lists.list, message), Path(lists.raw, message)
    if tensors.kind != "message" or raw.kind != "bytes":
        raise ProtocolMapError(f"{lists.list!r} and {lists.raw!r} are not tensors and their bytes")

    def make(arguments: Sequence[str], _: Descriptor, text: str) -> Source:
        if len(arguments) != 2 or not _is_quoted(arguments[0]) or arguments[1] not in _KINDS:
            raise ProtocolMapError(f"tensor takes a name in quotes and one of {', '.join(_KINDS)} in {text!r}")
        name, kind = arguments[0][1:-1], arguments[1]
        return TensorSource(tensors, raw, name, kind)

    return make


def _is_quoted(text: str) -> bool:
    return len(text) > 2 and text[0] == text[-1] == "'"


def _finder(tensors: Path, raw: Path, name: str, fits: tuple[type, ...]) -> Callable[[Any], Sequence[Any]]:
    def find(message: Any) -> Sequence[Any]:
        place = 0
        for tensor in tensors.find(message):
            form = stands_in(tensor)
            if tensor.name == name:
                if form != "raw":
                    return _fitting(_typed(tensor), fits) if form == "contents" else ()
                parts = raw.find(message)
                return _fitting(_elements(tensor.datatype, parts[place]), fits) if place < len(parts) else ()
            place += form == "raw"
        return ()

    return find


def stands_in(tensor: Any) -> Literal["contents", "raw", "memory"]:
    """Return where the elements of a tensor are."""
    if _SHARED in tensor.parameters:
        return "memory"
    # MLServer puts empty contents beside raw elements.
    return "contents" if tensor.contents.ListFields() else "raw"


def _placer(tensors: Path, name: str, find: Callable[[Any], Sequence[Any]]) -> Callable[[Any], list[Placed]]:
    """Return what places elements: each text is an output of its own, and each row of numbers is one."""

    def place(message: Any) -> list[Placed]:
        values = find(message)
        if len(values) < 2 or isinstance(values[0], bytes):
            return list(enumerate(values))
        shape: Sequence[int] = next((one.shape for one in tensors.find(message) if one.name == name), ())
        row = shape[-1] if len(shape) > 1 and shape[-1] > 0 and len(values) % shape[-1] == 0 else len(values)
        return [(at // row, value) for at, value in enumerate(values)]

    return place


def _fitting(values: Sequence[Any], fits: tuple[type, ...]) -> Sequence[Any]:
    # A boolean is an integer to Python and to nobody else.
    alike = all(isinstance(value, fits) and (bool in fits or not isinstance(value, bool)) for value in values)
    return [value for value in values if value is not False] if alike else ()


def _typed(tensor: Any) -> Sequence[Any]:
    name = _TYPED.get(tensor.datatype)
    return list(getattr(tensor.contents, name)) if name is not None else ()


def _elements(datatype: str, data: bytes) -> Sequence[Any]:
    if datatype == "BYTES":
        return raw_texts(data)
    if datatype == "BF16":
        if len(data) % 2:
            return ()
        # The upper half of a float32.
        widened: list[float] = (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").tolist()
        return widened
    form = _RAW.get(datatype)
    if form is None or len(data) % np.dtype(form).itemsize:
        return ()
    values: list[Any] = np.frombuffer(data, form).tolist()
    return values


def encoded_texts(elements: Sequence[bytes]) -> bytes:
    """Return texts in raw form, each with its length before it."""
    return b"".join(_LENGTH.pack(len(element)) + element for element in elements)


def raw_texts(data: bytes) -> Sequence[bytes]:
    """Return the texts in raw form, none where they do not fit together."""
    found, place = [], 0
    while place < len(data):
        if place + _LENGTH.size > len(data):
            return ()
        (length,) = _LENGTH.unpack_from(data, place)
        place += _LENGTH.size
        if place + length > len(data):
            return ()
        found.append(data[place : place + length])
        place += length
    return found

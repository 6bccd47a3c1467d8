"""
The base of every settings model, and the unit types they share.

A settings model stands beside the component it sets; ``config.py`` only composes them. All are frozen and refuse
unknown keys, so a misspelt key is an error and never a default.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_LONGEST = 366 * 86400.0
_LARGEST = 16 << 30
_LAST_PORT = 65535
_QUANTITY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")
_MAPPINGS = frozenset({"model_type", "model_attributes_type", "dict_type", "mapping_type"})
_LISTS = frozenset({"tuple_type", "list_type"})


class Settings(BaseModel):
    """Frozen, and strict about keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=False)


def is_known(error: Mapping[str, Any]) -> bool:
    """Return whether the key is known that an error is about; sorted by it, a misspelt key stands before its loss."""
    return bool(error["type"] != "extra_forbidden")


def complaint(error: Mapping[str, Any], model: type[BaseModel] | None = None) -> str:
    """
    Return what is wrong, in one clause and in the words of who wrote a file: a list, and no tuple.

    Args:
        error: one of those that a ``ValidationError`` has.
        model: what was validated, for the key that an unknown one was perhaps meant to be.
    """
    kind = error["type"]
    if not is_known(error):
        *above, key = error["loc"]
        near = get_close_matches(str(key), _keys(model, above) if model is not None else (), 1)
        return f"unknown key, perhaps {near[0]}" if near else "unknown key"
    if kind in _MAPPINGS:
        return "not a mapping of keys to values"
    if kind in _LISTS:
        return "not a list"
    if kind == "too_short":
        return f"too few, at least {error['ctx']['min_length']}"
    return str(error["msg"]).removeprefix("Value error, ")


def _keys(model: type[BaseModel], location: Iterable[str | int]) -> list[str]:
    """Return the keys there are at a place."""
    models = [model]
    for part in location:
        inner = [
            found
            for one in models
            if part in one.model_fields
            for found in _models(one.model_fields[str(part)].annotation)
        ]
        # What is no key is a place in a list or the name of one of several shapes, and goes no deeper.
        models = inner or models
    return [field.alias or name for one in models for name, field in one.model_fields.items()]


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that a type is made of."""
    inner = get_args(annotation)
    if not inner and isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for one in inner:
        yield from _models(one)


def _quantity(value: object, units: dict[str, float] | dict[str, int], example: str) -> object:
    if not isinstance(value, str):
        return value
    match = _QUANTITY.fullmatch(value)
    if match is None or match[2] not in units:
        raise ValueError(f"not a quantity such as {example}")
    return float(match[1]) * units[match[2]]


def _seconds(value: object) -> object:
    return _quantity(value, _SECONDS, "500ms, 10s or 2m")


def _bytes(value: object) -> object:
    scaled = _quantity(value, _BYTES, "65536, 64KiB or 4MiB")
    return int(scaled) if isinstance(scaled, float) and scaled.is_integer() else scaled


def _or_text(kind: str, units: str) -> WithJsonSchema:
    """What an editor is told: a number, or one with a unit."""
    number = {"type": kind, "exclusiveMinimum": 0}
    text = {"type": "string", "pattern": rf"^\s*\d+(\.\d+)?\s*({units})\s*$"}
    return WithJsonSchema({"anyOf": [number, text]})


Seconds = Annotated[
    float,
    Field(strict=True, gt=0, le=_LONGEST, allow_inf_nan=False),
    BeforeValidator(_seconds),
    _or_text("number", "|".join(_SECONDS)),
]
"""A positive duration up to a year: ``500ms``, ``10s``, ``2m``, ``1h``, or a number of seconds."""

ByteSize = Annotated[
    int,
    Field(strict=True, gt=0, le=_LARGEST),
    BeforeValidator(_bytes),
    _or_text("integer", "|".join(_BYTES)),
]
"""A positive size up to 16 GiB: ``64KiB``, ``4MiB``, or a number of bytes."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
"""A name that becomes a metric attribute: low-cardinality by shape."""

_PORT = re.compile(r"[^\s]*:([0-9]{1,5})")
_TARGET_SCHEMES = ("dns:", "ipv4:", "ipv6:", "unix:", "unix-abstract:", "vsock:", "xds:")


def _listen_address(address: str) -> str:
    match = _PORT.fullmatch(address)
    if match is None or int(match[1]) > _LAST_PORT:
        raise ValueError("not host:port with a port up to 65535")
    return address


def _target_address(address: str) -> str:
    if any(character.isspace() or not character.isprintable() for character in address):
        raise ValueError("an address has no white space")
    if "://" in address and not address.startswith(_TARGET_SCHEMES):
        raise ValueError("not a gRPC target: host:port, or one of " + ", ".join(_TARGET_SCHEMES))
    return address if address.startswith(_TARGET_SCHEMES) else _listen_address(address)


ListenAddress = Annotated[str, Field(max_length=512), AfterValidator(_listen_address)]
"""A ``host:port`` to listen on; port 0 is any free one."""

TargetAddress = Annotated[str, Field(max_length=512), AfterValidator(_target_address)]
"""A gRPC target: ``host:port``, ``dns:///host:port``, ``unix:/path`` and the like."""


def _endpoint(endpoint: str) -> str:
    scheme, separator, rest = endpoint.partition("://")
    if not separator:
        return _target_address(endpoint)
    if scheme not in ("http", "https") or not rest or any(character.isspace() for character in rest):
        raise ValueError("not an OTLP endpoint such as http://host:4317")
    return endpoint


Endpoint = Annotated[str, Field(max_length=512), AfterValidator(_endpoint)]
"""An OTLP/gRPC endpoint: ``http://host:port``, ``https://host:port``, or a gRPC target."""

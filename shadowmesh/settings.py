"""
The base of every settings model, and the unit types they share.

A settings model stands beside the component it sets; ``config.py`` only composes them. All are frozen and refuse
unknown keys, so a misspelt key is an error and never a default.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_LONGEST = 366 * 86400.0
_LARGEST = 16 << 30
_LAST_PORT = 65535
_QUANTITY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")


class Settings(BaseModel):
    """Frozen, and strict about keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=False)


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

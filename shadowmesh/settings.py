"""
The base of every settings model, and the unit types they share.

A settings model stands beside the component it sets; ``config.py`` only composes them. All are frozen and refuse
unknown keys, so a misspelt key is an error and never a default.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
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


Seconds = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False), BeforeValidator(_seconds)]
"""A positive duration: ``500ms``, ``10s``, ``2m``, ``1h``, or a number of seconds."""

ByteSize = Annotated[int, Field(strict=True, gt=0), BeforeValidator(_bytes)]
"""A positive size: ``64KiB``, ``4MiB``, or a number of bytes."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
"""A name that becomes a metric attribute: low-cardinality by shape."""

Address = Annotated[str, Field(min_length=1, max_length=512)]
"""A gRPC target or a ``host:port`` to listen on."""

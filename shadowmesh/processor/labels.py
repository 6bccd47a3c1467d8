"""The values of a metric's attributes: what senders write is bounded, or is ``_OTHER``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import lru_cache

from shadowmesh import names
from shadowmesh.names import CostSource
from shadowmesh.processor.decode_aliases import STATUSES

_LONGEST_VALUE = 256
_CURRENCY = re.compile("[A-Z]{3}")
_SOURCES = frozenset(CostSource)


def label(value: str) -> str:
    """Return a value fit for a metric: a sender may leave it out or make it as long as it likes."""
    return value if 0 < len(value) <= _LONGEST_VALUE else names.OTHER


def allowed(value: str, patterns: Sequence[str]) -> str:
    """Return a value that one of the patterns allows, and any if there are none."""
    if patterns and not any(fnmatchcase(value, pattern) for pattern in patterns):
        return names.OTHER
    return label(value)


def status(text: str | None) -> str | None:
    """Return a status that gRPC has; ``None`` for none."""
    return text if text is None or text in STATUSES else names.OTHER


def currency(code: str | None) -> str:
    """Return a code that has the form of ISO 4217; senders may write what they like."""
    return code if code is not None and _CURRENCY.fullmatch(code) else names.OTHER


@lru_cache(maxsize=256)
def money(code: str, source: str) -> tuple[str, str]:
    """Return the currency of a cost, and where it is from."""
    return currency(code), source if source in _SOURCES else names.OTHER

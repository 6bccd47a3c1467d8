"""
The names that Prometheus' own OTLP receiver gives to metrics, labels and units (pure).

Its default, ``UnderscoreEscapingWithSuffixes``: the rules of ``prometheus/otlptranslator``, as far as our units go.
"""

from __future__ import annotations

import re
from functools import lru_cache

_WORD = re.compile("[A-Za-z0-9]+")
_NO_LABEL = re.compile("[^A-Za-z0-9_]")
_UNITS = {"s": "seconds", "By": "bytes"}
_PER = {"s": "second"}


def unit_of(unit: str) -> str:
    """Return the word for a unit of UCUM; a unit in braces, and ``1``, have none."""
    main, _, per = unit.partition("/")
    return "_".join([*filter(None, [_UNITS.get(main)]), *(["per", _PER[per]] if per in _PER else [])])


def family_of(name: str, unit: str, *, gauge: bool = False) -> str:
    """Return the name of a metric without the suffixes of its samples, such as the ``_total`` of a counter."""
    words = _WORD.findall(name)
    suffix = unit_of(unit)
    if suffix and suffix not in words:
        words.append(suffix)
    if gauge and unit == "1":
        words = [*(word for word in words if word != "ratio"), "ratio"]
    return "_".join(words)


@lru_cache(maxsize=256)
def label_of(attribute: str) -> str:
    """Return the name of a label."""
    return _NO_LABEL.sub("_", attribute)

"""
Ledgers as bytes: a mark, then compressed a length, a JSON header and the arrays.

Keys are ascending, so their differences are small; every array takes the narrowest type that holds it. Nothing depends
on the order in which pairs came.
"""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any, Final, NamedTuple

import numpy as np

from shadowmesh.model import PROMPT_BUCKETS, SESSION_BUCKETS
from shadowmesh.verdict import bins, circumstance_keys, grid, legs
from shadowmesh.verdict.blocks import PLACE_BITS
from shadowmesh.verdict.facts import MEASURES, Ints
from shadowmesh.verdict.moments import Moments
from shadowmesh.verdict.tally import Tally
from shadowmesh.verdict.together import SESSIONS

MARK: Final = b"SML\x04"
# There was one state fewer.
_THIRD: Final = b"SML\x03"
_STATES_THEN: Final = 7
# And moments had sums of squares of either leg, too, which nobody asked for.
_SECOND: Final = b"SML\x02"
_UNASKED: Final = slice(4, 6)
_MOST_BYTES: Final = 1 << 30
_LENGTH: Final = struct.Struct("<I")
_TYPES: Final = ("<i1", "<i2", "<i4", "<i8")
_LARGEST: Final = 1 << 62
_MOST_SHIFT: Final = 32
# Some have a coarse place beside the bucket.
_SESSION_KEYS: Final = SESSION_BUCKETS << PLACE_BITS

_LIMITS: Final = {
    "states": legs.STATES**2,
    "exact": 2,
    "similarity": grid.KEYS,
    **{f"{kind}.{measure}": bins.CODES**2 for kind in ("joint", "triple") for measure in MEASURES},
    circumstance_keys.PROMPTS: PROMPT_BUCKETS,
    circumstance_keys.LAG: circumstance_keys.LAGS,
    circumstance_keys.ANSWER: bins.BINS,
    circumstance_keys.SUMS: len(circumstance_keys.Sum),
    **{circumstance_keys.load(side): circumstance_keys.LOADS << PLACE_BITS for side in circumstance_keys.SIDES},
}


class Span(NamedTuple):
    """How many pairs a ledger counts, when they were dispatched, and how long its blocks are."""

    pairs: int
    first_ns: int
    last_ns: int
    shift: int


class Contents(NamedTuple):
    """What a ledger consists of."""

    span: Span
    tallies: dict[str, Tally]
    moments: dict[str, Moments]


def written(span: Span, tallies: dict[str, Tally], moments: dict[str, Moments]) -> bytes:
    """Return the contents of a ledger as bytes."""
    arrays: list[bytes] = []
    index: list[list[Any]] = []
    for name in sorted(tallies):
        keys, weights = tallies[name].items()
        if not len(keys):
            continue
        steps = np.diff(keys, prepend=np.int64(0))
        kinds = [_narrowest(steps), _narrowest(weights)]
        arrays += [steps.astype(kinds[0]).tobytes(), weights.astype(kinds[1]).tobytes()]
        index.append([name, len(keys), *kinds])
    header = {
        **span._asdict(),
        "moments": {name: moments[name].numbers() for name in sorted(moments)},
        "tallies": index,
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    return MARK + zlib.compress(b"".join([_LENGTH.pack(len(text)), text, *arrays]), 1)


def read(data: bytes) -> Contents:
    """
    Return the contents of a ledger.

    Raises:
        ValueError: these are not bytes of a ledger.
    """
    mark = data[: len(MARK)]
    if mark not in (MARK, _THIRD, _SECOND):
        raise ValueError("not a ledger, or one of another version")
    try:
        plain = _decompressed(data[len(MARK) :])
        (length,) = _LENGTH.unpack_from(plain)
        start = _LENGTH.size + length
        header = json.loads(plain[_LENGTH.size : start])
        if mark == _SECOND:
            for numbers in header["moments"].values():
                del numbers[_UNASKED]
        found = _contents(header, plain[start:])
        if mark != MARK and "states" in found.tallies:
            _with_more_states(found.tallies)
        return found
    except (zlib.error, struct.error, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"a damaged ledger: {error}") from error


def _decompressed(data: bytes) -> bytes:
    machine = zlib.decompressobj()
    plain = machine.decompress(data, _MOST_BYTES)
    if not machine.eof or machine.unused_data:
        raise ValueError("a damaged ledger: it does not end where it should")
    return plain


def _contents(header: dict[str, Any], arrays: bytes) -> Contents:
    moments, tallies = {}, {}
    for name, numbers in header["moments"].items():
        if len(numbers) != len(Moments.__slots__) or not all(type(number) is int for number in numbers):
            raise ValueError(f"a damaged ledger: {name}")
        moments[name] = Moments(*numbers)
    at = 0
    for name, length, *kinds in header["tallies"]:
        steps, at = _array(arrays, at, _whole(length, 1), kinds[0])
        weights, at = _array(arrays, at, length, kinds[1])
        tallies[name] = _tally(name, np.cumsum(steps), steps, weights)
    if at != len(arrays):
        raise ValueError("a damaged ledger: there is more than its header says")
    return Contents(_span(header), tallies, moments)


def _with_more_states(tallies: dict[str, Tally]) -> None:
    """Write the states of both legs as they are written now."""
    keys, pairs = tallies["states"].items()
    live, shadow = np.divmod(keys, _STATES_THEN)
    tallies["states"] = Tally(live * legs.STATES + shadow, pairs)


def _span(header: dict[str, Any]) -> Span:
    span = Span(
        _whole(header["pairs"], 0),
        _whole(header["first_ns"], -_LARGEST),
        _whole(header["last_ns"], -_LARGEST),
        _whole(header["shift"], 0),
    )
    if span.shift > _MOST_SHIFT:
        raise ValueError("a damaged ledger: its blocks are too long")
    return span


def _tally(name: str, keys: Ints, steps: Ints, weights: Ints) -> Tally:
    limit = _LIMITS.get(name, 4 if name.startswith("guard.") else None)
    if name.startswith(SESSIONS) and (keys[0] < 0 or keys[-1] >= _SESSION_KEYS):
        raise ValueError(f"a damaged ledger: {name} is out of range")
    if (steps[1:] <= 0).any() or (keys[1:] <= keys[:-1]).any() or not weights.all():
        raise ValueError(f"a damaged ledger: {name} is out of order")
    if limit is not None and (keys[0] < 0 or keys[-1] >= limit or weights.min() < 0):
        raise ValueError(f"a damaged ledger: {name} is out of range")
    return Tally(keys, weights)


def _array(data: bytes, at: int, length: int, kind: str) -> tuple[Ints, int]:
    if kind not in _TYPES:
        raise ValueError(f"a damaged ledger: arrays of {kind!r}")
    end = at + length * int(kind[-1])
    if end > len(data):
        raise ValueError("a damaged ledger: it is cut")
    return np.frombuffer(data[at:end], kind).astype(np.int64), end


def _narrowest(values: Ints) -> str:
    least, most = int(values.min()), int(values.max())
    return next(kind for kind in _TYPES if np.iinfo(kind).min <= least and most <= np.iinfo(kind).max)


def _whole(value: object, least: int) -> int:
    if type(value) is not int or not least <= value <= _LARGEST:
        raise ValueError(f"a damaged ledger: {value!r}")
    return value

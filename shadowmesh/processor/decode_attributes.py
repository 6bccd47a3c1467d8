"""
One attribute of a span: its bytes become what a leg says by it, and bytes seen before are not decoded again.

Most attributes of a load are few and repeat in nearly every span (names, methods, models, statuses), so they are
looked up by their bytes. What is remembered is bounded three ways: short attributes only, so many values per key (a
key whose every value is new, such as an id or a time, takes no other's place; those nobody reads are one key), and
for so many legs, after which all is forgotten and what the load repeats is learned anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from struct import Struct
from typing import Any

from google.protobuf.message import DecodeError as ProtobufError

from shadowmesh import names
from shadowmesh.errors import DecodeError
from shadowmesh.model import ChunkGaps, Cost, Fields, Leg
from shadowmesh.names import Foreign
from shadowmesh.processor.decode_aliases import ALIASES, STATUSES
from shadowmesh.processor.decode_records import Maker
from shadowmesh.telemetry.attributes import SLOTS, typed

MOST_TEXT = 16 * 1024
"""Characters that the attributes of one leg may have."""
_MOST_ITEMS = 64
# UTF-8 has up to four bytes a character; the rest is the key and the lengths.
_MOST_BYTES = 4 * MOST_TEXT + 1024

_NEVER_NEGATIVE = frozenset(
    {
        names.GEN_AI_USAGE_INPUT_TOKENS,
        names.GEN_AI_USAGE_OUTPUT_TOKENS,
        names.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS,
        names.GEN_AI_USAGE_REASONING_OUTPUT_TOKENS,
        names.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK,
        names.STREAM_WRITE_STALL,
        names.STREAM_STALL_COUNT,
        names.STREAM_MESSAGE_COUNT,
        names.STREAM_CHUNK_GAP_P50,
        names.STREAM_CHUNK_GAP_P95,
        names.STREAM_CHUNK_GAP_MAX,
        names.MIRROR_QUEUE_TIME,
        names.CALL_DEADLINE,
        names.SESSION_BUCKET,
        names.PROMPT_BUCKET,
        names.COST_AMOUNT,
        *ALIASES.keys() - {Foreign.RPC_GRPC_STATUS_CODE},
    }
)

# What protobuf writes before the fields of a KeyValue and the kinds of an AnyValue.
_KEY, _VALUE = 0x0A, 0x12
_STRING, _BOOL, _INT, _DOUBLE = 0x0A, 0x10, 0x18, 0x21
_ONE_BYTE = 0x80
_FLOAT64 = Struct("<d")


LEG, FIELDS, GAPS, COST = MAKERS = Maker(Leg), Maker(Fields), Maker(ChunkGaps), Maker(Cost)
"""The records in which a leg holds what it says."""

Said = tuple[int, int | str, Any]
"""
What a leg says by one attribute: in which record, in which place of it, what.

A record is a number, in the order of ``MAKERS``; behind them stands what aliases say, by their names.
"""

NOTHING: Said = (-1, "", None)
"""An attribute of somebody else, or a figure nobody can have meant, such as -1 tokens for "I do not know"."""


class _Key:
    """One key that is read: where its value goes, and what it must be."""

    __slots__ = ("closed", "name", "never_negative", "place", "record", "type")

    def __init__(self, name: str, record: int, place: int | str, kind: type) -> None:
        self.name = name
        self.record = record
        self.place = place
        self.type = kind
        self.never_negative = name in _NEVER_NEGATIVE
        self.closed = name == names.RPC_RESPONSE_STATUS_CODE


_ALIASES = len(MAKERS)
_RECORD = {Leg: 0, Fields: 1, ChunkGaps: 2, Cost: 3}
_KEYS = {
    key.encode(): _Key(key, _RECORD[slot.record], MAKERS[_RECORD[slot.record]].place[slot.field], slot.type)
    for key, slot in SLOTS.items()
} | {key.encode(): _Key(key, _ALIASES, key, kind) for key, kind in ALIASES.items()}
# All that nobody reads, which share one key's places among what is remembered.
_OTHERS = _Key("", _ALIASES, "", str)


class Attributes:
    """
    Reads attributes and remembers them.

    Args:
        parse: makes a message of the view's ``KeyValue`` from bytes.
        values: how many values of one key are remembered.
        longest: the longest attribute that is remembered, in bytes.
        legs: for how many legs, counted by :meth:`age`, anything is remembered.
    """

    def __init__(
        self, parse: Callable[[bytes], Any], *, values: int = 256, longest: int = 160, legs: int = 50_000
    ) -> None:
        self.known: dict[bytes, Said] = {}
        """What need not be read again; a reader that is in a hurry looks here first."""
        self._parse = parse
        self._values = values
        self._longest = longest
        self._legs = legs
        self._age = 0
        self._count = dict.fromkeys((*_KEYS.values(), _OTHERS), 0)

    def read(self, attribute: bytes) -> Said:
        """
        Return what the bytes of a KeyValue say, which stand not among :attr:`known`.

        Raises:
            DecodeError: they are none, or have a value that a leg cannot have.
        """
        if len(attribute) > 2 and attribute[0] == _KEY:
            behind = 2 + attribute[1]
            # A key of 128 bytes and more has its length in two, and is none of ours.
            key = _KEYS.get(attribute[2:behind])
        else:
            behind = len(attribute)
            key = _KEYS.get(self._message(attribute).key.encode())
        if key is None:
            # What every span says and nobody reads, such as the system, would be looked at every time.
            key, said = _OTHERS, NOTHING
        else:
            said = _short(key, attribute, behind) or _said(key, _plain(self._message(attribute).value))
        if self._count[key] < self._values and len(attribute) <= self._longest:
            self._count[key] += 1
            self.known[attribute] = said
        return said

    def age(self, legs: int) -> None:
        """Forget everything when it is time to: what a load repeats is soon known again."""
        self._age += legs
        if self._age >= self._legs:
            self._age = 0
            self.known.clear()
            self._count = dict.fromkeys(self._count, 0)

    def _message(self, attribute: bytes) -> Any:
        if len(attribute) > _MOST_BYTES:
            raise DecodeError(f"attribute with more than {MOST_TEXT} characters")
        try:
            return self._parse(attribute)
        except ProtobufError as error:
            raise DecodeError("attribute that does not parse") from error


def _short(key: _Key, attribute: bytes, at: int) -> Said | None:
    """
    Return what nearly all attributes say, spelled out: a short and possible value of the key's own type, which stands
    at ``at`` and ends with the attribute. Of everything else nothing is said here.
    """
    left = len(attribute) - at - 4
    if not 0 <= left < _ONE_BYTE - 2 or attribute[at] != _VALUE or attribute[at + 1] != left + 2:
        return None
    kind, first = attribute[at + 2], attribute[at + 3]
    if kind == _STRING:
        if key.type is str and first == left and not key.closed:
            return key.record, key.place, _text(attribute[at + 4 :])
    elif kind == _DOUBLE:
        if key.type is float and left == 7:
            value = _FLOAT64.unpack_from(attribute, at + 3)[0]
            if 0 <= value < math.inf:
                return key.record, key.place, value
    elif kind == _INT and key.type is int:
        if left == 0 and first < _ONE_BYTE:
            return key.record, key.place, first
        if left == 1 and first >= _ONE_BYTE and attribute[at + 4] < _ONE_BYTE:
            return key.record, key.place, first - _ONE_BYTE + (attribute[at + 4] << 7)
    return None


def _text(data: bytes) -> str:
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError as error:
        raise DecodeError("text that is not UTF-8") from error


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        items = value.array_value.values
        if len(items) > _MOST_ITEMS or any(item.WhichOneof("value") != "string_value" for item in items):
            raise DecodeError(f"list that is longer than {_MOST_ITEMS} or holds something else than strings")
        return tuple(item.string_value for item in items)
    return None if kind is None else getattr(value, kind)


def _said(key: _Key, value: Any) -> Said:
    kind = type(value)
    if kind is float or kind is int:
        if not math.isfinite(value) or (value < 0 and key.never_negative):
            return NOTHING
    elif value is None or (kind is str and key.closed and value not in STATUSES):
        return NOTHING
    if kind is not key.type:
        if key.record == _ALIASES:
            return NOTHING
        value = typed(value, key.type, key.name)
    return key.record, key.place, value

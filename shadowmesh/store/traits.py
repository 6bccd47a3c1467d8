"""
What many legs have in common, once each: the facts of a leg that are its configuration's or one of few.

The id of a set of traits is a hash of it, so that writers agree without asking. A set lives as long as pairs may name
it: whoever uses one says so once in :data:`REFRESH_NS`, and one is forgotten when nobody has said so for twice that
before the oldest pair was stored.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from hashlib import blake2b
from operator import attrgetter
from typing import Any, NamedTuple

from shadowmesh.model import Cost, Fields, Leg

REFRESH_NS = 3600 * 1_000_000_000

_LEG = (
    "method",
    "status",
    "end",
    "drop_reason",
    "warm_up",
    "target_kind",
    "streaming",
    "complete",
    "attempt",
    "probability",
    "decision",
    "experiment_version",
    "leg_count",
    "expected_targets",
    "config_digest",
    "target_digest",
    "server_address",
    "server_port",
)
_FIELDS = ("operation", "provider", "request_model", "response_model", "usage_source", "finish_reasons")
_COST = ("currency", "source", "pricing_version")
_NAMES = (_LEG, _FIELDS, _COST)
_TUPLES = ("expected_targets", "finish_reasons")

_leg_traits = attrgetter(*_LEG)
_fields_traits = attrgetter(*_FIELDS)
_cost_traits = attrgetter(*_COST)

Key = tuple[tuple[Any, ...], tuple[Any, ...], tuple[Any, ...] | None]
"""The traits of one leg: its own, its fields', and its cost's if it has one."""

_MOST_KNOWN = 20_000


def traits_of(leg: Leg) -> Key:
    """Return the traits of a leg."""
    cost = leg.cost
    return _leg_traits(leg), _fields_traits(leg.fields), None if cost is None else _cost_traits(cost)


class LegFacts(NamedTuple):
    """Traits as arguments for the records they are of; ``cost`` is ``None`` where the leg has none."""

    leg: Mapping[str, Any]
    fields: Mapping[str, Any]
    cost: Mapping[str, Any] | None


def _defaults(record: type) -> dict[str, Any]:
    return {field.name: field.default for field in fields(record)}


_DEFAULTS = (_defaults(Leg), _defaults(Fields), _defaults(Cost))


def to_facts(key: Key) -> str:
    """Return traits as JSON: what is not its field's default, in three objects; the third is null without a cost."""
    parts = []
    for names, defaults, values in zip(_NAMES, _DEFAULTS, key, strict=True):
        said = None if values is None else dict(zip(names, values, strict=True))
        parts.append(said and {name: value for name, value in said.items() if value != defaults[name]})
    return json.dumps(dict(zip(("leg", "fields", "cost"), parts, strict=True)), separators=(",", ":"))


def from_facts(facts: str) -> LegFacts:
    """Return what :func:`to_facts` was given."""
    parts = json.loads(facts)
    for part in (parts["leg"], parts["fields"]):
        for name in _TUPLES:
            if name in part:
                part[name] = tuple(part[name])
    return LegFacts(**parts)


class TraitsBook:
    """The ids of traits, and which of them the database was told of lately."""

    def __init__(self) -> None:
        self._ids: dict[Key, int] = {}
        self._keys: dict[int, Key] = {}
        self._told_ns: dict[int, int] = {}

    def ids(self, legs: Iterable[Leg | None]) -> list[int | None]:
        """Return the id of each leg's traits."""
        known = self._ids
        ids: list[int | None] = []
        for leg in legs:
            if leg is None:
                ids.append(None)
            else:
                key = traits_of(leg)
                ids.append(known.get(key) or self._new(key))
        return ids

    def untold(self, ids: Iterable[int | None], now_ns: int) -> list[tuple[int, str]]:
        """Return id and facts of those that the database has to be told of (again), in the order of their ids."""
        told = self._told_ns
        due = {id_ for id_ in ids if id_ is not None and told.get(id_, 0) <= now_ns - REFRESH_NS}
        return [(id_, to_facts(self._keys[id_])) for id_ in sorted(due)]

    def told(self, ids: Iterable[int], now_ns: int) -> None:
        """Remember that the database knows these."""
        self._told_ns.update(dict.fromkeys(ids, now_ns))
        if len(self._ids) > _MOST_KNOWN:
            # Whoever sends new ones all the time shall not make us grow; what is in use is soon known again.
            for book in (self._ids, self._keys, self._told_ns):
                book.clear()

    def _new(self, key: Key) -> int:
        digest = blake2b(to_facts(key).encode(), digest_size=8).digest()
        # 63 bits: every database has such integers.
        id_ = int.from_bytes(digest, "big") >> 1 or 1
        self._ids[key] = id_
        self._keys[id_] = key
        return id_

"""
A pair as a document for people and judges: the shape ``shadowmesh.pair/1``.

Keys may be added within a version; one that goes or changes its meaning makes version 2. Every key is always there, and
``null`` is what is unknown: never 0. Durations are seconds, tokens and messages are counts, a duration is without the
time a slow client stalled our writes. ``changes`` are shadow less live (``delta``) and shadow over live (``ratio``) of
what both sides say, ``matches`` is what is equal. A leg that never came is ``null``. ``similarity``, ``divergence`` and
``guards`` are what captured texts showed, which are compared some minutes after the pair; so is ``output_exact`` where
no digests tell. A guard says what is wrong with the text of either side; on the live one it is ``null`` where the guard
compares the two.

As JSON, times of day are RFC 3339 in UTC with nanoseconds, and captured text is what the GenAI conventions make of it:
lists of messages. Parquet has timestamps, and the lists as JSON text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from typing import Any, Literal, NamedTuple

from shadowmesh.compare.texts import TextComparison
from shadowmesh.model import Change, Comparison, Fields, Leg
from shadowmesh.names import Check, Role
from shadowmesh.store.records import Content, StoredPair
from shadowmesh.telemetry.attributes import error_type

SCHEMA = "shadowmesh.pair/1"

Kind = Literal["text", "texts", "int", "float", "bool", "time", "json"]
"""What a value is: ``texts`` are a list of text, ``json`` is text that holds JSON."""


class Key(NamedTuple):
    """One key and what is below it: a value of a kind, or keys again."""

    name: str
    of: Kind | tuple[Key, ...]


def _keys(kind: Kind, *names: str) -> tuple[Key, ...]:
    return tuple(Key(name, kind) for name in names)


CHANGES = tuple(field.name for field in fields(Comparison) if "Change" in str(field.type))

_LEG = (
    *_keys("text", "trace_id", "span_id"),
    *_keys("time", "started_at"),
    *_keys("float", "duration", "write_stall", "queue_time", "time_to_first_chunk"),
    Key("chunk_gaps", _keys("float", "p50", "p95", "max")),
    *_keys("int", "stall_count", "message_count"),
    *_keys("bool", "streaming", "complete"),
    *_keys("text", "status", "error_type", "end", "drop_reason"),
    *_keys("text", "provider", "request_model", "response_model", "response_id"),
    *_keys("int", "max_tokens"),
    *_keys("float", "temperature", "top_p", "top_k"),
    *_keys("int", "seed"),
    *_keys("texts", "stop_sequences", "finish_reasons"),
    *_keys("int", "input_tokens", "output_tokens", "cached_input_tokens", "reasoning_output_tokens"),
    *_keys("text", "usage_source"),
    Key("cost", (*_keys("float", "amount"), *_keys("text", "currency", "source", "pricing_version"))),
    *_keys("text", "output_digest", "request_digest"),
    *_keys("float", "probability", "concurrency", "deadline"),
    *_keys("int", "attempt"),
    *_keys("text", "config_digest", "target_digest", "server_address"),
    *_keys("int", "server_port"),
)
PAIR = (
    *_keys("text", "schema", "experiment", "experiment_version", "target", "target_kind", "pair_id"),
    *_keys("int", "exchange_index", "session", "prompt_bucket"),
    *_keys("text", "method", "operation", "outcome"),
    *_keys("bool", "warm_up"),
    *_keys("time", "dispatched_at", "stored_at"),
    Key("matches", _keys("bool", *(check.value for check in Check))),
    *_keys("float", "similarity"),
    Key("divergence", (*_keys("int", "at"), *_keys("float", "share"))),
    *_keys("json", "guards"),
    Key("changes", tuple(Key(name, _keys("float", "delta", "ratio")) for name in CHANGES)),
    *_keys("text", "currency"),
    Key("live", _LEG),
    Key("shadow", _LEG),
)
"""The keys of a document."""

_SAID = (*_keys("json", "instructions", "input", "output"), *_keys("texts", "truncated"))
CONTENT = Key("content", (Key("live", _SAID), Key("shadow", _SAID)))
"""The key that a document has beside them when captured text was asked for."""

Contents = Mapping[tuple[str, str, str, str], Content]
Texts = Mapping[tuple[str, str, str], TextComparison]
"""By experiment, pair id and target."""


class Dialect(NamedTuple):
    """How a file says what JSON and Parquet have different words for: a time of day, and text that holds JSON."""

    time: Callable[[int], Any]
    json: Callable[[str], Any]


def document(stored: StoredPair, dialect: Dialect, *, texts: Texts, contents: Contents | None = None) -> dict[str, Any]:
    """
    Return the document of a pair.

    Args:
        texts: what captured texts of this and other pairs showed.
        contents: captured text of this and other pairs, where it was asked for.
    """
    pair, comparison = stored.record
    live, shadow = pair.live, pair.shadow
    first = live or shadow
    if first is None:
        raise ValueError("a pair without legs")
    shown = texts.get((first.experiment, pair.pair_id, pair.target), TextComparison())
    matches = {check.value: comparison.matches.get(check) for check in Check}
    if matches[Check.OUTPUT_EXACT] is None:
        matches[Check.OUTPUT_EXACT] = shown.equal
    said = {
        "schema": SCHEMA,
        "experiment": first.experiment,
        "experiment_version": first.experiment_version or None,
        "target": pair.target,
        "target_kind": None if shadow is None else shadow.target_kind or None,
        "pair_id": pair.pair_id,
        "exchange_index": first.exchange_index,
        "session": None if live is None else live.session,
        "prompt_bucket": None if live is None else live.prompt_bucket,
        "method": first.method,
        "operation": first.fields.operation,
        "outcome": str(comparison.outcome),
        "warm_up": None if shadow is None else shadow.warm_up,
        "dispatched_at": dialect.time(stored.dispatched_ns),
        "stored_at": dialect.time(stored.stored_ns),
        "matches": matches,
        **_texts(shown, dialect),
        "changes": {name: _change(getattr(comparison, name)) for name in CHANGES},
        "currency": comparison.currency,
        "live": _leg(live, dialect),
        "shadow": _leg(shadow, dialect),
    }
    if contents is not None:
        said["content"] = {
            role.value: _content(contents.get((first.experiment, pair.pair_id, role.value, target)), dialect)
            for role, target in ((Role.LIVE, ""), (Role.SHADOW, pair.target))
        }
    return said


def _texts(shown: TextComparison, dialect: Dialect) -> dict[str, Any]:
    at, guards = shown.divergence_at, shown.guards
    flags = {name: {Role.LIVE.value: live, Role.SHADOW.value: shadow} for name, (live, shadow) in guards.items()}
    return {
        "similarity": shown.similarity,
        "divergence": None if at is None else {"at": at, "share": shown.divergence_share},
        "guards": dialect.json(json.dumps(flags)) if flags else None,
    }


def _change(change: Change | None) -> dict[str, Any] | None:
    return None if change is None else {"delta": change.delta, "ratio": change.ratio}


def _leg(leg: Leg | None, dialect: Dialect) -> dict[str, Any] | None:
    if leg is None:
        return None
    special = {
        "trace_id": f"{leg.trace_id:032x}",
        "span_id": f"{leg.span_id:016x}",
        "started_at": dialect.time(leg.started_ns),
        "chunk_gaps": None if leg.chunk_gaps is None else asdict(leg.chunk_gaps),
        "error_type": error_type(leg),
        "cost": None if leg.cost is None else asdict(leg.cost),
        "stop_sequences": list(leg.fields.stop_sequences) or None,
        "finish_reasons": list(leg.fields.finish_reasons) or None,
    }
    return {
        name: special[name] if name in special else getattr(leg.fields if name in _OF_FIELDS else leg, name)
        for name, _ in _LEG
    }


_OF_FIELDS = frozenset(field.name for field in fields(Fields))


def _content(content: Content | None, dialect: Dialect) -> dict[str, Any] | None:
    if content is None:
        return None
    texts = {"instructions": content.instructions, "input": content.input, "output": content.output}
    said = {name: None if text is None else dialect.json(text) for name, text in texts.items()}
    return said | {"truncated": list(content.truncated)}

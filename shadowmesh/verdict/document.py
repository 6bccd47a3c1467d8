"""
A judgement as JSON: the shape ``shadowmesh.verdict/1``.

One object. Times of day are RFC 3339 in UTC, durations are seconds. Keys may be added within a version, so a reader
ignores what it does not know; a key that goes or changes its meaning makes version 2. ``null`` is what is unknown or
does not apply: never 0. A number without bound is the text ``"Infinity"`` or ``"-Infinity"``, as in protobuf's JSON.

Nothing in it is content: names from the configuration, counts and what follows from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import UTC, datetime, timedelta
from math import inf, isnan
from typing import Any

from pydantic import TypeAdapter

from shadowmesh.verdict.judgement import Judgement
from shadowmesh.verdict.records import EvidenceKey, Verdict

SCHEMA = "shadowmesh.verdict/1"
PATH = "/v1/verdict"
"""Where a running processor answers with one, on its HTTP port."""

_EPOCH = datetime.fromtimestamp(0, UTC)
_BEYOND = {inf: "Infinity", -inf: "-Infinity"}
_KEY = tuple(field.name for field in fields(EvidenceKey))
_VERDICT = TypeAdapter(Verdict)


def to_document(judgement: Judgement) -> dict[str, Any]:
    """Return a judgement as JSON can hold it."""
    return {
        "schema": SCHEMA,
        "answer": str(judgement.answer),
        "reason": judgement.reason,
        "at": moment_text(judgement.at_ns),
        "since": None if judgement.since_ns is None else moment_text(judgement.since_ns),
        "verdicts": [_verdict(one) for one in judgement.verdicts],
    }


def from_document(document: object) -> Judgement:
    """
    Return what a decoded document says.

    Raises:
        ValueError: it is none of version 1.
    """
    if not isinstance(document, Mapping) or document.get("schema") != SCHEMA:
        raise ValueError(f"not of the shape {SCHEMA}")
    try:
        since = document["since"]
        return Judgement(
            at_ns=nanoseconds_of(document["at"]),
            since_ns=None if since is None else nanoseconds_of(since),
            verdicts=tuple(_read(one) for one in document["verdicts"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not of the shape {SCHEMA}") from error


def _verdict(verdict: Verdict) -> dict[str, Any]:
    said = _plain(asdict(verdict))
    key, first, last = said.pop("key"), said.pop("first_ns"), said.pop("last_ns")
    times = {"first": moment_text(first) if first else None, "last": moment_text(last) if last else None}
    return {**key, **said, **times}


def _read(said: Mapping[str, Any]) -> Verdict:
    times = {f"{name}_ns": nanoseconds_of(said[name]) if said[name] is not None else 0 for name in ("first", "last")}
    return _VERDICT.validate_python({**said, **times, "key": {name: said[name] for name in _KEY}})


def _plain(value: Any) -> Any:
    """Return a value as JSON has it, which knows no infinity."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float):
        return None if isnan(value) else _BEYOND.get(value, value)
    return value


def moment_text(nanoseconds: int) -> str:
    """Return wall-clock nanoseconds as RFC 3339."""
    return (_EPOCH + timedelta(microseconds=nanoseconds // 1000)).isoformat().replace("+00:00", "Z")


def nanoseconds_of(moment: str) -> int:
    """Return what :func:`moment_text` was made of; raises ``ValueError``, or ``TypeError`` where there is no zone."""
    return (datetime.fromisoformat(moment) - _EPOCH) // timedelta(microseconds=1) * 1000

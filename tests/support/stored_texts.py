"""Captured texts of pairs that are stored, and comparing them."""

from __future__ import annotations

import json
from collections.abc import Iterator

from sqlalchemy import ColumnElement

from shadowmesh.compare.similarity import Lexical, Similarity
from shadowmesh.store.database import Database
from shadowmesh.store.records import ComparedPair, Content
from shadowmesh.store.texts import compare_missing
from shadowmesh.telemetry.faults import Faults


def messages(text: str) -> str:
    """Return an answer as the conventions have it."""
    return json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": text}], "finish_reason": "stop"}])


def said(pair_id: str, text: str | None, *, target: str = "", truncated: tuple[str, ...] = ()) -> Content:
    """Return what the live leg, or that of a target, answered."""
    role = "shadow" if target else "live"
    output = None if text is None else messages(text)
    return Content(
        experiment="summaries", pair_id=pair_id, role=role, target=target, output=output, truncated=truncated
    )


def said_by(pair_id: str, live: str, shadow: str, *, target: str = "candidate") -> list[Content]:
    """Return what both legs of a pair answered."""
    return [said(pair_id, live), said(pair_id, shadow, target=target)]


def steps(
    url: str,
    *wanted: ColumnElement[bool],
    similarity: Similarity | None = None,
    faults: Faults | None = None,
    at: int = 1,
) -> Iterator[list[ComparedPair]]:
    """Compare what is missing of these pairs, or of all."""
    database = Database(url, create=False)
    try:
        yield from compare_missing(
            database, wanted, similarity=similarity or Lexical(), faults=faults or Faults(), wall_ns=lambda: at
        )
    finally:
        database.close()


def compared(url: str, *, at: int = 1) -> list[str]:
    """Compare what is missing; return the pairs of which something is newly stored."""
    return [one.stored.record.pair.pair_id for step in steps(url, at=at) for one in step]

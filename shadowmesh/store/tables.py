"""
The tables, as SQLAlchemy Core sees them; what makes them in a database is in ``migrations``.

- ``pairs``: one row per (experiment, pair id, target). The ``id`` is given by the writer, not by the database, and is
  ``writer << NUMBER_BITS | number``: a writer numbers its rows upwards, which tells without another index which rows it
  added since a certain one, and keeps new rows side by side on disk.
- ``traits``: what many legs have in common (method, models, target, digests, status), once each, as JSON: it would be
  half of every row. A leg's row names its traits by a hash of them. ``seen_ns`` is when they were last known to be
  used, to the hour.
- ``processors``: who writes, how far each has numbered, and what it holds back (its watermark).
- ``checkpoints``: what a processor needs to go on after a crash.
- ``content``: captured text, apart from the pairs, because it is kept for another time.
- ``texts``: what captured texts showed when they were compared; without content, and kept as long as the pair.
- ``ledgers``: per processor, evidence key and stratum the counts of what was folded, see ``shadowmesh.verdict``. The
  ``id`` is a hash of these names, because PostgreSQL could not index all of them.
- ``folds``: per processor up to which number and which moment of dispatch its rows are in its ledgers.
- ``samplings``: per processor, target and configuration how calls were drawn, as their senders have counted it.
- ``watches``: per processor and evidence key the state of its change detectors, as JSON.
- ``answers``: per evidence key the answer that was last told of, and when the verdict was made.
- ``alerts``: what somebody is still to be told of, as JSON, per processor and in order; what was delivered is gone.

A leg without a row of its own (the side of a pair that never came) has NULL in all its columns; ``…_span_id`` tells.
Times are wall-clock nanoseconds since 1970, durations float seconds, ids of traces and spans big-endian bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.types import TypeEngine

from shadowmesh.names import Role

NUMBER_BITS = 44
"""Rows that a writer can number: at 10 000 a second, for 55 years. What is left of 63 bits are 524 287 writers."""

METADATA = MetaData()

_BIG = BigInteger()
# SQLite's rowid has to be spelled INTEGER.
_ID: TypeEngine[int] = BigInteger().with_variant(Integer, "sqlite")

LEG_COLUMNS: tuple[tuple[str, TypeEngine[Any]], ...] = (
    ("span_id", LargeBinary()),
    ("trace_id", LargeBinary()),
    ("traits", _BIG),
    ("started_ns", _BIG),
    ("ended_ns", _BIG),
    ("write_stall", Double()),
    ("queue_time", Double()),
    ("time_to_first_chunk", Double()),
    ("message_count", _BIG),
    ("concurrency", Double()),
    ("deadline", Double()),
    ("gap_p50", Double()),
    ("gap_p95", Double()),
    ("gap_max", Double()),
    ("stall_count", _BIG),
    ("input_tokens", _BIG),
    ("output_tokens", _BIG),
    ("cached_input_tokens", _BIG),
    ("reasoning_output_tokens", _BIG),
    ("cost", Double()),
    ("output_digest", Text()),
    ("request_digest", Text()),
    ("response_id", Text()),
    ("parameters", Text()),
)
"""The columns that there are of both legs, as ``live_…`` and ``shadow_…``."""


def _leg_columns() -> Iterator[Column[Any]]:
    for role in Role:
        for name, kind in LEG_COLUMNS:
            yield Column(f"{role.value}_{name}", kind)


PAIRS = Table(
    "pairs",
    METADATA,
    Column("id", _ID, primary_key=True, autoincrement=False),
    Column("experiment", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("pair_id", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("dispatched_ns", _BIG, nullable=False),
    Column("stored_ns", _BIG, nullable=False),
    Column("exchange_index", _BIG),
    Column("match_status_code", Boolean),
    Column("match_finish_reason", Boolean),
    Column("match_output", Boolean),
    *_leg_columns(),
    Column("split", Boolean, nullable=False, server_default=false()),
    # One of 256, see names.SESSION_BUCKET; NULL where nobody knows to what the exchange belongs.
    Column("session", SmallInteger),
    # One of 16 384, see names.PROMPT_BUCKET; NULL where nobody could read a prompt.
    Column("prompt_bucket", SmallInteger),
    # The id first: it tells most, and it is what somebody looks for who has nothing else.
    UniqueConstraint("pair_id", "target", "experiment", name="pairs_once"),
    Index("pairs_by_dispatch", "experiment", "target", "dispatched_ns", "outcome"),
)

TRAITS = Table(
    "traits",
    METADATA,
    Column("id", _ID, primary_key=True, autoincrement=False),
    Column("facts", Text, nullable=False),
    Column("seen_ns", _BIG, nullable=False),
)

PROCESSORS = Table(
    "processors",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("name", Text, nullable=False, unique=True),
    Column("instance", Text, nullable=False),
    Column("started_ns", _BIG, nullable=False),
    Column("last_seen_ns", _BIG, nullable=False),
    # NULL: it holds nothing back, having ended in good order.
    Column("watermark_ns", _BIG),
    Column("number", _BIG, nullable=False),
    # An id is never given twice: it is part of the ids of pairs.
    sqlite_autoincrement=True,
)

CHECKPOINTS = Table(
    "checkpoints",
    METADATA,
    Column("writer", Integer, primary_key=True, autoincrement=False),
    Column("number", _BIG, nullable=False),
    Column("position", _BIG, nullable=False),
    Column("state", LargeBinary, nullable=False),
    Column("saved_ns", _BIG, nullable=False),
)

CONTENT = Table(
    "content",
    METADATA,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("experiment", Text, nullable=False),
    Column("pair_id", Text, nullable=False),
    Column("role", Text, nullable=False),
    # Empty on the live side, which is the same for all targets.
    Column("target", Text, nullable=False),
    Column("instructions", Text),
    Column("input", Text),
    Column("output", Text),
    Column("truncated", Text),
    Column("bytes", _BIG, nullable=False),
    Column("stored_ns", _BIG, nullable=False),
    UniqueConstraint("pair_id", "role", "target", "experiment", name="content_once"),
    # How much there is can be read off the index, without reading the texts.
    Index("content_by_age", "stored_ns", "bytes"),
)

TEXTS = Table(
    "texts",
    METADATA,
    Column("pair_id", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("experiment", Text, nullable=False),
    Column("similarity", Double),
    Column("equal", Boolean),
    Column("divergence_at", _BIG),
    Column("divergence_share", Double),
    # JSON: {"numbers": [live, shadow], ...}
    Column("guards", Text),
    Column("stored_ns", _BIG, nullable=False),
    PrimaryKeyConstraint("pair_id", "target", "experiment"),
    Index("texts_by_age", "stored_ns"),
)

LEDGERS = Table(
    "ledgers",
    METADATA,
    Column("id", _ID, primary_key=True, autoincrement=False),
    Column("writer", Integer, nullable=False),
    Column("experiment", Text, nullable=False),
    Column("target", Text, nullable=False),
    # Empty for pairs whose shadow never came: only it could have said.
    Column("target_digest", Text, nullable=False),
    Column("config_digest", Text, nullable=False),
    Column("stratum", Text, nullable=False),
    # Of the target; empty where nobody has said.
    Column("kind", Text, nullable=False),
    Column("first_ns", _BIG, nullable=False),
    Column("last_ns", _BIG, nullable=False),
    Column("folded_ns", _BIG, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

FOLDS = Table(
    "folds",
    METADATA,
    Column("writer", Integer, primary_key=True, autoincrement=False),
    Column("number", _BIG, nullable=False),
    Column("watermark_ns", _BIG, nullable=False),
    Column("late", _BIG, nullable=False),
    Column("mixed_currencies", _BIG, nullable=False),
    Column("folded_ns", _BIG, nullable=False),
    # Captured texts that came when their pair was folded already.
    Column("late_texts", _BIG, nullable=False, server_default="0"),
)

SAMPLINGS = Table(
    "samplings",
    METADATA,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("writer", Integer, nullable=False),
    Column("experiment", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("config_digest", Text, nullable=False),
    Column("eligible", _BIG, nullable=False),
    Column("sampled", _BIG, nullable=False),
    Column("expected", Double, nullable=False),
    Index("samplings_by_key", "experiment", "target", "config_digest"),
)

WATCHES = Table(
    "watches",
    METADATA,
    Column("id", _ID, primary_key=True, autoincrement=False),
    Column("writer", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("folded_ns", _BIG, nullable=False),
)

ANSWERS = Table(
    "answers",
    METADATA,
    Column("id", _ID, primary_key=True, autoincrement=False),
    Column("answer", Text, nullable=False),
    Column("judged_ns", _BIG, nullable=False),
)

ALERTS = Table(
    "alerts",
    METADATA,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("writer", Integer, nullable=False),
    Column("made_ns", _BIG, nullable=False),
    Column("document", Text, nullable=False),
)

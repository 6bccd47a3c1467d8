"""The first tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "1"
down_revision = None

_BIG = sa.BigInteger()
_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_LEG: tuple[tuple[str, sa.types.TypeEngine[Any]], ...] = (
    ("span_id", sa.LargeBinary()),
    ("trace_id", sa.LargeBinary()),
    ("traits", _BIG),
    ("started_ns", _BIG),
    ("ended_ns", _BIG),
    ("write_stall", sa.Double()),
    ("queue_time", sa.Double()),
    ("time_to_first_chunk", sa.Double()),
    ("message_count", _BIG),
    ("concurrency", sa.Double()),
    ("deadline", sa.Double()),
    ("gap_p50", sa.Double()),
    ("gap_p95", sa.Double()),
    ("gap_max", sa.Double()),
    ("stall_count", _BIG),
    ("input_tokens", _BIG),
    ("output_tokens", _BIG),
    ("cached_input_tokens", _BIG),
    ("reasoning_output_tokens", _BIG),
    ("cost", sa.Double()),
    ("output_digest", sa.Text()),
    ("request_digest", sa.Text()),
    ("response_id", sa.Text()),
    ("parameters", sa.Text()),
)


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "pairs",
        sa.Column("id", _ID, primary_key=True, autoincrement=False),
        sa.Column("experiment", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("pair_id", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("dispatched_ns", _BIG, nullable=False),
        sa.Column("stored_ns", _BIG, nullable=False),
        sa.Column("exchange_index", _BIG),
        sa.Column("match_status_code", sa.Boolean),
        sa.Column("match_finish_reason", sa.Boolean),
        sa.Column("match_output", sa.Boolean),
        sa.Column("divergence_at", _BIG),
        sa.Column("divergence_share", sa.Double),
        *_legs(),
        sa.Column("split", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.UniqueConstraint("pair_id", "target", "experiment", name="pairs_once"),
    )
    op.create_index("pairs_by_dispatch", "pairs", ["experiment", "target", "dispatched_ns", "outcome"])
    op.create_table(
        "traits",
        sa.Column("id", _ID, primary_key=True, autoincrement=False),
        sa.Column("facts", sa.Text, nullable=False),
        sa.Column("seen_ns", _BIG, nullable=False),
    )
    op.create_table(
        "processors",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("instance", sa.Text, nullable=False),
        sa.Column("started_ns", _BIG, nullable=False),
        sa.Column("last_seen_ns", _BIG, nullable=False),
        sa.Column("watermark_ns", _BIG),
        sa.Column("number", _BIG, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "checkpoints",
        sa.Column("writer", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("number", _BIG, nullable=False),
        sa.Column("position", _BIG, nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
        sa.Column("saved_ns", _BIG, nullable=False),
    )
    op.create_table(
        "content",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("experiment", sa.Text, nullable=False),
        sa.Column("pair_id", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("instructions", sa.Text),
        sa.Column("input", sa.Text),
        sa.Column("output", sa.Text),
        sa.Column("truncated", sa.Text),
        sa.Column("bytes", _BIG, nullable=False),
        sa.Column("stored_ns", _BIG, nullable=False),
        sa.UniqueConstraint("pair_id", "role", "target", "experiment", name="content_once"),
    )
    op.create_index("content_by_age", "content", ["stored_ns", "bytes"])


def _legs() -> Iterator[sa.Column[Any]]:
    for role in ("live", "shadow"):
        for name, kind in _LEG:
            yield sa.Column(f"{role}_{name}", kind)

"""
What verdicts are made from: ledgers, how far each processor has folded, and what captured texts showed. And what is
told of them: the state of change detectors, the last answers, and alerts on their way.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = "1"

_BIG = sa.BigInteger()
_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables; rows that are there already are folded like all others."""
    op.create_table(
        "ledgers",
        sa.Column("id", _ID, primary_key=True, autoincrement=False),
        sa.Column("writer", sa.Integer, nullable=False),
        sa.Column("experiment", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("target_digest", sa.Text, nullable=False),
        sa.Column("config_digest", sa.Text, nullable=False),
        sa.Column("stratum", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("first_ns", _BIG, nullable=False),
        sa.Column("last_ns", _BIG, nullable=False),
        sa.Column("folded_ns", _BIG, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "folds",
        sa.Column("writer", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("number", _BIG, nullable=False),
        sa.Column("watermark_ns", _BIG, nullable=False),
        sa.Column("late", _BIG, nullable=False),
        sa.Column("mixed_currencies", _BIG, nullable=False),
        sa.Column("folded_ns", _BIG, nullable=False),
    )
    op.create_table(
        "texts",
        sa.Column("pair_id", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("experiment", sa.Text, nullable=False),
        sa.Column("similarity", sa.Double),
        sa.Column("equal", sa.Boolean),
        sa.Column("divergence_at", _BIG),
        sa.Column("divergence_share", sa.Double),
        sa.Column("guards", sa.Text),
        sa.Column("stored_ns", _BIG, nullable=False),
        sa.PrimaryKeyConstraint("pair_id", "target", "experiment"),
    )
    op.create_index("texts_by_age", "texts", ["stored_ns"])
    op.create_table(
        "watches",
        sa.Column("id", _ID, primary_key=True, autoincrement=False),
        sa.Column("writer", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("folded_ns", _BIG, nullable=False),
    )
    op.create_table(
        "answers",
        sa.Column("id", _ID, primary_key=True, autoincrement=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("judged_ns", _BIG, nullable=False),
    )
    op.create_table(
        "alerts",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("writer", sa.Integer, nullable=False),
        sa.Column("made_ns", _BIG, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
    )

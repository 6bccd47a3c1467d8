"""
Two more things that a verdict asks: how calls were drawn, and which exchanges are of one session. Captured texts that
came too late are counted. What texts show has a table of its own, so the columns that pairs had for it go.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "3"
down_revision = "2"

_BIG = sa.BigInteger()
_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Change the tables. SQLite copies every pair to drop a column: some ten seconds for a million of them."""
    op.create_table(
        "samplings",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("writer", sa.Integer, nullable=False),
        sa.Column("experiment", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("config_digest", sa.Text, nullable=False),
        sa.Column("eligible", _BIG, nullable=False),
        sa.Column("sampled", _BIG, nullable=False),
        sa.Column("expected", sa.Double, nullable=False),
    )
    op.create_index("samplings_by_key", "samplings", ["experiment", "target", "config_digest"])
    op.add_column("folds", sa.Column("late_texts", _BIG, nullable=False, server_default="0"))
    op.drop_column("pairs", "divergence_at")
    op.drop_column("pairs", "divergence_share")
    op.add_column("pairs", sa.Column("session", sa.SmallInteger))

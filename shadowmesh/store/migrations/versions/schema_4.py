"""How many different prompts there were: a bucket of each."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "4"
down_revision = "3"


def upgrade() -> None:
    """Add the column; of the rows that are there nobody knows the prompt."""
    op.add_column("pairs", sa.Column("prompt_bucket", sa.SmallInteger))

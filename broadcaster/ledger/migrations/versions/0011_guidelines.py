"""the Chief's guidelines, and what was released on one's word

Revision ID: 0011
Revises: 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broadcaster.ledger.schema import Instant

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "guidelines",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("granted_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_guidelines")),
    )
    op.create_table(
        "guideline_ends",
        sa.Column("guideline_id", sa.Text(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["guideline_id"], ["guidelines.id"],
            name=op.f("fk_guideline_ends_guideline_id_guidelines"),
        ),
        sa.ForeignKeyConstraint(["by"], ["people.id"], name=op.f("fk_guideline_ends_by_people")),
        sa.PrimaryKeyConstraint("guideline_id", name=op.f("pk_guideline_ends")),
    )  # fmt: skip
    _refers("decisions", "guideline_id", "guidelines")
    _refers("posting_requests", "notice_id", "incidents")


def _refers(table: str, column: str, to: str) -> None:
    """A new column that names a row of another table; in one statement, as SQLite wants it."""
    name = f"fk_{table}_{column}_{to}"
    op.execute(
        f"ALTER TABLE {table} ADD COLUMN {column} TEXT CONSTRAINT {name} REFERENCES {to} (id)"
    )

"""authority, training, exemptions and requests to post

Revision ID: 0004
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broadcaster.ledger.schema import Instant

revision = "0004"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _of_a_person(
        "authorities",
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("until", Instant(), nullable=True),
        sa.Column("granted_by", sa.Text(), nullable=False),
        sa.Column("granted_at", Instant(), nullable=False),
        sa.Column("revoked_at", Instant(), nullable=True),
        sa.Column("revoked_by", sa.Text(), nullable=True),
    )
    _of_a_person(
        "trainings",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("given_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
    )
    _of_a_person(
        "exemptions",
        sa.Column("matter", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("until", Instant(), nullable=False),
        sa.Column("granted_by", sa.Text(), nullable=False),
        sa.Column("granted_at", Instant(), nullable=False),
    )
    _of_a_person(
        "posting_requests",
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("asked_at", Instant(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("settled_by", sa.Text(), nullable=True),
        sa.Column("settled_at", Instant(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
    )


def _of_a_person(table: str, *columns: sa.Column[object]) -> None:
    op.create_table(
        table,
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Text(), nullable=False),
        *columns,
        sa.ForeignKeyConstraint(
            ["person_id"], ["people.id"], name=op.f(f"fk_{table}_person_id_people")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
    )
    op.create_index(op.f(f"ix_{table}_person_id"), table, ["person_id"], unique=False)

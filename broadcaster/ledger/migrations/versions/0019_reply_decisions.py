"""the Chief's decisions that a channel may be used although the public can answer there (389.5.1)

Revision ID: 0019
Revises: 0018
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broadcaster.ledger.schema import Instant

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "reply_decisions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("until", Instant(), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=False),
        sa.Column("decided_at", Instant(), nullable=False),
        sa.Column("ended_at", Instant()),
        sa.Column("ended_by", sa.Text()),
        sa.ForeignKeyConstraint(
            ["decided_by"], ["people.id"], name=op.f("fk_reply_decisions_decided_by_people")
        ),
        sa.ForeignKeyConstraint(
            ["ended_by"], ["people.id"], name=op.f("fk_reply_decisions_ended_by_people")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reply_decisions")),
    )
    op.create_index(op.f("ix_reply_decisions_channel"), "reply_decisions", ["channel"])

"""how channels fare, what was looked for, and what people chose of posts

Revision ID: 0017
Revises: 0016
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broadcaster.ledger.schema import Instant, Serial

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in ("looked_at", "not_there_at", "chosen_at"):
        op.add_column("posts", sa.Column(column, Instant(), nullable=True))
    op.add_column("posts", sa.Column("looks", sa.Integer(), nullable=False, server_default="0"))
    op.create_table(
        "channels",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("again_at", Instant()),
        sa.Column("why", sa.Text()),
        sa.Column("paused_by", sa.Text()),
        sa.Column("paused_at", Instant()),
        sa.Column("paused_why", sa.Text()),
        sa.Column("proved_at", Instant()),
        sa.Column("sends_again_by", sa.Text()),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_channels")),
    )
    op.create_table(
        "clock_steps",
        sa.Column("id", Serial, autoincrement=True, nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("confirmed_by", sa.Text()),
        sa.Column("confirmed_at", Instant()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clock_steps")),
    )
    op.create_table(
        "choices",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("post_id", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("choice", sa.Text(), nullable=False),
        sa.Column("url", sa.Text()),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("trace", sa.Text()),
        sa.Column("done_at", Instant()),
        sa.ForeignKeyConstraint(["post_id"], ["posts.id"], name=op.f("fk_choices_post_id_posts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_choices")),
    )
    op.create_index(op.f("ix_choices_post_id"), "choices", ["post_id"])

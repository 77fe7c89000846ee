"""what is owed to posts that are there: read back, and taken down; what an attempt edited

Revision ID: 0018
Revises: 0017
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broadcaster.ledger.schema import Instant

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("attempts", sa.Column("edits", sa.Text(), nullable=True))
    op.create_table(
        "errands",
        sa.Column("post_id", sa.Text(), nullable=False),
        sa.Column("errand", sa.Text(), nullable=False),
        sa.Column("since", Instant(), nullable=False),
        sa.Column("due_at", Instant()),
        sa.Column("reads", sa.Integer(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("found", sa.Text()),
        sa.Column("why", sa.Text()),
        sa.Column("done_at", Instant()),
        sa.ForeignKeyConstraint(["post_id"], ["posts.id"], name=op.f("fk_errands_post_id_posts")),
        sa.PrimaryKeyConstraint("post_id", "errand", name=op.f("pk_errands")),
    )
    op.create_index(
        "ix_errands_due", "errands", ["due_at"],
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )  # fmt: skip
    op.create_table(
        "alarms_seen",
        sa.Column("post_id", sa.Text(), nullable=False),
        sa.Column("found", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(
            ["post_id"], ["posts.id"], name=op.f("fk_alarms_seen_post_id_posts")
        ),
        sa.ForeignKeyConstraint(["by"], ["people.id"], name=op.f("fk_alarms_seen_by_people")),
        sa.PrimaryKeyConstraint("post_id", "found", name=op.f("pk_alarms_seen")),
    )

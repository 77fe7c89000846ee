"""approvals that were taken back, and ends of locks, each for good

Revision ID: 0024
Revises: 0023
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broadcaster.ledger.schema import Instant

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "assent_ends",
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("nonce", sa.Text(), nullable=False),
        sa.Column("assent_id", sa.Text(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["request_id"],
            ["approval_requests.id"],
            name=op.f("fk_assent_ends_request_id_approval_requests"),
        ),
        sa.ForeignKeyConstraint(
            ["assent_id"], ["assents.id"], name=op.f("fk_assent_ends_assent_id_assents")
        ),
        sa.ForeignKeyConstraint(["by"], ["people.id"], name=op.f("fk_assent_ends_by_people")),
        sa.PrimaryKeyConstraint("request_id", "nonce", name=op.f("pk_assent_ends")),
    )
    op.add_column("locks", sa.Column("proof", sa.Text()))
    # An end that nobody's kept answer proves would end nothing any more. What was over stays over;
    # the record has both its facts.
    op.execute("DELETE FROM locks WHERE ended_at IS NOT NULL")

"""channels that are added by command, with their accounts, sealed; calls about a channel

Revision ID: 0022
Revises: 0021
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broadcaster.ledger.schema import Instant

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("shape", sa.Text(), nullable=False),
        sa.Column("serial", sa.Integer(), nullable=False),
        sa.Column("expires_on", sa.Text(), nullable=True),
        sa.Column("warned", sa.Integer(), nullable=True),
        sa.Column("added_by", sa.Text(), nullable=False),
        sa.Column("added_at", Instant(), nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.Column("changed_at", Instant(), nullable=False),
        sa.Column("removed_at", Instant(), nullable=True),
        sa.ForeignKeyConstraint(
            ["added_by"], ["people.id"], name=op.f("fk_accounts_added_by_people")
        ),
        sa.ForeignKeyConstraint(
            ["changed_by"], ["people.id"], name=op.f("fk_accounts_changed_by_people")
        ),
        sa.PrimaryKeyConstraint("channel", name=op.f("pk_accounts")),
    )
    op.create_table(
        "account_secrets",
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["channel"], ["accounts.channel"], name=op.f("fk_account_secrets_channel_accounts")
        ),
        sa.PrimaryKeyConstraint("channel", name=op.f("pk_account_secrets")),
    )
    with op.batch_alter_table("calls") as calls:
        calls.add_column(sa.Column("problem_id", sa.Integer(), nullable=True))
        calls.create_foreign_key(
            op.f("fk_calls_problem_id_problems"), "problems", ["problem_id"], ["id"]
        )
    op.create_index(op.f("ix_calls_problem_id"), "calls", ["problem_id"])

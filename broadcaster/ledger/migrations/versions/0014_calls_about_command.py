"""calls about command, the duty chief, and what the department's app is told

Revision ID: 0014
Revises: 0013
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broadcaster.ledger.schema import Instant, Serial

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "command_moves",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("incident_id", sa.Text(), nullable=False),
        sa.Column("about", sa.Text(), nullable=False),
        sa.Column("concerned", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(
            ["incident_id"], ["incidents.id"], name=op.f("fk_command_moves_incident_id_incidents")
        ),
        sa.ForeignKeyConstraint(["by"], ["people.id"], name=op.f("fk_command_moves_by_people")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_command_moves")),
    )
    op.create_index(op.f("ix_command_moves_incident_id"), "command_moves", ["incident_id"])
    op.create_index(op.f("ix_command_moves_at"), "command_moves", ["at"])
    with op.batch_alter_table("calls") as calls:
        calls.alter_column("request_id", existing_type=sa.Text(), nullable=True)
        calls.add_column(sa.Column("move_id", sa.Text(), nullable=True))
        calls.create_foreign_key(
            op.f("fk_calls_move_id_command_moves"), "command_moves", ["move_id"], ["id"]
        )
    op.create_index(op.f("ix_calls_move_id"), "calls", ["move_id"])
    op.create_table(
        "request_changes",
        sa.Column("id", Serial, nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("told_at", Instant(), nullable=True),
        sa.Column("next_look", Instant(), nullable=True),
        sa.ForeignKeyConstraint(
            ["request_id"],
            ["approval_requests.id"],
            name=op.f("fk_request_changes_request_id_approval_requests"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_request_changes")),
    )
    op.create_index(op.f("ix_request_changes_request_id"), "request_changes", ["request_id"])
    op.create_index(
        "ix_request_changes_due",
        "request_changes",
        ["request_id", "id"],
        sqlite_where=sa.text("next_look IS NOT NULL"),
        postgresql_where=sa.text("next_look IS NOT NULL"),
    )
    op.add_column(
        "delegations", sa.Column("office", sa.Text(), nullable=False, server_default="deputy")
    )

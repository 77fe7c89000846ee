"""what is told of a request: refused by the gate, or lapsed

Revision ID: 0028
Revises: 0023
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("command_moves") as moves:
        moves.alter_column("by", existing_type=sa.Text(), nullable=True)
        moves.add_column(sa.Column("request_id", sa.Text(), nullable=True))
        moves.create_foreign_key(
            op.f("fk_command_moves_request_id_approval_requests"),
            "approval_requests",
            ["request_id"],
            ["id"],
        )
    op.create_index(op.f("ix_command_moves_request_id"), "command_moves", ["request_id"])

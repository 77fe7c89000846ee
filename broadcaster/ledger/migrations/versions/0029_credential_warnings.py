"""of which credential's end somebody was told, whoever keeps it: the ledger or the settings

Revision ID: 0029
Revises: 0023
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "credential_warnings",
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("ends", sa.Text(), nullable=False),
        sa.Column("days", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("channel", name=op.f("pk_credential_warnings")),
    )
    op.execute(
        "INSERT INTO credential_warnings (channel, ends, days) SELECT channel, expires_on, warned "
        "FROM accounts WHERE warned IS NOT NULL AND expires_on IS NOT NULL"
    )
    op.drop_column("accounts", "warned")

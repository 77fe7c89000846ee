"""words that a Commander keeps though a fact in them changed

Revision ID: 0008
Revises: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("decisions", sa.Column("keeps", sa.Text(), nullable=True))
    op.add_column("releases", sa.Column("keeps", sa.Text(), nullable=True))

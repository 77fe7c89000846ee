"""since when what waits on a channel need wait no longer, because a person let it go on

Revision ID: 0030
Revises: 0029
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broadcaster.ledger.schema import Instant

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("channels", sa.Column("tried_now_at", Instant()))

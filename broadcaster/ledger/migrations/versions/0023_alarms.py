"""each alarm of an errand is seen by itself: a later one alarms again

Revision ID: 0023
Revises: 0022
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broadcaster.ledger.schema import Instant

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

#: What was found by which errand.
_ERRANDS = {"changed": "read back", "gone": "read back", "stays": "retract"}


def upgrade() -> None:
    op.add_column("errands", sa.Column("alarm", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("errands", sa.Column("read_digest", sa.Text()))
    connection = op.get_bind()
    alarming = ", ".join(f"'{found}'" for found in _ERRANDS)
    connection.execute(sa.text(f"UPDATE errands SET alarm = 1 WHERE found IN ({alarming})"))
    # Only what was seen of what stands now is known to be its one alarm.
    seen = connection.execute(sa.text(
        "SELECT s.post_id, s.found, s.by, s.at FROM alarms_seen s "
        "JOIN errands e ON e.post_id = s.post_id AND e.found = s.found"
    ).columns(at=Instant())).all()  # fmt: skip
    op.drop_table("alarms_seen")
    table = op.create_table(
        "alarms_seen",
        sa.Column("post_id", sa.Text(), nullable=False),
        sa.Column("errand", sa.Text(), nullable=False),
        sa.Column("alarm", sa.Integer(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(
            ["post_id"], ["posts.id"], name=op.f("fk_alarms_seen_post_id_posts")
        ),
        sa.ForeignKeyConstraint(["by"], ["people.id"], name=op.f("fk_alarms_seen_by_people")),
        sa.PrimaryKeyConstraint("post_id", "errand", "alarm", name=op.f("pk_alarms_seen")),
    )
    if seen:
        op.bulk_insert(table, [
            {"post_id": row.post_id, "errand": _ERRANDS[row.found], "alarm": 1, "by": row.by,
             "at": row.at}
            for row in seen
        ])  # fmt: skip

"""devices whose approval is signed, or goes back to a link of the roster; people who are locked

Revision ID: 0009
Revises: 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broadcaster.ledger.schema import Instant

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("enrolments", sa.Column("passkey_id", sa.Text(), nullable=True))
    op.add_column("enrolments", sa.Column("token", sa.Text(), nullable=True))
    op.create_index(op.f("ix_enrolments_passkey_id"), "enrolments", ["passkey_id"])
    op.add_column("passkeys", sa.Column("approved_until", Instant(), nullable=True))
    op.add_column("passkeys", sa.Column("approval", sa.Text(), nullable=True))
    # Nothing proves who approved those of before: each is approved again, or made with a new link.
    op.execute(
        "UPDATE passkeys SET approved_at = NULL, approved_by = NULL WHERE private_key IS NULL"
    )
    op.add_column("sessions", sa.Column("browser", sa.Text(), nullable=False, server_default=""))
    op.create_table(
        "failed_proofs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.Text(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id"], ["people.id"], name=op.f("fk_failed_proofs_person_id_people")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_failed_proofs")),
    )
    op.create_index(op.f("ix_failed_proofs_person_id"), "failed_proofs", ["person_id"])
    op.create_table(
        "locks",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.Text(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.Column("ended_by", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["person_id"], ["people.id"], name=op.f("fk_locks_person_id_people")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_locks")),
    )
    op.create_index(op.f("ix_locks_person_id"), "locks", ["person_id"])

"""both Commanders of a unified command must approve: the first one's approval

Revision ID: 0013
Revises: 0012
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broadcaster.ledger.schema import Instant

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "assents",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Text(), nullable=False),
        sa.Column("nonce", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("keeps", sa.Text()),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("proof", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("request_digest", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["request_id"], ["approval_requests.id"],
            name=op.f("fk_assents_request_id_approval_requests"),
        ),
        sa.ForeignKeyConstraint(
            ["person_id"], ["people.id"], name=op.f("fk_assents_person_id_people")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assents")),
        sa.UniqueConstraint(
            "request_id", "person_id", "idempotency_key",
            name=op.f("uq_assents_request_id_person_id_idempotency_key"),
        ),
    )  # fmt: skip
    # In one statement, as SQLite wants it.
    op.execute(
        "ALTER TABLE decisions ADD COLUMN assent_id TEXT "
        "CONSTRAINT fk_decisions_assent_id_assents REFERENCES assents (id)"
    )

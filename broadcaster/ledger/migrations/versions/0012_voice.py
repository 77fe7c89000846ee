"""approval by voice: the Commanders' codes, and what was heard

Revision ID: 0012
Revises: 0011
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broadcaster.ledger.schema import Instant

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "voice_codes",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Text(), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("issued_at", Instant(), nullable=False),
        sa.Column("wrong", sa.Integer(), nullable=False),
        sa.Column("void_at", Instant()),
        sa.Column("used_by", sa.Text()),
        sa.ForeignKeyConstraint(
            ["person_id"], ["people.id"], name=op.f("fk_voice_codes_person_id_people")
        ),
        sa.ForeignKeyConstraint(
            ["used_by"], ["decisions.id"], name=op.f("fk_voice_codes_used_by_decisions")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_voice_codes")),
    )
    op.create_index(op.f("ix_voice_codes_person_id"), "voice_codes", ["person_id"])
    op.create_table(
        "voice_approvals",
        sa.Column("decision_id", sa.Text(), nullable=False),
        sa.Column("code_id", sa.Text(), nullable=False),
        sa.Column("heard", sa.Text(), nullable=False),
        sa.Column("settled", sa.Text()),
        sa.Column("settled_at", Instant()),
        sa.ForeignKeyConstraint(
            ["decision_id"], ["decisions.id"], name=op.f("fk_voice_approvals_decision_id_decisions")
        ),
        sa.ForeignKeyConstraint(
            ["code_id"], ["voice_codes.id"], name=op.f("fk_voice_approvals_code_id_voice_codes")
        ),
        sa.PrimaryKeyConstraint("decision_id", name=op.f("pk_voice_approvals")),
        sa.UniqueConstraint("code_id", name=op.f("uq_voice_approvals_code_id")),
    )

"""PIN and code where the roster allows them instead of a passkey

Revision ID: 0016
Revises: 0015
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broadcaster.ledger.schema import Instant

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "fallbacks",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Text(), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("until", Instant(), nullable=False),
        sa.Column("granted_by", sa.Text(), nullable=False),
        sa.Column("granted_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id"], ["people.id"], name=op.f("fk_fallbacks_person_id_people")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fallbacks")),
    )
    op.create_index(op.f("ix_fallbacks_person_id"), "fallbacks", ["person_id"])
    op.create_table(
        "fallback_pins",
        sa.Column("fallback_id", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        _of_fallback("fallback_pins"),
        sa.PrimaryKeyConstraint("fallback_id", name=op.f("pk_fallback_pins")),
    )
    op.create_table(
        "fallback_ends",
        sa.Column("fallback_id", sa.Text(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        _of_fallback("fallback_ends"),
        sa.PrimaryKeyConstraint("fallback_id", name=op.f("pk_fallback_ends")),
    )
    op.create_table(
        "fallback_answers",
        sa.Column("seal", sa.Text(), nullable=False),
        sa.Column("fallback_id", sa.Text(), nullable=False),
        sa.Column("challenge", sa.Text(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("step", sa.BigInteger()),
        sa.Column("refused", sa.Text()),
        _of_fallback("fallback_answers"),
        sa.PrimaryKeyConstraint("seal", name=op.f("pk_fallback_answers")),
        sa.UniqueConstraint(
            "fallback_id", "step", name=op.f("uq_fallback_answers_fallback_id_step")
        ),
    )
    op.execute(
        "ALTER TABLE decisions ADD COLUMN seal TEXT "
        "CONSTRAINT fk_decisions_seal_fallback_answers REFERENCES fallback_answers (seal)"
    )
    op.add_column(
        "sessions", sa.Column("by_code", sa.Boolean(), nullable=False, server_default=sa.false())
    )


def _of_fallback(table: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_fallback_id_fallbacks")
    return sa.ForeignKeyConstraint(["fallback_id"], ["fallbacks.id"], name=name)

"""Commanders from outside, each enrolled for one incident

Revision ID: 0015
Revises: 0014
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from broadcaster.ledger.schema import Instant

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "guests",
        sa.Column("person_id", sa.Text(), nullable=False),
        sa.Column("incident_id", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("until", Instant(), nullable=False),
        sa.Column("approval", sa.Text(), nullable=False),
        sa.Column("used_at", Instant()),
        sa.Column("token", sa.Text()),
        sa.Column("passkey_id", sa.Text()),
        sa.ForeignKeyConstraint(
            ["person_id"], ["people.id"], name=op.f("fk_guests_person_id_people")
        ),
        sa.ForeignKeyConstraint(
            ["incident_id"], ["incidents.id"], name=op.f("fk_guests_incident_id_incidents")
        ),
        sa.PrimaryKeyConstraint("person_id", name=op.f("pk_guests")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_guests_token_hash")),
    )
    op.create_index(op.f("ix_guests_incident_id"), "guests", ["incident_id"])
    op.create_table(
        "guest_ends",
        sa.Column("person_id", sa.Text(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id"], ["guests.person_id"], name=op.f("fk_guest_ends_person_id_guests")
        ),
        sa.ForeignKeyConstraint(["by"], ["people.id"], name=op.f("fk_guest_ends_by_people")),
        sa.PrimaryKeyConstraint("person_id", name=op.f("pk_guest_ends")),
    )

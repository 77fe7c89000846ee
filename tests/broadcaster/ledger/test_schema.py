"""The migrations make the tables that the code speaks of, and no others."""

from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from broadcaster.ledger import Ledger, schema


async def test_migrated_tables_are_those_of_the_schema(ledger: Ledger) -> None:
    differences = await ledger.read(
        lambda tx: compare_metadata(MigrationContext.configure(tx.connection), schema.metadata)
    )
    assert differences == []

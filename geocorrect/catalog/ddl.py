"""The model as SQL text: the first migration is frozen from it, and tests compare migrated databases with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable, SetColumnComment, SetTableComment

from geocorrect.catalog.rows.geometry_type import Geometry, Outlines
from geocorrect.catalog.schema import TABLES


def table_statements(dialect_name: str) -> list[str]:
    """CREATE TABLE and CREATE INDEX statements of the present model for "postgresql" or "sqlite"."""
    statements: list[str] = []
    for table in TABLES:
        indices = sorted(table.indexes, key=lambda index: str(index.name))
        statements += _sql([CreateTable(table), *map(CreateIndex, indices)], dialect_name)
        if dialect_name == "postgresql":
            statements += _spatial_indices(table)
    return statements


def comment_statements() -> list[str]:
    """COMMENT statements of the present model; only PostgreSQL keeps comments of tables and columns."""
    comments: list[Any] = []
    for table in TABLES:
        comments += [SetTableComment(table), *[SetColumnComment(c) for c in table.columns if c.comment]]
    return _sql(comments, "postgresql")


def _sql(elements: Sequence[Any], dialect_name: str) -> list[str]:
    dialect: Any = postgresql.dialect(paramstyle="named") if dialect_name == "postgresql" else sqlite.dialect()  # type: ignore[no-untyped-call]
    return [str(element.compile(dialect=dialect)).strip() for element in elements]


def _spatial_indices(table: Table) -> list[str]:
    # Geography: right distances anywhere. Geometry: what map windows query.
    statements = [
        statement
        for column in table.columns
        if isinstance(column.type, Geometry)
        for statement in (
            f"CREATE INDEX ix_{table.name}_{column.name} ON {table.name} USING gist ({column.name})",
            f"CREATE INDEX ix_{table.name}_{column.name}_geography ON {table.name} USING gist "
            f"(({column.name}::geography))",
        )
    ]
    # The shapes of a result overlap: one tree finds each of them, for half the work of three.
    outlines = [column.name for column in table.columns if isinstance(column.type, Outlines)]
    if outlines:
        statements.append(f"CREATE INDEX ix_{table.name}_outlines ON {table.name} USING gist ({', '.join(outlines)})")
        # A tenth of the usual sample: the places of shapes in 30000 rows cost the server more than storing them.
        statements += [f"ALTER TABLE {table.name} ALTER COLUMN {c.name} SET STATISTICS 10" for c in table.columns]
    return statements

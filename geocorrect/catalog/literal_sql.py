"""Running SQL text as it stands."""

from __future__ import annotations

from sqlalchemy import Connection


def run_sql(connection: Connection, statement: str) -> None:
    """Execute literal SQL on the connection's transaction: no parameter, so that % and : mean themselves."""
    cursor = connection.connection.cursor()
    try:
        cursor.execute(statement)
    finally:
        cursor.close()

"""Past SQLAlchemy's compiler, but not past its errors: literal SQL and the driver's own bulk calls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError


@contextmanager
def driver_cursor(connection: Connection) -> Iterator[Any]:
    """A cursor of the driver on the connection's transaction; its errors become SQLAlchemy's."""
    dialect: Any = connection.dialect
    driver_error: type[Exception] = dialect.loaded_dbapi.Error
    cursor = connection.connection.cursor()
    try:
        yield cursor
    except driver_error as error:
        lost = dialect.is_disconnect(error, connection.connection.driver_connection, cursor)
        if lost:
            connection.invalidate(error)
        raise DBAPIError.instance(
            None, None, error, driver_error, connection_invalidated=lost, dialect=dialect
        ) from error
    finally:
        cursor.close()


def run_sql(connection: Connection, statement: str) -> None:
    """Execute literal SQL on the connection's transaction: no parameter, so that % and : mean themselves."""
    with driver_cursor(connection) as cursor:
        cursor.execute(statement)

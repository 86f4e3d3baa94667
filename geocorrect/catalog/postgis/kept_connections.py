"""Connections that are kept for answers of one row by one statement, such as map tiles.

Through the engine such an answer takes this process 2.4 ms, as much as the server: a ping, which is a round trip of its
own, a transaction, and results of any kind. The driver alone, with bytes as bytes, takes a fifth of that.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from queue import Empty, LifoQueue
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import SQLAlchemyError

from geocorrect.catalog.connect import POOLED

MOST = 8
"""At a time; who comes later waits. A browser asks for six tiles at a time."""


class KeptConnections:
    """Connections of an engine of PostgreSQL; closed when it is disposed of."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._error: type[Exception] = engine.dialect.loaded_dbapi.Error
        self._places: LifoQueue[Any] = LifoQueue()
        for _ in range(MOST):
            self._places.put(None)
        event.listen(engine, "engine_disposed", lambda _: self._close())

    def row(self, sql: str, parameters: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """The first row of a statement that only reads, with the driver's parameters.

        None where the engine must be asked instead: a pooler is between us and the server, so that a statement cannot
        stay prepared nor a session keep its settings; or the connection is lost, which the engine waits for and says.
        """
        connection = self._places.get()
        try:
            connection = connection or self._connect()
            if connection is None:
                return None
            row: tuple[Any, ...] = connection.execute(sql, parameters, prepare=True, binary=True).fetchone()
            return row
        except (self._error, SQLAlchemyError):
            if connection is not None:
                connection.close()
                connection = None
            return None
        finally:
            self._places.put(connection)

    def _connect(self) -> Any:
        """A connection that the engine has set up, taken out of its pool; None behind a pooler."""
        pooled = self._engine.raw_connection()
        if POOLED in pooled.info:
            pooled.close()
            return None
        connection: Any = pooled.driver_connection
        pooled.detach()
        connection.autocommit = True
        return connection

    def _close(self) -> None:
        idle: list[Any] = []
        with suppress(Empty):
            while True:
                idle.append(self._places.get_nowait())
        for connection in idle:
            self._places.put(None)
            if connection is not None:
                connection.close()

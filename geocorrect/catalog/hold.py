"""One writer per scene: an advisory lock of the server, or a locked file beside a GeoPackage.

Both are released by the operating system or the server when the holder dies, however it dies: a lock is never stale.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Connection, Engine, text

from geocorrect.catalog.connect import describe, translated_errors
from geocorrect.errors import OutputError, SceneBusyError

ADVISORY_KEY = 0x67656F636F727231
"""The bytes of "geocorr1": the key of the advisory lock, one per database (a database is a scene)."""


@contextmanager
def hold_scene(engine: Engine) -> Iterator[None]:
    """Hold the scene for the length of the block; SceneBusyError names who holds it, and since when."""
    if engine.dialect.name == "postgresql":
        with _advisory_lock(engine):
            yield
    else:
        with _locked_file(engine):
            yield


@contextmanager
def _advisory_lock(engine: Engine) -> Iterator[None]:
    """A session-level advisory lock on a connection of its own; the server drops it with the connection."""
    with translated_errors(engine):
        connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    try:
        with translated_errors(engine):
            connection.execute(text("select set_config('application_name', :who, false)"), {"who": _short_name()})
            taken = connection.execute(text("select pg_try_advisory_lock(:key)"), {"key": ADVISORY_KEY}).scalar_one()
        if not taken:
            raise SceneBusyError(f"{describe(engine)} is held by {_server_holder(connection)}; try again later")
        yield
    finally:
        # Not back into the pool: a pooled connection would keep the lock.
        connection.invalidate()
        connection.close()


def _server_holder(connection: Connection) -> str:
    query = text(
        "select a.application_name, a.backend_start from pg_locks l join pg_stat_activity a using (pid) "
        "where l.locktype = 'advisory' and l.granted and a.datname = current_database() "
        "and ((l.classid::bigint << 32) | l.objid::bigint) = :key"
    )
    row = connection.execute(query, {"key": ADVISORY_KEY}).first()
    if row is None:
        return "a run that has just ended"
    return f"{row[0]} since {row[1].astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


@contextmanager
def _locked_file(engine: Engine) -> Iterator[None]:
    path = Path(f"{engine.url.database}.lock")
    try:
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path}: the lock file cannot be written ({error.strerror})") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SceneBusyError(f"{describe(engine)} is held by {_file_holder(file)}; try again later") from None
        file.seek(0)
        file.truncate()
        json.dump(_who(), file)
        file.flush()
        yield


def _file_holder(file: IO[str]) -> str:
    file.seek(0)
    try:
        who = json.loads(file.read())
        return f"process {who['process']} on {who['host']} since {who['since']}"
    except (ValueError, KeyError):
        return "a run that is just starting"


def _who() -> dict[str, Any]:
    return {
        "process": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
    }


def _short_name() -> str:
    """What a database administrator sees; the server cuts names at 63 bytes."""
    return f"geocorrect run {os.getpid()}@{socket.gethostname()}"[:63]

"""One writer per scene: an advisory lock of the server, or a locked file beside a GeoPackage.

Both are released by the operating system or the server when the holder dies, however it dies. A file's lock is free at
once; a server's, too, unless the holder's machine or network vanished without a word: then within a minute, because the
server asks after a silent holder (`ASK_AFTER`).
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, ResourceClosedError

from geocorrect.catalog.connect import connected, describe, translated_errors
from geocorrect.errors import OutputError, SceneBusyError

ADVISORY_KEY = 0x67656F636F727231
"""The bytes of "geocorr1": the key of the advisory lock, one per database (a database is a scene)."""


ASK_AFTER = {"tcp_keepalives_idle": 30, "tcp_keepalives_interval": 10, "tcp_keepalives_count": 3}
"""Seconds of silence after which the server asks whether the holder's machine is there, how often, how many times."""
GLANCE_S = 0.05
GLANCES = 6
"""Somebody who looks at a lock file (`holder_of`) has it for a moment, and a server needs a moment to notice that a
holder was killed; a run looks again before it gives up."""
SINCE = "%Y-%m-%d %H:%M:%S UTC"


@dataclass(frozen=True)
class Holder:
    """Who holds a scene: process and machine as the holder gave them, and since when (None: it did not say)."""

    who: str
    since: datetime | None

    def __str__(self) -> str:
        return self.who if self.since is None else f"{self.who} since {self.since.astimezone(UTC):{SINCE}}"


UNKNOWN = Holder("a run that has just started or ended", None)


class SceneLock:
    """A scene that is held. A lock on a file cannot be lost while its holder lives."""

    def keep(self) -> None:
        """Take the scene again when a restarted server has let it go; SceneBusyError when somebody else has it now."""


@contextmanager
def lock_scene(engine: Engine) -> Iterator[SceneLock]:
    """Hold the scene for the length of the block; SceneBusyError names who holds it, and since when."""
    if engine.dialect.name == "postgresql":
        hold = _ServerHold(engine)
        try:
            yield hold
        finally:
            hold.release()
    else:
        with _locked_file(engine):
            yield SceneLock()


class _ServerHold(SceneLock):
    """A session-level advisory lock on a connection of its own; the server drops it with the connection."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._session_id = 0
        with translated_errors(engine):
            # Not `connected`: nobody has told yet that the address is right, so nothing is waited for.
            connection = engine.connect()
        self._connection = self._taken(connection)

    def keep(self) -> None:
        """See `SceneLock.keep`."""
        try:
            self._connection.execute(text("select 1"))
        except (DBAPIError, ResourceClosedError):
            self.release()
            self._connection = self._taken(connected(self._engine))

    def release(self) -> None:
        """Let the scene go."""
        _end(self._connection)

    def _taken(self, connection: Connection) -> Connection:
        engine = self._engine
        try:
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
            with translated_errors(engine):
                self._introduce(connection)
                if not _try_lock(connection):
                    holder = _server_holder(connection) or UNKNOWN
                    raise SceneBusyError(f"{describe(engine)} is held by {holder}; try again later")
                self._session_id = connection.execute(text("select pg_backend_pid()")).scalar_one()
                return connection
        except BaseException:
            _end(connection)
            raise

    def _introduce(self, connection: Connection) -> None:
        """Say who we are, and end our own session of before if the server still takes it for alive."""
        for name, value in {**ASK_AFTER, "application_name": _short_name()}.items():
            connection.execute(text("select set_config(:name, :value, false)"), {"name": name, "value": str(value)})
        # After a broken network the server may hold on to the session that we have lost, and with it to the scene.
        end = text(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where pid = :lost and application_name = :who and usename = current_user"
        )
        connection.execute(end, {"lost": self._session_id, "who": _short_name()})


def _try_lock(connection: Connection) -> bool:
    lock = text("select pg_try_advisory_lock(:key)")
    for glance in range(GLANCES):
        if glance:
            time.sleep(GLANCE_S)
        if connection.execute(lock, {"key": ADVISORY_KEY}).scalar_one():
            return True
    return False


def _end(connection: Connection) -> None:
    """Close a session; not back into the pool, where it would keep the lock."""
    if not connection.closed:
        connection.invalidate()
        connection.close()


def holder_of(engine: Engine) -> Holder | None:
    """Who holds the scene now, None when nobody does."""
    if engine.dialect.name == "postgresql":
        with translated_errors(engine), engine.connect() as connection:
            return _server_holder(connection)
    try:
        file = _lock_path(engine).open("r+", encoding="utf-8")
    except OSError:
        return None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _file_holder(file)
    return None


def _server_holder(connection: Connection) -> Holder | None:
    query = text(
        "select a.application_name, a.usename, a.backend_start from pg_locks l join pg_stat_activity a using (pid) "
        "where l.locktype = 'advisory' and l.granted and a.datname = current_database() "
        "and ((l.classid::bigint << 32) | l.objid::bigint) = :key"
    )
    row = connection.execute(query, {"key": ADVISORY_KEY}).first()
    # The server tells the start of another user's session only to members of pg_read_all_stats.
    return None if row is None else Holder(row[0] or f"database user {row[1]}", row[2])


def _lock_path(engine: Engine) -> Path:
    # Resolved, so that a catalog that is reached through a symbolic link has one lock and not two.
    return Path(f"{Path(str(engine.url.database)).resolve()}.lock")


@contextmanager
def _locked_file(engine: Engine) -> Iterator[None]:
    path = _lock_path(engine)
    try:
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path}: the lock file cannot be written ({error.strerror})") from None
    with file:
        if not _lock(file):
            raise SceneBusyError(f"{describe(engine)} is held by {_file_holder(file)}; try again later")
        file.seek(0)
        file.truncate()
        json.dump(_who(), file)
        file.flush()
        yield


def _lock(file: IO[str]) -> bool:
    for _ in range(GLANCES):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(GLANCE_S)
        else:
            return True
    return False


def _file_holder(file: IO[str]) -> Holder:
    file.seek(0)
    try:
        who = json.loads(file.read())
        since = datetime.strptime(who["since"], SINCE).replace(tzinfo=UTC)
        return Holder(f"process {who['process']} on {who['host']}", since)
    except (ValueError, KeyError, TypeError):
        return UNKNOWN


def _who() -> dict[str, Any]:
    return {"process": os.getpid(), "host": socket.gethostname(), "since": datetime.now(UTC).strftime(SINCE)}


def _short_name() -> str:
    """What a database administrator sees; the server cuts names at 63 bytes."""
    return f"geocorrect run {os.getpid()}@{socket.gethostname()}"[:63]

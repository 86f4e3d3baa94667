"""One writer per scene: an advisory lock of the server, or a locked file beside a GeoPackage.

Both are released by the operating system or the server when the holder dies, however it dies. A file's lock is free at
once; a server's, too, unless the holder's machine or network vanished silently: then within a minute, because the
server probes a silent holder (`PROBE_SILENT_HOLDER`).
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, ResourceClosedError
from tenacity import Retrying, retry_if_result, stop_after_attempt, wait_fixed

from geocorrect.catalog.connect import connected, describe, is_pooled, translated_errors
from geocorrect.errors import OutputError, SceneBusyError
from geocorrect.io.file_lock import RETRY_INTERVAL_S, FileLockedError, lock_holder, locked_file

ADVISORY_KEY = 0x67656F636F727231
"""The bytes of "geocorr1": the key of the advisory lock, one per database (a database is a scene)."""
PROBE_SILENT_HOLDER = {"tcp_keepalives_idle": 30, "tcp_keepalives_interval": 10, "tcp_keepalives_count": 3}
"""Seconds of silence before the server probes whether the holder's machine is there, between probes, and how many."""
ATTEMPTS = 6
"""`holder_of` locks a file for a moment, and a server needs a moment to notice that a holder was killed; a run tries
again before it gives up."""
SINCE = "%Y-%m-%d %H:%M:%S UTC"


@dataclass(frozen=True)
class Holder:
    """Who has locked a scene."""

    who: str
    """Process and machine as the holder gave them."""
    since: datetime | None
    """None: it did not say."""

    def __str__(self) -> str:
        return self.who if self.since is None else f"{self.who} since {self.since.astimezone(UTC):{SINCE}}"


UNKNOWN = Holder("a run that has just started or ended", None)


class SceneLock:
    """A scene that is locked. The lock on a file cannot be lost while its holder lives."""

    def refresh(self) -> None:
        """Lock the scene again when a restarted server has dropped the lock; SceneBusyError when another run has it."""

    def release(self) -> None:
        """Unlock the scene."""


@contextmanager
def lock_scene(engine: Engine) -> Iterator[SceneLock]:
    """Lock the scene for the length of the block; SceneBusyError names who has locked it, and since when."""
    with ExitStack() as stack:
        if engine.dialect.name == "postgresql":
            lock: SceneLock = _ServerLock(engine)
        else:
            lock = SceneLock()
            own = {"process": os.getpid(), "host": socket.gethostname(), "since": datetime.now(UTC).strftime(SINCE)}
            path = _lock_path(engine)
            try:
                stack.enter_context(locked_file(path, json.dumps(own), ATTEMPTS))
            except FileLockedError as error:
                raise _busy(engine, _file_holder(error.content)) from None
            except OSError as error:
                raise OutputError(f"{path}: the lock file cannot be written ({error.strerror})") from None
        stack.callback(lock.release)
        yield lock


class _ServerLock(SceneLock):
    """An advisory lock on a connection of its own; the server drops it with the connection.

    It belongs to the session or, behind a pooler, to a transaction that stays open: nothing else keeps a session there.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._session_id = 0
        with translated_errors(engine):
            # Not `connected`: the address may still be wrong, so a server that is away is not waited for.
            connection = engine.connect()
        self._connection = self._locked(connection)

    def refresh(self) -> None:
        """See `SceneLock.refresh`."""
        try:
            self._connection.execute(text("select 1"))
        except (DBAPIError, ResourceClosedError):
            self.release()
            self._connection = self._locked(connected(self._engine))

    def release(self) -> None:
        """See `SceneLock.release`."""
        _end(self._connection)

    def _locked(self, connection: Connection) -> Connection:
        try:
            with translated_errors(self._engine):
                pooled = is_pooled(connection)
                if not pooled:
                    connection = connection.execution_options(isolation_level="AUTOCOMMIT")
                self._introduce(connection, pooled)
                if not _try_lock(connection, "pg_try_advisory_xact_lock" if pooled else "pg_try_advisory_lock"):
                    raise _busy(self._engine, _server_holder(connection) or UNKNOWN)
                if not pooled:
                    self._session_id = connection.execute(text("select pg_backend_pid()")).scalar_one()
                return connection
        except BaseException:
            _end(connection)
            raise

    def _introduce(self, connection: Connection, pooled: bool) -> None:
        """Name this session, and end the earlier one of this lock if the server still believes it alive."""
        settings = {**PROBE_SILENT_HOLDER, "idle_in_transaction_session_timeout": 0, "application_name": _short_name()}
        change = text("select set_config(:name, :value, :local)")
        for name, value in settings.items():
            connection.execute(change, {"name": name, "value": str(value), "local": pooled})
        # After a broken network the server may keep the session that we have lost, and with it the lock.
        end = text(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where pid = :lost and application_name = :who and usename = current_user"
        )
        connection.execute(end, {"lost": self._session_id, "who": _short_name()})


def _try_lock(connection: Connection, function: str) -> bool:
    attempts = Retrying(
        retry=retry_if_result(lambda locked: not locked),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_fixed(RETRY_INTERVAL_S),
        retry_error_callback=lambda _: False,
    )
    lock = text(f"select {function}(:key)")
    return bool(attempts(lambda: connection.execute(lock, {"key": ADVISORY_KEY}).scalar_one()))


def _end(connection: Connection) -> None:
    """Close a session; not back into the pool, where it would keep the lock."""
    if not connection.closed:
        connection.invalidate()
        connection.close()


def holder_of(engine: Engine) -> Holder | None:
    """Who has locked the scene now, None when it is free."""
    if engine.dialect.name == "postgresql":
        with translated_errors(engine), engine.connect() as connection:
            return _server_holder(connection)
    content = lock_holder(_lock_path(engine))
    return None if content is None else _file_holder(content)


def _server_holder(connection: Connection) -> Holder | None:
    query = text(
        "select a.application_name, a.usename, a.backend_start from pg_locks l join pg_stat_activity a using (pid) "
        "where l.locktype = 'advisory' and l.granted and a.datname = current_database() "
        "and ((l.classid::bigint << 32) | l.objid::bigint) = :key"
    )
    row = connection.execute(query, {"key": ADVISORY_KEY}).first()
    # The server shows the start of another user's session only to members of pg_read_all_stats.
    return None if row is None else Holder(row[0] or f"database user {row[1]}", row[2])


def _lock_path(engine: Engine) -> Path:
    # Resolved, so that a catalog that is reached through a symbolic link has one lock and not two.
    return Path(f"{Path(str(engine.url.database)).resolve()}.lock")


def _file_holder(content: str) -> Holder:
    try:
        who = json.loads(content)
        since = datetime.strptime(who["since"], SINCE).replace(tzinfo=UTC)
        return Holder(f"process {who['process']} on {who['host']}", since)
    except (ValueError, KeyError, TypeError):
        return UNKNOWN


def _busy(engine: Engine, holder: Holder) -> SceneBusyError:
    return SceneBusyError(f"{describe(engine)} is held by {holder}; try again later")


def _short_name() -> str:
    """What a database administrator sees; the server cuts names at 63 bytes."""
    return f"geocorrect run {os.getpid()}@{socket.gethostname()}"[:63]

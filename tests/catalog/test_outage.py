"""A server that is away: what is waited for, how soon silence is noticed, and whose lock it is afterwards."""

from __future__ import annotations

import socket
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from geocorrect.catalog import Catalog, connect
from geocorrect.catalog.connect import engine_for, with_retries
from geocorrect.catalog.lock import lock_scene
from geocorrect.errors import DatabaseError, SceneBusyError

PASSING = [
    "connection refused",
    "FATAL:  the database system is starting up",
    "FATAL:  the database system is in recovery mode",
    "FATAL:  the database system is not yet accepting connections",
    "server closed the connection unexpectedly",
    "failed to resolve host 'db': [Errno -3] Temporary failure in name resolution",
    "[Errno -2] Name or service not known",
    "connection timeout expired",
    "connection failed: No route to host",
    "connection is bad: SSL SYSCALL error: Connection reset by peer",
    "FATAL:  sorry, too many clients already",
]
LASTING = [
    'FATAL:  password authentication failed for user "geocorrect"',
    "fe_sendauth: no password supplied",
    'FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "geocorrect"',
    'FATAL:  database "rome" does not exist',
    'FATAL:  role "geocorrect" does not exist',
    'FATAL:  database "rome" is not currently accepting connections',
]


class Away:
    """Stands for the driver: refuses with a message some times, then connects to nothing in particular."""

    def __init__(self, message: str, times: int) -> None:
        self.message, self.left, self.tries = message, times, 0

    def __call__(self, *_: Any, **__: Any) -> Any:
        self.tries += 1
        if self.left:
            self.left -= 1
            raise psycopg.OperationalError(self.message)
        raise ArrivedError


class ArrivedError(Exception):
    """The server was reached."""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Nobody sleeps; how long it would have been."""
    slept: list[float] = []
    monkeypatch.setattr(connect.time, "sleep", slept.append)
    return slept


def reach(message: str, times: int, monkeypatch: pytest.MonkeyPatch) -> Away:
    away = Away(message, times)
    engine = engine_for("postgresql://somebody@nowhere/rome", create=False)
    monkeypatch.setattr(engine.dialect, "connect", away)
    with pytest.raises((ArrivedError, DatabaseError)) as caught:
        with_retries(engine, lambda connection: connection.execute(text("select 1")))
    if caught.type is DatabaseError:
        assert message.split(":")[-1].strip() in str(caught.value)
    return away


@pytest.mark.parametrize("message", PASSING)
def test_a_server_that_will_be_back_is_waited_for(
    message: str, quick: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    away = reach(message, 4, monkeypatch)
    assert (away.left, away.tries, len(quick)) == (0, 5, 4)


@pytest.mark.parametrize("message", LASTING)
def test_what_waiting_does_not_fix_is_reported_at_once(
    message: str, quick: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert reach(message, 4, monkeypatch).tries == 1
    assert quick == []


def test_it_is_waited_for_a_minute_from_when_it_was_missed(quick: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction that took a minute before the server went away has its minute, too."""
    now = [0.0]
    monkeypatch.setattr(connect.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(connect.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    engine = engine_for("postgresql://somebody@nowhere/rome", create=False)
    error = OperationalError("select 1", {}, psycopg.OperationalError("terminating connection"))
    error.connection_invalidated = True

    def goes_away_after_a_while() -> None:
        now[0] = max(now[0], 1000.0)
        raise error

    with pytest.raises(OperationalError):
        connect._waiting_for_server(engine)(goes_away_after_a_while)
    assert 55.0 < now[0] - 1000.0 <= 60.0


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        ('could not extend file "base/1/2": No space left on device', "make room on the disk of the database server"),
        ("sorry, too many clients already", "max_connections"),
    ],
)
def test_remedies(message: str, remedy: str) -> None:
    assert remedy in connect._remedy(OperationalError("x", {}, psycopg.OperationalError(message)))


@pytest.fixture
def over_tcp(postgis_url: str, postgis_cluster: Any) -> str:
    if postgis_cluster is None:
        pytest.skip("a given server may be reached in another way")
    return str(postgis_cluster.tcp_url(make_url(postgis_url).database))


@pytest.mark.postgis
def test_silence_is_noticed_on_both_sides(over_tcp: str) -> None:
    """Without this a run waits for hours for a server whose machine vanished, and the server keeps its lock."""
    with Catalog.open(over_tcp, create=True) as catalog, lock_scene(catalog.engine) as lock:
        connection = lock._connection  # type: ignore[attr-defined]
        reported = {name: connection.execute(text(f"show tcp_keepalives_{name}")).scalar()
                    for name in ("idle", "interval", "count")}  # fmt: skip
        assert reported == {"idle": "30", "interval": "10", "count": "3"}
        # dup: the socket object must not close the connection's own descriptor
        with socket.socket(fileno=socket.dup(connection.connection.driver_connection.fileno())) as ours:  # type: ignore[attr-defined]
            assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
            assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000
    with Catalog.open(f"{over_tcp}?keepalives_idle=7") as catalog, catalog.engine.connect() as connection:
        descriptor = connection.connection.driver_connection.fileno()  # type: ignore[union-attr]
        with socket.socket(fileno=socket.dup(descriptor)) as ours:  # type: ignore[attr-defined]
            assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 7, "the address counts more"


@pytest.mark.postgis
def test_a_session_that_only_the_server_takes_for_alive_does_not_keep_us_out(postgis_url: str) -> None:
    """After a broken network our own old session may still have the lock; nobody else's is ended."""
    with Catalog.open(postgis_url, create=True) as catalog, lock_scene(catalog.engine) as lock:
        lost = lock._connection  # type: ignore[attr-defined]
        unreachable = catalog.engine.connect()
        unreachable.close()
        lock._connection = unreachable  # type: ignore[attr-defined]
        lock.refresh()
        with pytest.raises(OperationalError):
            lost.execute(text("select 1"))
        lost.invalidate()
        lost.close()
        with Catalog.open(postgis_url) as other, pytest.raises(SceneBusyError), lock_scene(other.engine):
            pass

"""Connections kept for answers of one row: reused, given up when lost, closed with the catalog, shared by threads."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from geocorrect.catalog import Catalog
from geocorrect.catalog.postgis import kept_connections
from geocorrect.catalog.postgis.kept_connections import KeptConnections

pytestmark = pytest.mark.postgis
WHO = "select pg_backend_pid(), current_setting('search_path'), %(content)s::bytea"
CONTENT = {"content": b"\0tile"}
OURS = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"


@pytest.fixture
def catalog(postgis_url: str) -> Iterator[Catalog]:
    with Catalog.open(postgis_url, create=True) as opened:
        yield opened


def test_a_connection_and_its_prepared_statement_are_kept(catalog: Catalog) -> None:
    kept = KeptConnections(catalog.engine)
    rows = [kept.row(WHO, CONTENT) for _ in range(3)]
    assert rows[0] is not None
    assert rows[0] == rows[1] == rows[2]
    assert rows[0][1].startswith("geocorrect, public")
    assert rows[0][2] == CONTENT["content"]
    assert kept.row("select count(*) from pg_prepared_statements where statement like %(s)s", {"s": "%bytea"}) == (1,)


def test_a_lost_connection_and_a_wrong_statement_are_left_to_the_engine(catalog: Catalog) -> None:
    kept = KeptConnections(catalog.engine)
    first = kept.row(WHO, CONTENT)
    assert first is not None
    with catalog.engine.connect() as connection:
        connection.execute(text("select pg_terminate_backend(:pid)"), {"pid": first[0]})
    assert kept.row(WHO, CONTENT) is None
    second = kept.row(WHO, CONTENT)
    assert second is not None
    assert second[0] != first[0]
    assert kept.row("select nothing", {}) is None
    assert kept.row("select 1", {}) == (1,)


def test_threads_wait_for_each_other_and_nothing_is_left_open(
    catalog: Catalog, postgis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_connections, "MOST", 2)
    kept = KeptConnections(catalog.engine)
    with ThreadPoolExecutor(6) as threads:
        slow = "select pg_backend_pid(), pg_sleep(0.05)::text"
        rows = [row for row in threads.map(lambda _: kept.row(slow, {}), range(12)) if row is not None]
    assert len(rows) == 12
    assert len({row[0] for row in rows}) == 2
    catalog.close()
    with Catalog.open(postgis_url) as other, other.engine.connect() as connection:
        assert connection.execute(text(OURS)).scalar_one() == 0

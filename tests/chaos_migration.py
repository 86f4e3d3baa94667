"""Kills in the middle of `geocorrect db upgrade`: the catalog has the old schema or the new one, never half of it."""

from __future__ import annotations

import runpy
import subprocess

from chaos import Chaos, Scene, _signal, _wait
from chaos_state import working_statements
from sqlalchemy import Connection

from geocorrect.catalog import Catalog, migrate
from geocorrect.catalog.literal_sql import run_sql
from geocorrect.catalog.schema import REVISION, VERSION_TABLE
from geocorrect.catalog.views import replace_views

OLD = "0001"


def make_old(url: str) -> None:
    """Take a catalog back to the schema of the first release, with all its rows."""
    with Catalog.open(url) as catalog, catalog.engine.connect() as connection:
        connection = connection.execution_options(writes=True)
        with connection.begin():
            replace_views(connection, only_drop=True)
            for table, columns in _added_columns().items():
                for column in columns:
                    _drop_column(connection, table, column)
            run_sql(connection, f"UPDATE {VERSION_TABLE} SET version_num = '{OLD}'")


def kill_upgrades(chaos: Chaos, scene: Scene, n_kills: int) -> None:
    """Upgrade the scene's old catalog under kills, then once to the end."""
    assert migrate.revision_at(scene.url) == OLD
    for _ in range(n_kills):
        if migrate.revision_at(scene.url) == REVISION:
            make_old(scene.url)
        chaos.tally.starts += 1
        chaos.tally.kills["migration"] += 1
        chaos.tally.hits["migration"] += _kill_in_the_middle(chaos, scene, scene.start("db", "upgrade"))
        revision = migrate.revision_at(scene.url)
        if revision not in (OLD, REVISION):
            chaos.tally.half_written.append(f"schema {revision} after a killed upgrade")
    if scene.run("db", "upgrade") or scene.run("db", "check"):
        raise AssertionError(scene.last_words())


def _kill_in_the_middle(chaos: Chaos, scene: Scene, process: subprocess.Popen[bytes]) -> bool:
    with working_statements(scene.url) as writes:
        met = _wait(lambda: writes() or process.poll() is not None, 30.0, 0.0002)
        _wait(lambda: process.poll() is not None, chaos.random.uniform(0.0, 0.15), 0.001)
    hit = met and process.poll() is None
    _signal(-process.pid)
    process.wait()
    return hit


def _added_columns() -> dict[str, list[str]]:
    """Columns that later migrations add, by table."""
    added: dict[str, list[str]] = {}
    for path in sorted((migrate.migrations_folder() / "versions").glob("0*.py")):
        columns = runpy.run_path(str(path)).get("COLUMNS") if path.stem[:4] > OLD else None
        for table, definitions in (columns or {}).items():
            added.setdefault(table, []).extend(definitions)
    return added


def _drop_column(connection: Connection, table: str, column: str) -> None:
    run_sql(connection, f"ALTER TABLE {table} DROP COLUMN {column}")

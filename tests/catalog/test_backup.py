"""docs/backup.md: its commands save a catalog and bring it back, row by row."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect, text
from support import catalog_world as world
from support.docs_page import block
from support.postgis_fixture import execute, with_database

from geocorrect.catalog import Catalog
from geocorrect.catalog.schema import TABLES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "backup.md").read_text(encoding="utf-8")


def shell(script: str, folder: Path, **environment: str) -> None:
    """Commands of the page in a shell, where `geocorrect` is this one."""
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    (programs / "geocorrect").write_text(f'#!/bin/sh\nexec {sys.executable} -m geocorrect "$@"\n')
    (programs / "geocorrect").chmod(0o755)
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euc", script], cwd=folder, env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)} | environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def contents(catalog: Catalog) -> dict[str, list[Any]]:
    """All rows of all tables, and what the view of corrected photos shows."""
    with catalog.engine.connect() as connection:
        rows = {table.name: connection.execute(table.select().order_by(table.c.fid)).all() for table in TABLES}
        shown = connection.execute(text("select image_id, run_key from current_correction order by fid")).all()
        return {name: [tuple(map(str, row)) for row in found] for name, found in [*rows.items(), ("shown", shown)]}


@pytest.mark.long
def test_a_geopackage_is_saved_while_it_is_written(tmp_path: Path) -> None:
    """And restored beside the write-ahead log of the file that it replaces."""
    if shutil.which("sqlite3") is None:
        pytest.skip("the program sqlite3 is not installed")
    with Catalog.open(str(tmp_path / "corrections.gpkg"), create=True) as catalog:
        world.fill(catalog, 5)
        with catalog.engine.connect().execution_options(writes=True) as writer, writer.begin():
            writer.exec_driver_sql("update run set duration_s = 99")
            shell(block(PAGE, "geopackage"), tmp_path)
        before = contents(catalog)
        before.pop("run")  # the run that was being written is another now
        catalog.rollback("run-a", "lost work")
        assert contents(catalog)["shown"] == []
    (tmp_path / "corrections.gpkg-wal").write_bytes(b"of the file before")
    shell(block(PAGE, "restore geopackage"), tmp_path)
    with Catalog.open(str(tmp_path / "corrections.gpkg")) as again:
        after = contents(again)
    assert "99.0" not in after.pop("run")[0]
    assert after == before
    assert len(after["shown"]) > 0


@pytest.mark.long
@pytest.mark.postgis
def test_a_database_is_dumped_and_restored(postgis_url: str, postgis_cluster: Any, tmp_path: Path) -> None:
    if postgis_cluster is None:
        pytest.skip("a given server may have databases of these names")
    with Catalog.open(postgis_url) as catalog:
        world.fill(catalog, 5)
        before, views = contents(catalog), set(inspect(catalog.engine).get_view_names("geocorrect"))
        name = catalog.engine.url.database
    reached = {"PGHOST": str(postgis_cluster.folder), "PGPORT": str(postgis_cluster.port), "PGUSER": "postgres"}
    try:
        shell(block(PAGE, "postgis").replace(" street\n", f" {name}\n"), tmp_path, **reached)
        shell(block(PAGE, "restore postgis"), tmp_path, **reached)
        with Catalog.open(with_database(postgis_url, "street_restored")) as again:
            assert contents(again) == before
            assert set(inspect(again.engine).get_view_names("geocorrect")) == views
    finally:
        execute(postgis_url, "drop database if exists street_restored with (force)")

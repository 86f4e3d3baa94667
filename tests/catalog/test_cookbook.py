"""Every query of docs/cookbook.md is executed on the example catalog and gives the answer that the page shows."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyogrio
import pytest
from sqlalchemy import text
from support import catalog_world as world
from support.cookbook import Recipe, recipes, statements

from geocorrect.catalog import Catalog
from geocorrect.catalog.curation.review import Reviews, Verdict
from geocorrect.records import Position

DAYS = [datetime(2026, 3, day, 12, tzinfo=UTC) for day in (1, 2)]


def make(url: str) -> None:
    """The example catalog: run-a for all twenty photos, a day later run-b for three of them."""
    now = iter(DAYS)
    day = next(now)
    with Catalog.open(url, create=True, clock=lambda: day) as catalog:
        world.fill(catalog)
        catalog.upsert_images([replace(world.image(3), computed=Position(12.4965, 41.9028))])
        day = next(now)
        catalog.begin_run(world.manifest("run-b"))
        catalog.record("run-b", [world.correction(0), world.correction(1, enu_m=[6.0, -2.0, 1.8]), world.rejection(2)])
        Reviews(catalog).decide(["1013"], Verdict.REJECT, "ana", "on the roof")


def shown(rows: Sequence[Sequence[Any]]) -> list[list[str]]:
    return [["NULL" if value is None or value != value else _plain(value) for value in row] for row in rows]


def _plain(value: Any) -> str:
    return str(value) if isinstance(value, str | int | Decimal) else f"{value:.6g}"


def same(found: list[list[str]], expected: list[list[str]]) -> bool:
    """Equal cells; numbers compare as numbers (5.00 of PostgreSQL is 5.0 of SQLite)."""

    def key(cell: str) -> float | str:
        try:
            return float(cell)
        except ValueError:
            return cell

    return [[key(c) for c in row] for row in found] == [[key(c) for c in row] for row in expected]


def test_the_page_answers_enough_questions() -> None:
    found = recipes()
    assert [recipe.number for recipe in found] == list(range(1, len(found) + 1))
    assert len(found) >= 12
    assert all("postgis" in recipe.queries for recipe in found)
    assert sum(1 for recipe in found if len(recipe.queries) > 1) >= 12


@pytest.fixture(scope="module")
def geopackage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cookbook") / "catalog.gpkg"
    make(str(path))
    return path


@pytest.mark.parametrize("recipe", [r for r in recipes() if "geopackage" in r.queries], ids=lambda r: str(r.number))
def test_on_plain_sqlite(geopackage: Path, recipe: Recipe) -> None:
    connection = sqlite3.connect(geopackage, isolation_level=None)
    connection.execute("begin")
    try:
        for statement in recipe.queries["geopackage"].split(";\n"):
            rows = connection.execute(statement).fetchall()
    finally:
        connection.execute("rollback")
        connection.close()
    assert same(shown(rows), recipe.answer), rows


@pytest.mark.parametrize(
    "recipe", [r for r in recipes() if "geopackage (GDAL)" in r.queries], ids=lambda r: str(r.number)
)
def test_in_gdal(geopackage: Path, recipe: Recipe) -> None:
    query = recipe.queries["geopackage (GDAL)"].rstrip(";")
    table = pyogrio.read_dataframe(geopackage, sql=query, read_geometry=False)
    assert same(shown(table.to_numpy().tolist()), recipe.answer), table


@pytest.mark.postgis
def test_on_postgis(postgis_url: str) -> None:
    make(postgis_url)
    wrong = {}
    with Catalog.open(postgis_url) as catalog:
        for recipe in recipes():
            with catalog.engine.connect() as connection:
                for statement in statements(recipe):
                    result = connection.execute(text(statement))
                    rows = result.all() if result.returns_rows else []
                connection.rollback()
            if not same(shown(rows), recipe.answer):
                wrong[recipe.number] = rows
    assert not wrong

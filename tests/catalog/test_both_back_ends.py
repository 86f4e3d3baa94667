"""One model, two back-ends: the same writes give the same rows."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import shapely
from shapely.geometry.base import BaseGeometry
from sqlalchemy import Column
from support import catalog_world as world

from geocorrect.catalog import Catalog
from geocorrect.catalog.rows.column_types import json_text
from geocorrect.catalog.rows.geometry_type import Outlines, geometry_from_blob
from geocorrect.catalog.schema import TABLES

NOW = datetime(2026, 3, 1, 12, 0, 0, 123000, tzinfo=UTC)


def plain(value: Any, column: Column[Any]) -> Any:
    """The value, geometry as text."""
    if isinstance(column.type, Outlines) and value is not None:
        value = geometry_from_blob(value) if isinstance(value, bytes) else shapely.from_wkb(value)
    return value.wkt if isinstance(value, BaseGeometry) else value


def contents(url: str) -> dict[str, list[Any]]:
    with Catalog.open(url, create=True, clock=lambda: NOW) as catalog:
        world.fill(catalog)
        catalog.begin_run(world.manifest("run-b"))
        catalog.record("run-b", [world.correction(1)])
        catalog.retract(["1001"], "wrong façade 🙂")
        with catalog.engine.connect() as connection:
            return {
                table.name: [
                    [plain(value, column) for value, column in zip(row, table.columns, strict=True)]
                    for row in connection.execute(table.select().order_by(table.c.fid))
                ]
                for table in TABLES
            }


@pytest.mark.postgis
def test_the_same_writes_give_the_same_rows(tmp_path: Path, postgis_url: str) -> None:
    geopackage, postgis = contents(str(tmp_path / "a.gpkg")), contents(postgis_url)
    assert geopackage.keys() == postgis.keys()
    for name in geopackage:
        assert geopackage[name] == postgis[name], name
    assert sum(len(rows) for rows in postgis.values()) > 100


def test_large_numbers_in_json_are_written_as_jsonb_writes_them() -> None:
    value = {"merge_cc": 5.1770426156816e18, "list": [1e16, (2.0, 1e-7)], "far": 1e300, "id": 12345678901234567}
    assert json_text(value) == (
        '{"far":1e+300,"id":12345678901234567,"list":[10000000000000000,[2.0,1e-7]],"merge_cc":5177042615681600000}'
    )

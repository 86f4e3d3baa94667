"""GeoParquet in spatial order: a box is answered from few groups of rows, by geopandas and by DuckDB."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow.parquet
import pytest
import shapely
from support import catalog_world as world
from support.judges import judge

from geocorrect.catalog import Catalog
from geocorrect.export.parquet import geoparquet, spatial_order

DEGREES = 0.2
"""Side of the town."""


def test_the_curve_walks_from_neighbour_to_neighbour() -> None:
    side = 22.5 / 16
    columns, rows = np.meshgrid(np.arange(16), np.arange(16))
    cells = np.random.default_rng(0).permutation(np.stack([columns.ravel(), rows.ravel()], axis=1))
    keys = spatial_order.hilbert_keys(0.5 * side + cells[:, 0] * side, -45.0 + 0.5 * side + cells[:, 1] * side)
    steps = np.abs(np.diff(cells[np.argsort(keys)], axis=0)).sum(axis=1)
    assert (steps == 1).all()
    assert len(np.unique(keys)) == 256


def town(table: dict[str, Any], count: int) -> Iterator[dict[str, Any]]:
    """Results of the catalog scattered over a town, in chunks of 100; every 50th is a rejection without any place."""
    rng = np.random.default_rng(3)
    for first in range(0, count, 100):
        rows = np.arange(100) % len(table["status"])
        chunk: dict[str, Any] = {
            n: v[rows] if isinstance(v, np.ndarray) else [v[k] for k in rows] for n, v in table.items()
        }
        chunk["image_id"] = [str(first + k) for k in range(100)]
        chunk["lon_deg"], chunk["lat_deg"] = 12.4 + DEGREES * rng.random(100), 41.8 + DEGREES * rng.random(100)
        for k in (0, 50):
            chunk["status"][k], chunk["reason"][k] = "rejected", "position_missing"
            chunk["reported_lon_deg"][k] = chunk["reported_lat_deg"][k] = chunk["height_m"][k] = np.nan
        yield chunk


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(spatial_order, "GROUP_ROWS", 100)
    monkeypatch.setattr("geocorrect.export.tables.BATCH_ROWS", 300)
    with Catalog.open(str(tmp_path / "c.gpkg"), create=True) as catalog:
        world.fill(catalog, 8)
        table = next(iter(catalog.tables()))
        kept = [k for k, status in enumerate(table["status"]) if status != "rejected"]
        table = {n: v[kept] if isinstance(v, np.ndarray) else [v[k] for k in kept] for n, v in table.items()}
    assert geoparquet.write_geoparquet(town(table, 4000), tmp_path / "town.parquet") == 4000
    return tmp_path / "town.parquet"


BOX = (12.45, 41.85, 12.47, 41.87)


@pytest.mark.long
def test_geopandas_and_duckdb_answer_a_box(file: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    everything = geopandas.read_parquet(file)
    inside = everything[everything.geometry.intersects(shapely.box(*BOX))]
    assert 20 < len(inside) < 80
    assert sorted(geopandas.read_parquet(file, bbox=BOX)["image_id"]) == sorted(inside["image_id"])
    where = "bbox.xmin <= {2} and bbox.xmax >= {0} and bbox.ymin <= {3} and bbox.ymax >= {1}".format(*BOX)
    found = duckdb.sql(f"select image_id from '{file}' where {where}").fetchall()
    assert sorted(row[0] for row in found) == sorted(inside["image_id"])
    assert everything.crs.to_authority() == ("OGC", "CRS84")
    assert len(everything) == 4000
    assert everything.geometry.isna().sum() == 80
    assert everything.geometry.isna().to_numpy()[-80:].all()


def test_a_box_lies_in_few_groups(file: Path) -> None:
    metadata = pyarrow.parquet.read_metadata(file)
    touched = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        columns = {group.column(k).path_in_schema: group.column(k).statistics for k in range(group.num_columns)}
        lon, lat = columns["bbox.xmin"], columns["bbox.ymin"]
        if lon.has_min_max:
            touched += lon.min <= BOX[2] and lon.max >= BOX[0] and lat.min <= BOX[3] and lat.max >= BOX[1]
    assert metadata.num_row_groups == 40
    assert 1 <= touched <= 6  # in the order of ids it would be every one
    assert not list(file.parent.glob(".*"))  # the waiting rows are gone
    described = json.loads(metadata.metadata[b"geo"])["columns"]["geometry"]
    assert described["covering"]["bbox"]["ymax"] == ["bbox", "ymax"]


def test_the_geoparquet_validator_finds_it_fit_for_distribution(file: Path) -> None:
    """By GeoParquet 1.1, whose schema it carries: the file, the columns of bounding boxes, the order."""
    validator = pytest.importorskip("geoparquet_validator")
    report = validator.check(str(file))
    assert validator.failed(report) == [], report["outcomes"]
    assert report["version"] == "1.1.0"
    passed = [outcome["id"].split("/")[2] for outcome in report["outcomes"] if outcome["status"] == "pass"]
    assert passed.count("covering") == 6
    assert passed.count("distribution") == 2


def test_gpio_finds_it_fit_for_distribution(file: Path) -> None:
    """But for its check of the specification, which loads an extension over the network."""
    done = subprocess.run([judge("gpio"), "check", "all", str(file)], capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    for line in ("Version 1.1.0", "bbox column 'bbox' with proper metadata covering", "ZSTD", "spatially ordered"):
        assert line in said
    assert "not spatially" not in said


def test_nothing_is_left_when_reading_fails(tmp_path: Path) -> None:
    def broken() -> Iterator[dict[str, Any]]:
        raise RuntimeError("the server went away")
        yield {}

    with pytest.raises(RuntimeError, match="went away"):
        geoparquet.write_geoparquet(broken(), tmp_path / "town.parquet")
    assert list(tmp_path.iterdir()) == []

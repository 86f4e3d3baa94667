"""GeoJSON by the letter of RFC 7946."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support import catalog_world as world

from geocorrect.catalog import Catalog, ResultFilter
from geocorrect.catalog.rows.result_table import table_of
from geocorrect.errors import OutputError, Status
from geocorrect.export.features import Bounds
from geocorrect.export.geojson import write_geojson


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.open(str(tmp_path / "c.gpkg"), create=True) as opened:
        world.fill(opened)
        yield opened


def test_points_lie_where_the_photos_were_taken(catalog: Catalog, tmp_path: Path) -> None:
    path = tmp_path / "out.geojson"
    assert write_geojson(catalog.tables(), path) == 20
    data = json.loads(path.read_text())
    assert data["type"] == "FeatureCollection"
    assert data["licence"] == "CC-BY-SA-4.0"
    by_id = {f["id"]: f for f in data["features"]}
    lon, lat, height = world.ROME.wgs84_from_enu([15.0, -2.0, 1.8])
    assert by_id["1003"]["geometry"]["coordinates"] == [
        round(float(lon), 7),
        round(float(lat), 7),
        round(float(height), 3),
    ]
    assert by_id["1003"]["properties"]["status"] == "accepted"
    assert by_id["1004"]["properties"]["reason"] == "too_few_matches"
    assert len(by_id["1004"]["geometry"]["coordinates"]) == 2
    # RFC 7946, section 5: all axes of the south-western corner, then all axes of the north-eastern one.
    corners = np.array(data["bbox"]).reshape(2, 3)
    places = np.array([f["geometry"]["coordinates"] for f in data["features"] if f["properties"]["reason"] is None])
    np.testing.assert_array_equal(corners[:, 2], [places[:, 2].min(), places[:, 2].max()])
    for feature in data["features"]:
        place = feature["geometry"]["coordinates"]
        assert (corners[0, : len(place)] <= place).all()
        assert (place <= corners[1, : len(place)]).all()
    assert write_geojson(catalog.tables(ResultFilter(status=(Status.REJECTED,))), path) == 4
    assert len(json.loads(path.read_text())["bbox"]) == 4  # no heights in it, none in the box


def test_the_same_catalog_gives_the_same_bytes(catalog: Catalog, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_geojson(catalog.tables(ResultFilter(status=(Status.ACCEPTED,))), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_nothing_to_write_is_still_geojson(tmp_path: Path) -> None:
    write_geojson([], tmp_path / "empty.geojson")
    assert json.loads((tmp_path / "empty.geojson").read_text())["features"] == []


def test_a_photo_without_any_position_has_no_geometry(catalog: Catalog, tmp_path: Path) -> None:
    nowhere = replace(next(s for s in catalog.results() if s.result.image_id == "1004"), reported_lon_deg=float("nan"))
    write_geojson([table_of([nowhere])], tmp_path / "out.geojson")
    assert json.loads((tmp_path / "out.geojson").read_text())["features"][0]["geometry"] is None


def test_a_failed_export_leaves_the_old_file(catalog: Catalog, tmp_path: Path) -> None:
    path = tmp_path / "out.geojson"
    path.write_text("old")

    def breaks() -> Iterator[object]:
        yield next(iter(catalog.tables()))
        raise RuntimeError("lost")

    with pytest.raises(RuntimeError):
        write_geojson(breaks(), path)  # type: ignore[arg-type]
    assert path.read_text() == "old"
    assert {p.name for p in tmp_path.iterdir() if p.name.startswith(".")} == set()
    (tmp_path / "nowhere").write_text("a file, no folder")
    with pytest.raises(OutputError, match="nowhere"):
        write_geojson([], tmp_path / "nowhere" / "out.geojson")


def test_a_box_over_the_antimeridian_has_its_west_in_the_east() -> None:
    bounds = Bounds()
    bounds.add(np.array([[179.9, -10.0, np.nan], [-179.8, -11.0, np.nan]]))
    assert bounds.box() == [179.9, -11.0, -179.8, -10.0]
    bounds.add(np.array([[179.5, -9.0, 3.0], [179.6, -9.5, -2.0], [np.nan, np.nan, 99.0]]))
    assert bounds.box() == [179.5, -11.0, -2.0, -179.8, -9.0, 3.0]

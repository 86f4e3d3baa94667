"""PMTiles read back by the reference reader and by mapbox-vector-tile: every photo, thinned at small zooms."""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import mapbox_vector_tile
import mercantile
import numpy as np
import pytest
from pmtiles.reader import MmapSource, Reader, all_tiles
from pmtiles.tile import zxy_to_tileid
from support import catalog_world as world

from geocorrect.catalog import Catalog, ResultFilter
from geocorrect.export.export import export_catalog
from geocorrect.export.tiles.pmtiles import write_pmtiles
from geocorrect.export.tiles.pyramid import MAX_ZOOM
from geocorrect.export.tiles.vector_tile import encode_points


def read(
    path: Path, zooms: Sequence[int] = range(MAX_ZOOM + 1)
) -> tuple[Reader, dict[tuple[int, int, int], list[dict[str, Any]]]]:
    with path.open("rb") as file:
        source = MmapSource(file)
        decoded = {
            zxy: mapbox_vector_tile.decode(gzip.decompress(data), default_options={"y_coord_down": True})
            for zxy, data in all_tiles(source)
            if zxy[0] in zooms
        }
        reader = Reader(source)
        reader.header(), reader.metadata()
        return reader, {zxy: tile["corrections"]["features"] for zxy, tile in decoded.items()}


def chunks(count: int) -> Iterator[dict[str, Any]]:
    """Photos all over Africa in chunks of 100; every seventh is a rejection without error and heading."""
    rng = np.random.default_rng(1)
    for first in range(0, count, 100):
        rows = np.arange(first, first + 100)
        lon, lat, rejected = rng.uniform(-10, 50, 100), rng.uniform(-30, 30, 100), rows % 7 == 0
        yield {
            "image_id": [f"photo-{k}" for k in rows], "status": ["rejected" if r else "accepted" for r in rejected],
            "lon_deg": np.where(rejected, np.nan, lon), "lat_deg": np.where(rejected, np.nan, lat),
            "height_m": np.zeros(100), "reported_lon_deg": lon, "reported_lat_deg": lat,
            "expected_error_m": np.where(rejected, np.nan, rows / 1000), "licence": ["CC0"] * 100,
            "heading_deg": np.where(rejected, np.nan, 359.7),
        }  # fmt: skip


def test_every_photo_is_at_its_place(tmp_path: Path) -> None:
    with Catalog.open(str(tmp_path / "c.gpkg"), create=True) as catalog:
        world.fill(catalog)
        assert export_catalog(catalog, tmp_path / "map.pmtiles", wanted=ResultFilter()) == 20
    reader, tiles = read(tmp_path / "map.pmtiles")
    found = {f["properties"]["image_id"]: (zxy, f) for zxy, fs in tiles.items() if zxy[0] == MAX_ZOOM for f in fs}
    assert set(found) == {str(1000 + i) for i in range(20)}
    for index in (0, 1, 13):
        (zoom, x, y), feature = found[str(1000 + index)]
        bounds, (column, row) = mercantile.xy_bounds(x, y, zoom), feature["geometry"]["coordinates"]
        east = bounds.left + (column + 0.5) / 4096 * (bounds.right - bounds.left)
        north = bounds.top - (row + 0.5) / 4096 * (bounds.top - bounds.bottom)
        lon, lat, _ = (float(v) for v in world.ROME.wgs84_from_enu([5.0 * index, -2.0, 1.8]))
        assert (east, north) == pytest.approx(mercantile.xy(lon, lat), abs=0.16)  # half a unit of zoom 15
        status = "review" if index % 7 == 6 else "accepted"
        expected = {"image_id": str(1000 + index), "status": status, "heading_deg": 90}
        assert feature["properties"] == expected | {"expected_error_m": pytest.approx(0.2 + 0.01 * index, abs=1e-6)}
    assert set(found["1004"][1]["properties"]) == {"image_id", "status"}
    metadata = reader.metadata()
    assert (metadata["licence"], metadata["vector_layers"][0]["id"]) == ("CC-BY-SA-4.0", "corrections")
    header = reader.header()
    assert (header["min_zoom"], header["max_zoom"], header["clustered"]) == (0, MAX_ZOOM, True)
    assert header["min_lon_e7"] / 1e7 == pytest.approx(12.4964, abs=1e-3)


def test_small_zooms_show_the_best_of_every_cell(tmp_path: Path) -> None:
    assert write_pmtiles(chunks(500), tmp_path / "africa.pmtiles") == 500
    _, tiles = read(tmp_path / "africa.pmtiles", (0, 1, 2, 3, MAX_ZOOM))
    shown: dict[int, dict[str, Any]] = {zoom: {} for zoom in (0, 1, 2, 3, MAX_ZOOM)}
    best: dict[int, dict[tuple[int, int], list[float]]] = {zoom: {} for zoom in shown}
    for (zoom, x, y), features in tiles.items():
        for feature in features:
            properties, (column, row) = feature["properties"], feature["geometry"]["coordinates"]
            cell = ((x * 4096 + column) // (64 << zoom), (y * 4096 + row) // (64 << zoom))  # those of zoom 0
            shown[zoom][properties["image_id"]] = properties
            best[zoom].setdefault(cell, []).append(properties.get("expected_error_m", np.inf))
    assert len(shown[MAX_ZOOM]) == 500
    for smaller, larger in itertools.pairwise(shown.values()):
        assert smaller.keys() <= larger.keys()
    assert 80 < len(shown[0]) < len(shown[1]) < 400
    assert {cell: [min(errors)] for cell, errors in best[MAX_ZOOM].items()} == best[0]
    assert {p["heading_deg"] for p in shown[0].values() if p["status"] == "accepted"} == {0}


def test_an_empty_export_is_a_sound_file(tmp_path: Path) -> None:
    assert write_pmtiles([], tmp_path / "none.pmtiles") == 0
    assert read(tmp_path / "none.pmtiles")[1] == {(0, 0, 0): []}
    assert zxy_to_tileid(0, 0, 0) == 0


def test_values_of_every_kind_and_size() -> None:
    points = [(0, 4095, ("a" * 300, None, 0.5, k)) for k in (0, 127, 128, 40_000)]
    tile = mapbox_vector_tile.decode(
        encode_points("x", ["s", "n", "f", "i"], points), default_options={"y_coord_down": True}
    )
    assert tile["x"]["extent"] == 4096
    assert [f["properties"] for f in tile["x"]["features"]] == [
        {"s": "a" * 300, "f": 0.5, "i": k} for k in (0, 127, 128, 40_000)
    ]
    assert tile["x"]["features"][0]["geometry"] == {"type": "Point", "coordinates": [0, 4095]}

"""Exports to what is not a plain file, and from an area in another CRS."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest
from support.catalog_world import fill

from geocorrect.catalog import Catalog
from geocorrect.cli.export import read_area
from geocorrect.errors import InputError, OutputError
from geocorrect.export.export import export_catalog
from geocorrect.export.formats import Format


@pytest.fixture
def filled(empty_geopackage: Path, tmp_path: Path) -> Catalog:
    path = tmp_path / "catalog" / "catalog.gpkg"
    path.parent.mkdir()
    path.write_bytes(empty_geopackage.read_bytes())
    catalog = Catalog.open(str(path))
    fill(catalog, 8)
    return catalog


@pytest.mark.parametrize("kind", [Format.GEOJSON, Format.CSV, Format.GPKG, Format.FLATGEOBUF])
def test_a_pipe_gets_the_bytes_of_a_file_and_nothing_beside_it(filled: Catalog, kind: Format, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    os.mkfifo(folder / "pipe")
    content: list[bytes] = []
    reader = threading.Thread(target=lambda: content.append((folder / "pipe").read_bytes()), daemon=True)
    reader.start()
    count = export_catalog(filled, folder / "pipe", kind)
    reader.join(10)
    assert count > 0
    assert [entry.name for entry in folder.iterdir()] == ["pipe"]
    file = tmp_path / f"file.{kind.value}"
    assert export_catalog(filled, file, kind) == count
    if kind is not Format.GPKG:  # whose bytes hold the time of writing
        assert content == [file.read_bytes()]
    assert len(content[0]) > 100
    with pytest.raises(OutputError, match="is a device"):
        export_catalog(filled, Path("/dev/null"), kind)
    filled.close()


@pytest.mark.parametrize(
    ("crs", "corner"),
    [
        (None, (12.0, 41.0, 13.0, 42.0)),
        ("urn:ogc:def:crs:OGC:1.3:CRS84", (12.0, 41.0, 13.0, 42.0)),
        ("urn:ogc:def:crs:EPSG::3857", (1335833.8895, 5012341.6638, 1447153.3803, 5160979.4440)),
        ("EPSG:4258", (12.0, 41.0, 13.0, 42.0)),
    ],
)
def test_an_area_is_in_the_crs_that_it_names(
    crs: str | None, corner: tuple[float, float, float, float], tmp_path: Path
) -> None:
    west, south, east, north = corner
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    content = {"type": "Polygon", "coordinates": [ring]}
    named = {} if crs is None else {"crs": {"type": "name", "properties": {"name": crs}}}
    path = tmp_path / "area.geojson"
    path.write_text(json.dumps({**content, **named}))
    assert read_area(str(path)).bounds == pytest.approx((12.0, 41.0, 13.0, 42.0), abs=1e-6)
    for text in ("{", "[]", json.dumps({**content, "crs": {"properties": {"name": "banana"}}})):
        path.write_text(text)
        with pytest.raises(InputError, match=r"area.geojson"):
            read_area(str(path))

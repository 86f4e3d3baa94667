"""Every format says the same as the catalog, read back by somebody else's reader."""

from __future__ import annotations

import csv
import json
import re
import sqlite3
import weakref
import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import geopandas
import numpy as np
import pyogrio
import pytest
import shapely
from pyproj import Geod
from support import catalog_world as world

from geocorrect.catalog import Catalog, ResultFilter
from geocorrect.catalog.views.qml import STYLED, qml
from geocorrect.errors import OutputError, Status, UsageError
from geocorrect.export.export import export_catalog
from geocorrect.export.features import ATTRIBUTION, COLUMNS
from geocorrect.export.formats import Format, format_of
from geocorrect.export.geojson import write_geojson
from geocorrect.export.geopackage import write_geopackage
from geocorrect.export.parquet.geoparquet import write_geoparquet
from geocorrect.export.qgis import LAYERS
from geocorrect.export.tables import write_csv, write_flatgeobuf
from geocorrect.geometry.frame import Frame
from geocorrect.records import Attribution

EVERYTHING = ResultFilter()
TRUTH = {f"{1000 + i}": np.array([5.0 * i, -2.0, 1.8]) for i in range(20)}
CORRECTED = sorted(name for name in TRUTH if int(name) % 5 != 4 and (int(name) - 1000) % 7 != 6)
"""Accepted: neither rejected nor waiting for a review, as `catalog_world.fill` decides."""


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    path = tmp_path_factory.mktemp("formats") / "c.gpkg"
    with Catalog.open(str(path), create=True) as opened:
        world.fill(opened)
        yield opened


@pytest.mark.parametrize("name", ["out.gpkg", "out.parquet", "out.fgb", "out.geojson"])
def test_layers_hold_the_corrected_points(catalog: Catalog, tmp_path: Path, name: str) -> None:
    assert export_catalog(catalog, tmp_path / name) == 14
    read = geopandas.read_parquet if name.endswith("parquet") else geopandas.read_file
    table = read(tmp_path / name, **({} if name.endswith("parquet") else {"layer": 0} if name == "out.gpkg" else {}))
    table = table.set_index("image_id").sort_index()
    assert list(table.index) == CORRECTED
    expected = np.stack(world.ROME.wgs84_from_enu(np.array([TRUTH[i] for i in CORRECTED])), axis=1)
    np.testing.assert_allclose(
        shapely.get_coordinates(table.geometry, include_z=True)[:, :2], expected[:, :2], atol=6e-8
    )
    np.testing.assert_allclose(shapely.get_coordinates(table.geometry, include_z=True)[:, 2], expected[:, 2], atol=6e-4)
    assert set(table["licence"]) == {"CC-BY-SA-4.0"}
    np.testing.assert_allclose(table["displacement_m"], 5.0, atol=1e-3)
    assert set(table["depth_is_oracle"]) == {True}


def test_rejections_appear_when_asked_for(catalog: Catalog, tmp_path: Path) -> None:
    for name in ("out.gpkg", "out.parquet", "out.fgb", "out.geojson", "out.csv"):
        assert export_catalog(catalog, tmp_path / name, wanted=ResultFilter(status=(Status.REJECTED,))) == 4
        assert export_catalog(catalog, tmp_path / name, wanted=EVERYTHING) == 20
    table = geopandas.read_file(tmp_path / "out.fgb").set_index("image_id")
    assert table.loc["1004", "reason"] == "too_few_matches"
    assert shapely.get_coordinates(table.geometry.loc["1004"]).shape == (1, 2)


def test_a_geopackage_copy_has_lines_ellipses_and_styles(catalog: Catalog, tmp_path: Path) -> None:
    path = tmp_path / "copy.gpkg"
    export_catalog(catalog, path)
    assert {str(name) for name, _ in pyogrio.list_layers(path)} == {
        "corrections", "displacement", "error_ellipse", "layer_styles",
    }  # fmt: skip
    ellipse = geopandas.read_file(path, layer="error_ellipse").set_index("image_id").geometry["1003"]
    area, _ = Geod(ellps="WGS84").geometry_area_perimeter(ellipse)
    assert abs(area) == pytest.approx(np.pi * 5.991464547 * 0.2 * 0.1, rel=0.01)
    with sqlite3.connect(path) as connection:
        styled = {row[0] for row in connection.execute("select f_table_name from layer_styles where useAsDefault")}
    assert styled == {"corrections", "displacement", "error_ellipse"}


def test_every_file_names_attribution_and_licences(catalog: Catalog, tmp_path: Path) -> None:
    """Of the file as a whole, where its format has a place for that; for a CSV in a file beside."""
    import pyarrow.parquet

    for name in ("out.gpkg", "out.fgb", "out.parquet", "out.csv", "out.geojson"):
        export_catalog(catalog, tmp_path / name)
    parquet = pyarrow.parquet.read_metadata(tmp_path / "out.parquet").metadata
    # GeoParquet 1.1 follows RFC 7946: six numbers for points with heights.
    box = json.loads(parquet[b"geo"])["columns"]["geometry"]["bbox"]
    assert box == json.loads((tmp_path / "out.geojson").read_text())["bbox"]
    assert len(box) == 6
    heads = {
        "gpkg": json.dumps(pyogrio.read_info(tmp_path / "out.gpkg", layer="corrections")["dataset_metadata"]),
        "fgb": json.dumps(pyogrio.read_info(tmp_path / "out.fgb")["layer_metadata"]),
        "parquet": f"{parquet[b'attribution'].decode()} {parquet[b'licence'].decode()}",
        "csv": (tmp_path / "out.csv.license").read_text(),
        "geojson": (tmp_path / "out.geojson").read_text().splitlines()[-1],
    }  # fmt: skip
    for name, head in heads.items():
        assert ATTRIBUTION in head, name
        assert "CC-BY-SA-4.0" in head, name


@pytest.mark.postgis
def test_both_back_ends_export_the_same_bytes(tmp_path: Path, postgis_url: str) -> None:
    """The one reads by COPY, the other by a cursor; times of recording differ and are left out."""
    written = []
    for url in (str(tmp_path / "c.gpkg"), postgis_url):
        with Catalog.open(url, create=True, clock=lambda: world.START) as opened:
            world.fill(opened)
            wanted = ResultFilter(since=world.START, image_ids=sorted(TRUTH), area=shapely.box(12.0, 41.0, 13.0, 42.0))
            assert export_catalog(opened, tmp_path / "out.geojson", wanted=wanted) == 20
            assert export_catalog(opened, tmp_path / "out.csv", wanted=wanted) == 20
        written.append([(tmp_path / name).read_bytes() for name in ("out.geojson", "out.csv")])
    assert written[0] == written[1]


@pytest.mark.postgis
def test_an_older_libpq_gives_the_same_rows(tmp_path: Path, postgis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before libpq 17 a server's rows come one by one."""
    import psycopg

    with Catalog.open(postgis_url, create=True) as opened:
        world.fill(opened)
        assert export_catalog(opened, tmp_path / "chunks.geojson", wanted=EVERYTHING) == 20
        monkeypatch.setattr(psycopg.capabilities, "has_stream_chunked", lambda: False)
        assert export_catalog(opened, tmp_path / "single.geojson", wanted=EVERYTHING) == 20
    assert (tmp_path / "single.geojson").read_bytes() == (tmp_path / "chunks.geojson").read_bytes()


def test_writers_take_one_chunk_at_a_time(catalog: Catalog, tmp_path: Path) -> None:
    """No writer collects what it is given: a chunk may be gone when the next one is asked for."""
    writers = [
        write_geojson, write_csv, write_geoparquet, write_geopackage, partial(write_flatgeobuf, licences=["CC0"]),
    ]  # fmt: skip
    for write in writers:
        alive: list[weakref.ref[Chunk]] = []

        def chunks(alive: list[weakref.ref[Chunk]] = alive) -> Iterator[Chunk]:
            for table in [*catalog.tables()] * 4:
                assert sum(seen() is not None for seen in alive) <= 1
                chunk = Chunk(table)
                alive.append(weakref.ref(chunk))
                yield chunk
                del chunk

        assert write(chunks(), tmp_path / "out") == 80


class Chunk(dict[str, Any]):
    """A table of results that can be watched."""


def test_rows_are_written_in_large_groups(catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However small the chunks are that the catalog is read in; none is lost, none comes twice."""
    import pyarrow.parquet

    monkeypatch.setattr("geocorrect.export.tables.BATCH_ROWS", 50)
    monkeypatch.setattr("geocorrect.export.parquet.spatial_order.GROUP_ROWS", 50)
    table = next(iter(catalog.tables()))
    assert write_geoparquet([table] * 6, tmp_path / "out.parquet") == 120
    written = pyarrow.parquet.ParquetFile(tmp_path / "out.parquet")
    groups = [written.metadata.row_group(k).num_rows for k in range(written.metadata.num_row_groups)]
    assert groups == [50, 50, 20]
    assert sorted(written.read()["image_id"].to_pylist()) == sorted(list(table["image_id"]) * 6)
    assert write_geopackage([table] * 6, tmp_path / "out.gpkg") == 120
    assert len(pyogrio.read_dataframe(tmp_path / "out.gpkg", layer="error_ellipse")) == 96


def test_csv_survives_commas_quotes_and_line_breaks(tmp_path: Path) -> None:
    from geocorrect.records import Attribution

    creator = 'Zoë "Zo", née\nO\'Hara; 🙂'
    with Catalog.open(str(tmp_path / "c.gpkg"), create=True) as catalog:
        world.fill(catalog, 2)
        catalog.upsert_images([replace(world.image(0), attribution=Attribution(creator, "", "CC0"))])
        export_catalog(catalog, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(COLUMNS)
    assert rows[0]["creator"] == creator
    assert float(rows[1]["displacement_m"]) == 5.0


FORMULAS = {
    '=HYPERLINK("http://x","y")': '\'=HYPERLINK("http://x","y")', "+1": "'+1", "-2+3": "'-2+3", "@SUM(A1)": "'@SUM(A1)",
    "\t=1": "'\t'=1", "\r=1": "'\n'=1", "a=b-c": "a=b-c", "x;=1": "x;'=1", "x; @a|=b": "x;' @a|'=b", "a,-1": "a,'-1",
    "＝1": "'＝1", "x;＠y": "x;'＠y", "\u00a0=1": "'\u00a0=1",
}  # fmt: skip


@pytest.mark.parametrize("creator", FORMULAS)
def test_a_spreadsheet_finds_no_formula_in_a_csv(tmp_path: Path, creator: str) -> None:
    """The name of a photo's creator is chosen by a stranger (OWASP: CSV injection)."""
    from geocorrect.records import Attribution

    with Catalog.open(str(tmp_path / "c.gpkg"), create=True) as catalog:
        world.fill(catalog, 1)
        catalog.upsert_images([replace(world.image(0), attribution=Attribution(creator, "", "CC0"))])
        export_catalog(catalog, tmp_path / "out.csv")
        export_catalog(catalog, tmp_path / "out.geojson")
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["creator"] == FORMULAS[creator]
    # Whichever sign the spreadsheet splits at, no cell begins with a formula.
    for line in (tmp_path / "out.csv").read_text().splitlines()[1:]:
        texts = [cell.strip('" \u00a0') for cell in re.split(r"[;\t|]", line)]
        assert not [text for text in texts if text.startswith(("=", "+", "@", "＝", "＠"))]
    assert float(row["displacement_east_m"]) == pytest.approx(4.0, abs=1e-3)  # numbers are numbers, negative ones too
    (feature,) = json.loads((tmp_path / "out.geojson").read_text())["features"]
    assert feature["properties"]["creator"] == creator


def test_no_character_makes_the_xml_of_an_export_unreadable(tmp_path: Path) -> None:
    from geocorrect.records import Attribution

    licence = "CC\x01 <0> & \x1b\ufffe\U0001f600"
    with Catalog.open(str(tmp_path / "c.gpkg"), create=True) as catalog:
        world.fill(catalog, 1)
        catalog.upsert_images([replace(world.image(0), attribution=Attribution("a", "", licence))])
        export_catalog(catalog, tmp_path / "out.qgz")
        export_catalog(catalog, tmp_path / "out.gpkg")
    with zipfile.ZipFile(tmp_path / "out.qgz") as archive:
        project = archive.read("out.qgs").decode()
    with closing(sqlite3.connect(tmp_path / "out.gpkg")) as connection:
        (metadata,) = connection.execute("select metadata from gpkg_metadata").fetchone()
    for document in (project, metadata):
        assert "CC\ufffd <0> & \ufffd\ufffd\U0001f600" in "".join(ElementTree.fromstring(document).itertext())


def test_every_export_is_repeatable(catalog: Catalog, tmp_path: Path) -> None:
    for kind in (Format.GEOJSON, Format.CSV, Format.FLATGEOBUF, Format.GEOPARQUET, Format.QGIS_PROJECT):
        for name in ("a", "b"):
            (tmp_path / name).mkdir(exist_ok=True)
            export_catalog(catalog, tmp_path / name / "out", kind)
        assert (tmp_path / "a" / "out").read_bytes() == (tmp_path / "b" / "out").read_bytes(), kind
    for kind in (Format.OPENSFM, Format.COLMAP, Format.SIDECAR):
        export_catalog(catalog, tmp_path / "bundle", kind)
        first = {p.name: p.read_bytes() for p in (tmp_path / "bundle").iterdir()}
        export_catalog(catalog, tmp_path / "bundle", kind)
        assert {p.name: p.read_bytes() for p in (tmp_path / "bundle").iterdir()} == first


def test_foreign_folders_and_unknown_names_are_refused(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match="is not a bundle of ours"):
        export_catalog(catalog, tmp_path / "mine", Format.OPENSFM)
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"
    with pytest.raises(OutputError, match="is a folder"):
        export_catalog(catalog, tmp_path / "mine", Format.CSV)
    with pytest.raises(UsageError, match=r"give --format, one of geojson, gpkg"):
        format_of(tmp_path / "out.shp")
    (tmp_path / "nowhere").write_text("a file, no folder")
    with pytest.raises(OutputError, match="nowhere"):
        export_catalog(catalog, tmp_path / "nowhere" / "sfm", Format.OPENSFM)


def test_styles_are_well_formed_and_beside_the_files(catalog: Catalog, tmp_path: Path) -> None:
    for layer in STYLED:
        root = ElementTree.fromstring(qml(layer).split("\n", 1)[1])
        assert root.find("renderer-v2") is not None, layer
    export_catalog(catalog, tmp_path / "out.geojson")
    assert (tmp_path / "out.qml").read_text() == qml("current_correction")


def test_the_project_lists_every_layer_relative_to_itself(catalog: Catalog, tmp_path: Path) -> None:
    path = tmp_path / "map" / "project.qgz"
    path.parent.mkdir()
    assert export_catalog(catalog, path) == len(LAYERS)
    assert {layer.name for layer in LAYERS} == set(STYLED)
    with zipfile.ZipFile(path) as archive:
        (name,) = archive.namelist()
        assert name == "project.qgs"
        root = ElementTree.fromstring(archive.read(name).decode().split("\n", 1)[1])
    sources = [element.text or "" for element in root.iter("datasource")]
    assert all("|layername=" in source for source in sources)
    file = (path.parent / sources[0].split("|")[0]).resolve()
    assert file == Path(str(catalog.engine.url.database)).resolve()
    ids = [element.get("id") or "" for element in root.iter("layer-tree-layer")]
    assert all(len(name) > 10 for name in ids)
    assert ids == [element.text for element in root.iter("id")]


def test_the_project_shows_and_credits_photos_without_results_on_both_sides_of_180(tmp_path: Path) -> None:
    frame = Frame("taveuni", 179.9999, -16.8, 10.0)
    with Catalog.open(str(tmp_path / "c.gpkg"), create=True) as catalog:
        catalog.set_frame(frame)
        west, east = world.image(0, frame=frame), world.image(9, frame=frame)
        catalog.upsert_images([west, replace(east, attribution=Attribution("ben", "", "CC-BY-4.0"))])
        assert west.reported is not None
        assert east.reported is not None
        assert west.reported.lon_deg > 179.9
        assert east.reported.lon_deg < -179.9
        export_catalog(catalog, tmp_path / "p.qgz")
    with zipfile.ZipFile(tmp_path / "p.qgz") as archive:
        root = ElementTree.fromstring(archive.read("p.qgs").decode().split("\n", 1)[1])
    low, high = (float(root.findtext(f"mapcanvas/extent/{name}") or "nan") for name in ("xmin", "xmax"))
    assert 0 < high - low < 1000  # metres; around the world it would be forty million
    credited = root.findtext("projectMetadata/license") or ""
    assert "CC-BY-4.0" in credited
    assert "CC-BY-SA-4.0" in credited


@pytest.mark.postgis
def test_a_server_project_can_be_handed_on(tmp_path: Path, postgis_url: str) -> None:
    with Catalog.open(postgis_url, create=True) as catalog:
        world.fill(catalog, 3)
        url = catalog.engine.url.set(username="the_owner", password="hunter2")
        catalog.engine.url = url.update_query_dict({"sslmode": "verify-full", "service": "streets", "port": "5433"})  # type: ignore[misc]
        export_catalog(catalog, tmp_path / "p.qgz")
        for name in ("a.geojson", "a.csv", "a.gpkg"):
            assert export_catalog(catalog, tmp_path / name) == 3
    with zipfile.ZipFile(tmp_path / "p.qgz") as archive:
        project = archive.read("p.qgs").decode()
    assert "hunter2" not in project
    assert "the_owner" not in project
    assert project.count("port='5433'") == len(LAYERS)
    assert project.count("sslmode=verify-full") == project.count("service='streets'") == len(LAYERS)
    assert "CC-BY-SA-4.0" in (
        ElementTree.fromstring(project.split("\n", 1)[1]).findtext("projectMetadata/license") or ""
    )
    assert 'table="geocorrect"."current_correction" (geom)' in project.replace("&quot;", '"')

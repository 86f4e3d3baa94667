"""Real QGIS opens everything that we write: valid, counted, styled, drawn. Run on demand: `pytest -m qgis tests/qgis`.

Needs `apt-get install --no-install-recommends qgis python3-qgis qgis-providers` (1.1 GB); GEOCORRECT_REQUIRE_QGIS=1
makes its absence a failure. GEOCORRECT_DEMO names a folder where the demo has run, else a small one is made.
GEOCORRECT_QGIS_PICTURES names a folder that keeps the rendered pictures.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import make_url
from support import catalog_world as world
from support.qgis_scene import SYSTEM_PYTHON, Scene, copy_catalog, draw_before_after, in_qgis

from geocorrect.catalog import Catalog
from geocorrect.catalog.views.palette import ERROR_CLASSES, red_green_blue
from geocorrect.catalog.views.qml import PHOTOS, renderer
from geocorrect.catalog.views.views import views_of
from geocorrect.export.export import export_catalog
from geocorrect.export.qgis import GROUPS, LAYERS
from geocorrect.records import Attribution

pytestmark = [pytest.mark.qgis, pytest.mark.usefixtures("_qgis")]
LIKE = {"geojson": "current_correction", "flatgeobuf": "current_correction", "corrections": "current_correction"}
LEAST_INK_PX = 40
"""What a single small marker covers."""


def check_layer(layer: dict[str, Any], catalog_layer: str, count: int) -> None:
    assert layer["valid"], layer
    # GDAL reads a GeoJSON with heights as EPSG:4979, the ellipsoidal WGS84, which is what it holds.
    assert layer["crs"] == ("EPSG:4979" if layer["name"] == "geojson" else "EPSG:4326"), layer
    assert layer["count"] == count, layer
    check_style(layer, catalog_layer)
    if count:
        check_picture(Path(layer["picture"]))


def check_style(layer: dict[str, Any], catalog_layer: str) -> None:
    """Kind of renderer and every colour are ours: QGIS' own first style is a single symbol of a random colour."""
    ours = ElementTree.fromstring(renderer(catalog_layer))
    assert layer["renderer"] == ours.get("type"), layer
    # The first colour of each symbol; those of arrow heads and the like follow.
    first = [
        next(o.get("value", "") for o in symbol.iter("Option") if o.get("name") in ("color", "line_color"))
        for symbol in ours.findall("symbols/symbol")
    ]
    expected = ["#" + "".join(f"{int(value):02x}" for value in colour.split(",")[:3]) for colour in first]
    assert layer["colours"] == expected, layer


def check_click(layer: dict[str, Any], tables: str) -> None:
    """Pointed at, a photo shows its picture, who made it, under which licence, and leads to its page."""
    tip, actions = layer["tip"], layer["actions"]
    assert "ana, CC-BY-SA-4.0" in " ".join(tip.split()) or tables == "demo", tip
    assert "[%" not in tip
    assert actions.keys() == {"Open the photo", "Open its page", "Open the evidence picture"}
    page = actions["Open its page"].strip()
    assert page.startswith("https://")
    assert f'<a href="{page}">' in tip
    photo = actions["Open the photo"].strip()
    if "path" in layer["fields"]:
        assert photo.startswith("file://")
        assert f'src="{photo}"' in tip
    else:
        assert photo == page
        assert "<img" not in tip
    assert actions["Open the evidence picture"].strip() == photo, "there is none yet: the photo itself"


def check_picture(path: Path) -> None:
    pixels = np.asarray(Image.open(path).convert("RGB"))
    assert int((pixels != 255).any(axis=2).sum()) >= LEAST_INK_PX, f"{path} is blank"


def check_project(project: dict[str, Any], scene: Scene, *, styled: bool = True) -> None:
    assert project["read"]
    assert project["crs"] == "EPSG:3857"
    assert [layer["name"] for layer in project["layers"]] == [layer.title for layer in LAYERS]
    for found, layer in zip(project["layers"], LAYERS, strict=True):
        assert found["valid"], found
        assert found["count"] == scene.counts[layer.name], found
        if styled:
            check_style(found, layer.name)
    assert project["groups"] == list(GROUPS)
    assert project["shown"] == sum(layer.shown for layer in LAYERS)
    check_picture(Path(project["picture"]))


def test_a_picture_of_nothing_is_noticed(tmp_path: Path) -> None:
    Image.new("RGB", (1000, 600), "white").save(tmp_path / "white.png")
    with pytest.raises(AssertionError, match="is blank"):
        check_picture(tmp_path / "white.png")


def test_geopackage_and_files(scene: Scene, tmp_path: Path) -> None:
    with Catalog.open(str(scene.catalog)) as catalog:
        for name in ("out.geojson", "out.fgb", "out.gpkg", f"{scene.name}.qgz"):
            export_catalog(catalog, tmp_path / name)
    layers = [("ogr", f"{scene.catalog}|layername={layer.name}", layer.name) for layer in LAYERS]
    layers += [("ogr", str(tmp_path / "out.geojson"), "geojson"), ("ogr", str(tmp_path / "out.fgb"), "flatgeobuf")]
    copied = ("corrections", "displacement", "error_ellipse")
    layers += [("ogr", f"{tmp_path / 'out.gpkg'}|layername={name}", name) for name in copied]
    result = in_qgis(tmp_path, layers, tmp_path / f"{scene.name}.qgz")
    assert len(result["layers"]) == len(LAYERS) + 5
    for layer in result["layers"]:
        like = LIKE.get(layer["name"], layer["name"])
        check_layer(layer, like, scene.counts[like])
    check_project(result["projects"][0], scene)
    photos = [layer for layer in result["layers"] if LIKE.get(layer["name"], layer["name"]) in PHOTOS]
    assert {layer["name"] for layer in photos} == {*PHOTOS, *LIKE}
    for layer in photos:
        if layer["count"]:
            check_click(layer, scene.name)


def test_evidence_is_opened_where_there_is_some(tmp_path: Path) -> None:
    """And what a provider wrote stays text."""
    photo = tmp_path / "a photo.jpg"
    Path(f"{photo}.evidence.png").touch()
    with Catalog.open(str(tmp_path / "c.gpkg"), create=True) as catalog:
        world.fill(catalog, 1)
        source = Attribution("<b>ana</b>", 'javascript:alert("x")', "CC-BY-SA-4.0")
        catalog.upsert_images([replace(world.image(0), path=photo, attribution=source)])
        export_catalog(catalog, tmp_path / "c.qgz")
    layer = ("ogr", f"{tmp_path / 'c.gpkg'}|layername=current_correction", "current_correction")
    (found,) = in_qgis(tmp_path, [layer], tmp_path / "c.qgz")["layers"]
    assert found["actions"]["Open the evidence picture"].strip() == f"file://{photo}.evidence.png"
    assert found["actions"]["Open its page"].strip() == ""
    assert "&lt;b&gt;ana&lt;/b&gt;" in found["tip"]
    assert "javascript" not in found["tip"]


def test_two_maps_show_before_and_after(demo_scene: Scene, tmp_path: Path) -> None:
    """The README's picture: reported positions on the left, corrected ones on the right, of the same place."""
    with Catalog.open(str(demo_scene.catalog)) as catalog:
        export_catalog(catalog, tmp_path / "demo.qgz")
    picture = draw_before_after(demo_scene.catalog.parent, tmp_path / "demo.qgz")
    pixels = np.asarray(Image.open(picture).convert("RGB"))
    below_titles = pixels[len(pixels) // 8 : 7 * len(pixels) // 8]
    left, right = np.split(below_titles, [below_titles.shape[1] // 2], axis=1)
    best = [int(part) for part in red_green_blue(ERROR_CLASSES[0][1]).split(",")]
    reported, building = [0xD5, 0x5E, 0x00], [0xE5, 0xE1, 0xD8]

    def share(half: np.ndarray[Any, Any], colour: list[int]) -> float:
        return float((half == colour).all(axis=2).mean())

    assert share(left, best) == 0.0 < share(right, best)
    assert share(left, reported) > share(right, reported) > 0.0
    assert share(left, building) == pytest.approx(share(right, building), abs=0.02), "the same place"
    assert share(left, building) > 0.2


@pytest.mark.postgis
def test_postgis_as_a_reader(scene: Scene, tmp_path: Path, postgis_url: str, as_reader: str) -> None:
    """As people look at it: not the owner, but a member of geocorrect_reader."""
    with Catalog.open(str(scene.catalog)) as source, Catalog.open(postgis_url) as catalog:
        copy_catalog(source, catalog)
        export_catalog(catalog, tmp_path / f"{scene.name}-server.qgz")
    url = make_url(as_reader)
    host, port = url.query.get("host") or url.host, url.port or url.query.get("port") or 5432
    base = (
        f"dbname='{url.database}' host='{host}' port='{port}' user='{url.username}' password='{url.password}' key='fid'"
    )
    spatial = {view.name for view in views_of("postgresql") if view.spatial} | {"image", "anchor"}
    assert {layer.name for layer in LAYERS} <= spatial
    layers = [
        ("postgres", f'{base} srid=4326 type={layer.wkb} table="geocorrect"."{layer.name}" (geom)', layer.name)
        for layer in LAYERS
    ]
    who = {"PGUSER": str(url.username), "PGPASSWORD": str(url.password)}
    result = in_qgis(tmp_path, layers, tmp_path / f"{scene.name}-server.qgz", who)
    # The project carries its styles; layers that a person adds by hand find theirs in public.layer_styles.
    check_project(result["projects"][0], scene)
    assert [layer["count"] for layer in result["layers"]] == [scene.counts[layer.name] for layer in LAYERS]
    for layer in result["layers"]:
        check_layer(layer, layer["name"], scene.counts[layer["name"]])


@pytest.mark.parametrize("count", [30, 2500], ids=["row by row", "in bulk"])
def test_gdal_finds_the_geopackages_valid(tmp_path: Path, count: int) -> None:
    """GDAL's own validator (package python3-gdal, which QGIS needs) on a catalog and on a copy for others.

    From 2000 results on, the catalog writes blobs and spatial index itself.
    """
    with Catalog.open(str(tmp_path / "catalog.gpkg"), create=True) as catalog:
        world.fill(catalog, count)
        export_catalog(catalog, tmp_path / "copy.gpkg")
    hidden = ("PYTHONPATH", "PROJ_LIB", "GDAL_DATA")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    for name in ("catalog.gpkg", "copy.gpkg"):
        command = [SYSTEM_PYTHON, "-m", "osgeo_utils.samples.validate_gpkg", str(tmp_path / name)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr[-1000:]
        assert done.stderr == "", name

"""Real QGIS opens everything that we write: valid, counted, styled. Run on demand: `pytest -m qgis`.

Needs `apt-get install --no-install-recommends qgis python3-qgis qgis-providers` (1.1 GB).
GEOCORRECT_QGIS_PICTURES names a folder that keeps the rendered pictures.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import catalog_world as world
import pytest

from geocorrect.catalog import Catalog
from geocorrect.catalog.views import views_of
from geocorrect.export.export import export_catalog
from geocorrect.export.qgis import LAYERS

pytestmark = pytest.mark.qgis
SYSTEM_PYTHON = "/usr/bin/python3"
SCRIPT = Path(__file__).parent / "in_qgis.py"
RENDERERS = {"current_correction": "graduatedSymbol", "rejected": "categorizedSymbol"}
COUNTS = {"current_correction": 24, "rejected": 6, "displacement": 24, "error_ellipse": 24, "coverage": 24, "image": 30,
          "anchor": 31, "sequence_bias": 3}  # fmt: skip


@pytest.fixture(scope="module")
def _qgis() -> None:
    probe = subprocess.run([SYSTEM_PYTHON, "-c", "import qgis.core"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("QGIS is not installed: apt-get install --no-install-recommends qgis python3-qgis qgis-providers")


def in_qgis(folder: Path, layers: list[tuple[str, str, str]], projects: list[Path]) -> dict[str, Any]:
    pictures = Path(os.environ.get("GEOCORRECT_QGIS_PICTURES", folder))
    job = {"layers": layers, "projects": [str(p) for p in projects], "pictures": str(pictures)}
    (folder / "job.json").write_text(json.dumps(job))
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "XDG_RUNTIME_DIR": str(folder), "HOME": str(folder)}
    for name in ("PYTHONPATH", "VIRTUAL_ENV", "PROJ_DATA", "PROJ_LIB", "GDAL_DATA"):
        environment.pop(name, None)
    command = [SYSTEM_PYTHON, str(SCRIPT), str(folder / "job.json"), str(folder / "result.json")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return result


def check_layers(found: list[dict[str, Any]]) -> None:
    for layer in found:
        name = layer["name"].split(".")[-1]
        assert layer["valid"], layer
        # GDAL reads a GeoJSON with heights as EPSG:4979, the ellipsoidal WGS84, which is what it holds.
        assert layer["crs"] == ("EPSG:4979" if name == "geojson" else "EPSG:4326"), layer
        if name in COUNTS:
            assert layer["count"] == COUNTS[name], layer
            assert layer["renderer"] == RENDERERS.get(name, "singleSymbol"), layer
        if name == "current_correction":
            assert layer["symbols"] == 5, layer


def check_project(project: dict[str, Any]) -> None:
    assert project["read"]
    assert project["crs"] == "EPSG:3857"
    assert [layer["name"] for layer in project["layers"]] == [layer.title for layer in LAYERS]
    assert all(layer["valid"] for layer in project["layers"])
    assert [layer["count"] for layer in project["layers"]] == [COUNTS[layer.name] for layer in LAYERS]
    renderers = {layer.name: found["renderer"] for layer, found in zip(LAYERS, project["layers"], strict=True)}
    assert renderers["current_correction"] == "graduatedSymbol"
    assert renderers["rejected"] == "categorizedSymbol"


@pytest.mark.usefixtures("_qgis")
def test_geopackage_and_files(tmp_path: Path) -> None:
    catalog_path = tmp_path / "catalog.gpkg"
    with Catalog.open(str(catalog_path), create=True) as catalog:
        world.fill(catalog, 30)
        for name in ("out.geojson", "out.fgb", "out.gpkg", "project.qgz"):
            export_catalog(catalog, tmp_path / name)
    spatial = [view.name for view in views_of("sqlite") if view.spatial] + ["image", "anchor"]
    layers = [("ogr", f"{catalog_path}|layername={name}", f"gpkg.{name}") for name in spatial]
    layers += [("ogr", str(tmp_path / "out.geojson"), "geojson"), ("ogr", str(tmp_path / "out.fgb"), "flatgeobuf")]
    layers += [("ogr", f"{tmp_path / 'out.gpkg'}|layername={n}", f"copy.{n}") for n in ("corrections", "error_ellipse")]
    result = in_qgis(tmp_path, layers, [tmp_path / "project.qgz"])
    check_layers(result["layers"])
    by_name = {layer["name"]: layer for layer in result["layers"]}
    for name in ("geojson", "flatgeobuf", "copy.corrections"):
        assert (by_name[name]["count"], by_name[name]["renderer"]) == (24, "graduatedSymbol"), by_name[name]
    check_project(result["projects"][0])


@pytest.mark.postgis
@pytest.mark.usefixtures("_qgis")
def test_postgis(tmp_path: Path, postgis_url: str) -> None:
    with Catalog.open(postgis_url, create=True) as catalog:
        world.fill(catalog, 30)
        export_catalog(catalog, tmp_path / "server.qgz")
        database, host = catalog.engine.url.database, catalog.engine.url.query.get("host") or catalog.engine.url.host
        user = catalog.engine.url.username
    base = f"dbname='{database}' host='{host}' user='{user}' key='fid' srid=4326"
    spatial = [view for view in views_of("postgresql") if view.spatial]
    layers = [("postgres", f'{base} table="geocorrect"."{v.name}" (geom)', f"postgis.{v.name}") for v in spatial]
    result = in_qgis(tmp_path, layers, [tmp_path / "server.qgz"])
    check_layers(result["layers"])
    check_project(result["projects"][0])


@pytest.mark.usefixtures("_qgis")
def test_gdal_finds_the_geopackages_valid(tmp_path: Path) -> None:
    """GDAL's own validator (package python3-gdal, which QGIS needs) on a catalog and on a copy for others."""
    with Catalog.open(str(tmp_path / "catalog.gpkg"), create=True) as catalog:
        world.fill(catalog, 30)
        export_catalog(catalog, tmp_path / "copy.gpkg")
    hidden = ("PYTHONPATH", "PROJ_LIB", "GDAL_DATA")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    for name in ("catalog.gpkg", "copy.gpkg"):
        command = [SYSTEM_PYTHON, "-m", "osgeo_utils.samples.validate_gpkg", str(tmp_path / name)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr[-1000:]
        assert done.stderr == "", name

"""STAC items: valid by pystac's schemas and stac-validator, true by their numbers, the same from GeoParquet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyproj import Transformer
from support import catalog_world as world
from support.judges import schema_file

from geocorrect.catalog import Catalog
from geocorrect.export.export import export_catalog
from geocorrect.export.formats import Format
from geocorrect.export.stac.item import spdx
from geocorrect.geometry.camera import Camera
from geocorrect.records import Attribution

pystac = pytest.importorskip("pystac")


def core_validator() -> Any:
    """pystac's own; its import builds grammars for seconds, in every process that collects these tests."""
    return pytest.importorskip("pystac.validation.stac_validator").JsonSchemaSTACValidator()


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.open(str(tmp_path / "c.gpkg"), create=True) as opened:
        world.fill(opened, 8)
        opened.upsert_images([
            replace(world.image(1), captured_at=None),
            replace(world.image(2), camera=Camera.spherical(2000, 1000), path=None, device_make=None),
            replace(world.image(3), camera=None, attribution=Attribution("bob", "", "Licence ouverte 2.0, Etalab")),
        ])  # fmt: skip
        yield opened


def items(folder: Path) -> dict[str, Any]:
    return {item["id"]: item for item in json.loads((folder / "items.json").read_text())["features"]}


@pytest.mark.long
def test_items_and_collection_are_valid(catalog: Catalog, tmp_path: Path) -> None:
    """Core schemas are bundled with pystac; those of extensions come from GEOCORRECT_SCHEMAS."""
    assert export_catalog(catalog, tmp_path / "stac", Format.STAC) == 5
    assert "1001\tthe time of capture is unknown" in (tmp_path / "stac" / "left_out.txt").read_text()
    core = core_validator()
    for item in items(tmp_path / "stac").values():
        core.validate_core(item, pystac.STACObjectType.ITEM, "1.1.0")
    collection = json.loads((tmp_path / "stac" / "collection.json").read_text())
    core.validate_core(collection, pystac.STACObjectType.COLLECTION, "1.1.0")
    read = pystac.ItemCollection.from_file(str(tmp_path / "stac" / "items.json"))
    assert sorted(item.id for item in read) == ["1000", "1002", "1003", "1005", "1007"]
    assert collection["extent"]["temporal"]["interval"] == [["2026-03-01T10:00:00.000Z", "2026-03-01T10:00:07.000Z"]]
    assert (collection["license"], read[0].properties["license"]) == ("other", "CC-BY-SA-4.0")


def published(*extensions: str) -> dict[str, str]:
    """Address and file of each schema, so that stac-validator asks no network: the core ones are part of pystac."""
    core = Path(pystac.__file__).parent / "validation" / "jsonschemas"
    files = {f"https://geojson.org/schema/{file.name}": file for file in (core / "geojson").glob("*.json")}
    for file in (core / "stac-spec" / "v1.1.0").glob("*.json"):
        for kind in ("item", "collection", "catalog"):
            files[f"https://schemas.stacspec.org/v1.1.0/{kind}-spec/json-schema/{file.name}"] = file
    for name in extensions:
        extension, version = name.rsplit("-", 1)
        files[f"https://stac-extensions.github.io/{extension}/{version}/schema.json"] = schema_file(f"{name}.json")
    return {address: str(file) for address, file in files.items()}


def judged(what: Any, schemas: dict[str, str], **options: bool) -> dict[str, Any]:
    """What stac-validator says of an item or a collection."""
    validate = pytest.importorskip("stac_validator.stac_validator").StacValidate
    judge = validate(schema_map=schemas, **options)
    judge.validate_dict(json.loads(json.dumps(what)))
    found: dict[str, Any] = judge.message[0]
    return found


def test_stac_validator_finds_items_and_collection_valid(catalog: Catalog, tmp_path: Path) -> None:
    export_catalog(catalog, tmp_path / "stac", Format.STAC)
    schemas, written = published(), items(tmp_path / "stac")
    for what in (*written.values(), json.loads((tmp_path / "stac" / "collection.json").read_text())):
        assert judged(what, schemas, core=True)["valid_stac"], judged(what, schemas, core=True)
    written["1000"]["properties"]["datetime"] = "yesterday"
    assert not judged(written["1000"], schemas, core=True)["valid_stac"]


EXTENSIONS = ["view-v1.1.0", "perspective-imagery-v1.0.0", "projection-v2.0.0"]


@pytest.mark.parametrize("name", EXTENSIONS)
def test_stac_validator_finds_that_items_follow_the_extensions(catalog: Catalog, tmp_path: Path, name: str) -> None:
    schemas = published(name)
    export_catalog(catalog, tmp_path / "stac", Format.STAC)
    address = next(iter(set(schemas) - set(published())))
    wrong = {"view": "view:azimuth", "perspective-imagery": "pers:rotation_matrix", "projection": "proj:bbox"}
    for item in items(tmp_path / "stac").values():
        assert address in item["stac_extensions"]
        item["stac_extensions"] = [address]
        assert judged(item, schemas, extensions=True)["valid_stac"], judged(item, schemas, extensions=True)
        item["properties"][wrong[name.rsplit("-", 1)[0]]] = "no number"
        assert not judged(item, schemas, extensions=True)["valid_stac"]


def test_pose_and_lens_say_where_a_point_appears(catalog: Catalog, tmp_path: Path) -> None:
    """A point 20 m ahead, 3 m to the left and 1 m higher, by the item's own numbers and by our camera."""
    export_catalog(catalog, tmp_path / "stac", Format.STAC)
    item = items(tmp_path / "stac")["1000"]["properties"]
    point_enu = np.array([20.0, 1.0, 2.8])
    to_ecef = Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True)
    point = np.array(to_ecef.transform(*(float(v) for v in world.ROME.wgs84_from_enu(point_enu))))
    rotation = np.reshape(item["pers:rotation_matrix"], (3, 3))
    x, y, z = rotation @ (point - item["pers:perspective_center"])
    seen = world.correction(0).world_from_cam.inverse().apply(point_enu)
    np.testing.assert_allclose([x, -y, -z], seen, atol=1e-3)
    assert z < 0 < y  # in front of the camera and above its axis
    assert item["view:azimuth"] == pytest.approx(90.0, abs=1e-3)
    assert item["geocorrect:expected_error_m"] == pytest.approx(0.2)
    assert item["geocorrect:depth_is_oracle"] is True
    assert item["pers:interior_orientation"]["sensor_array_dimensions"] == [1024, 768]
    pano = items(tmp_path / "stac")["1002"]
    assert (pano["assets"], pano["properties"]["pers:interior_orientation"]["field_of_view"]) == ({}, 360.0)
    picture = (tmp_path / "stac" / items(tmp_path / "stac")["1000"]["assets"]["image"]["href"]).resolve()
    assert picture == Path("img/0.jpg").absolute()


def test_licences() -> None:
    assert spdx("CC BY-SA 4.0") == "CC-BY-SA-4.0"
    assert spdx("Licence ouverte 2.0, Etalab") == spdx("") == "other"


@pytest.mark.long
def test_the_same_items_from_geoparquet(catalog: Catalog, tmp_path: Path) -> None:
    arrow = pytest.importorskip("stac_geoparquet.arrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    assert export_catalog(catalog, tmp_path / "items.parquet", Format.STAC_GEOPARQUET) == 5
    export_catalog(catalog, tmp_path / "stac", Format.STAC)
    core, expected = core_validator(), items(tmp_path / "stac")
    read = {item["id"]: item for item in arrow.stac_table_to_items(parquet.read_table(tmp_path / "items.parquet"))}
    assert set(read) == set(expected)
    for key, item in read.items():
        core.validate_core(item, pystac.STACObjectType.ITEM, "1.1.0")
        ours = expected[key]["properties"]
        assert item["geometry"]["coordinates"] == pytest.approx(tuple(expected[key]["geometry"]["coordinates"]))
        for name in ("pers:rotation_matrix", "geocorrect:expected_error_m", "license", "geocorrect:run_key"):
            assert item["properties"][name] == ours[name]
        assert item["properties"]["datetime"][:19] == ours["datetime"][:19]
        assert [link["rel"] for link in item["links"]] == (["via"] if key != "1003" else [])

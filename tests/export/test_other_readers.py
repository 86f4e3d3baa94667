"""Bundles are opened by the programs that they are made for, not only by our reading of their formats."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support import catalog_world as world
from support.judges import judge, run

from geocorrect.catalog import Catalog
from geocorrect.export.export import export_catalog
from geocorrect.export.formats import Format
from geocorrect.geometry.camera import Camera

# Cameras of several models, and names as users give them.
CAMERAS = {
    0: Camera.pinhole(640, 480, 500, 501, 320, 240),
    1: Camera.from_opencv(640, 480, [500, 500, 320, 240], [0.1, 0, 0, 0, 0.01]),
    2: Camera.spherical(2000, 1000),
}
NAMES = {0: "Piazza di Spagna (1).jpg", 1: "Zoë's ride.jpg", 2: "pano.jpg"}


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.open(str(tmp_path / "c.gpkg"), create=True) as opened:
        world.fill(opened, 6)
        opened.upsert_images(
            replace(world.image(i), camera=CAMERAS[i], path=Path(f"photos of May/{NAMES[i]}")) for i in CAMERAS
        )
        yield opened


def test_colmap_reads_the_model(catalog: Catalog, tmp_path: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap", exc_type=ImportError)
    assert export_catalog(catalog, tmp_path / "my model", Format.COLMAP) == 4
    read = pycolmap.Reconstruction(tmp_path / "my model")
    by_name = {image.name: image for image in read.images.values()}
    # COLMAP's text format ends a name at its first space.
    names = {0: "1000_Piazza_di_Spagna_(1).jpg", 1: "1001_Zoë's_ride.jpg", 3: "3.jpg", 5: "5.jpg"}
    assert set(by_name) == set(names.values())
    listed = (tmp_path / "my model" / "renamed.txt").read_text(encoding="utf-8").splitlines()[1:]
    assert listed == [f"{names[index]}\t{NAMES[index]}" for index in (0, 1)]
    for index, name in names.items():
        image, pose = by_name[name], world.correction(index).world_from_cam
        np.testing.assert_allclose(image.projection_center(), pose.translation_m, atol=1e-9)
        points = pose.translation_m + np.array([[10.0, 1.0, 0.5], [8.0, -3.0, 1.0]])
        ours, _ = CAMERAS.get(index, world.CAMERA).project(pose.inverse().apply(points))
        theirs = np.array([image.project_point(point) for point in points])
        np.testing.assert_allclose(theirs - 0.5, ours, atol=1e-6)


ACCEPTED = """
import json, sys
from mapillary_tools.serializer.description import DescriptionJSONSerializer, ImageDescriptionFileSchemaValidator
for entry in json.load(open(sys.argv[1], encoding="utf-8")):
    if "error" not in entry:
        ImageDescriptionFileSchemaValidator.validate(entry)
        assert DescriptionJSONSerializer.from_desc(entry).lat == entry["MAPLatitude"]
"""


def test_mapillary_tools_accepts_the_sidecar(catalog: Catalog, tmp_path: Path) -> None:
    """Against the JSON schema that the uploader's tool checks with, in the environment of the judges."""
    python = judge("python")
    catalog.upsert_images([replace(world.image(5), captured_at=None)])
    assert export_catalog(catalog, tmp_path / "again", Format.SIDECAR) == 4
    file = tmp_path / "again" / "mapillary_image_description.json"
    run(python, "-c", ACCEPTED, str(file))
    described = json.loads(file.read_text())
    assert len([entry for entry in described if "error" not in entry]) == 4
    assert [entry["error"]["message"] for entry in described if "error" in entry] == ["the capture time is unknown"]

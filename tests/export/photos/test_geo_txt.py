"""ODM's geo.txt, read as `opendm/geo.py` reads it: the projection, then white space between values."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from pyproj import CRS
from support import catalog_world as world

from geocorrect.catalog import Catalog
from geocorrect.export.export import export_catalog
from geocorrect.export.photos.geo_txt import odm_angles_deg
from geocorrect.geometry.frame import rotation_from_heading


def odm_axes_enu(yaw_deg: float, pitch_deg: float, roll_deg: float) -> np.ndarray:
    """(3, 3) right, down and view of the camera in east, north, up, as ODM (`compute_opk`) builds them."""
    y, p, r = np.radians([yaw_deg, pitch_deg, roll_deg])
    about_z = np.array([[np.cos(y), -np.sin(y), 0], [np.sin(y), np.cos(y), 0], [0, 0, 1]])
    about_y = np.array([[np.cos(p), 0, np.sin(p)], [0, 1, 0], [-np.sin(p), 0, np.cos(p)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(r), -np.sin(r)], [0, np.sin(r), np.cos(r)]])
    top, right, view = (about_z @ about_y @ about_x).T  # in north, east, down
    return np.array([[v[1], v[0], -v[2]] for v in (right, -top, view)]).T


@pytest.mark.parametrize(
    "angles_deg", [(90.0, 2.0, 1.0), (90.0, 0.0, 10.0), (200.0, -5.0, -3.0), (30.0, 0.0, 0.0), (359.0, -60.0, 170.0)]
)
def test_odms_angles_turn_as_the_pose_does(angles_deg: tuple[float, float, float]) -> None:
    heading_deg, pitch_deg, roll_deg = angles_deg
    stored = SimpleNamespace(heading_deg=heading_deg, pitch_deg=pitch_deg, roll_deg=roll_deg)
    found = odm_axes_enu(*odm_angles_deg(stored))  # type: ignore[arg-type]
    np.testing.assert_allclose(found, rotation_from_heading(*angles_deg).as_matrix(), atol=1e-9)


def test_places_angles_and_accuracies(tmp_path: Path) -> None:
    with Catalog.open(str(tmp_path / "c.gpkg"), create=True) as catalog:
        world.fill(catalog, 5)
        catalog.upsert_images([replace(world.image(1), path=Path("img/my photo.jpg"))])
        assert export_catalog(catalog, tmp_path / "geo.txt") == 3
    head, *lines = (tmp_path / "geo.txt").read_text(encoding="utf-8").splitlines()
    assert CRS.from_user_input(head) == CRS.from_epsg(4979)
    rows = {line.split()[0]: line.split()[1:] for line in lines if not line.startswith("#")}
    assert sorted(rows) == ["0.jpg", "2.jpg", "3.jpg"]
    for index in (0, 2, 3):
        numbers, (image_id, creator) = [float(v) for v in rows[f"{index}.jpg"][:8]], rows[f"{index}.jpg"][8:]
        enu = world.ROME.enu_from_wgs84(*numbers[:3])
        np.testing.assert_allclose(enu, [5.0 * index, -2.0, 1.8], atol=2e-3)
        # One sigma of the height is √0.02.
        assert numbers[6:] == pytest.approx([0.2 + 0.01 * index, 0.02**0.5], abs=2e-3)
        pose = world.correction(index).world_from_cam
        np.testing.assert_allclose(odm_axes_enu(*numbers[3:6]), pose.rotation.as_matrix(), atol=1e-4)
        assert (image_id, creator) == (str(1000 + index), "ana")
    comments = "\n".join(line for line in lines if line.startswith("#"))
    assert "left out, rename the photo (white space or # in its name): my photo.jpg" in comments
    assert "CC-BY-SA-4.0" in comments

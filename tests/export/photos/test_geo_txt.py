"""ODM's geo.txt, read as `opendm/geo.py` reads it: the projection, then white space between values."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pyproj import CRS
from support import catalog_world as world

from geocorrect.catalog import Catalog
from geocorrect.export.export import export_catalog


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
        # Looks east, 2° up, 1° clockwise; ODM's pitch is 0 at the nadir. One sigma of the height is √0.02.
        assert numbers[3:] == pytest.approx([90.0, 92.0, 1.0, 0.2 + 0.01 * index, 0.02**0.5], abs=2e-3)
        assert (image_id, creator) == (str(1000 + index), "ana")
    comments = "\n".join(line for line in lines if line.startswith("#"))
    assert "left out, rename the photo (white space or # in its name): my photo.jpg" in comments
    assert "CC-BY-SA-4.0" in comments

"""The surroundings of anchors as an area."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support import catalog_world as world

from geocorrect.catalog import Catalog
from geocorrect.config import AreaSection
from geocorrect.errors import InputError
from geocorrect.geometry.frame import Frame
from geocorrect.harvest.near_anchors import area_around_anchors


@pytest.mark.parametrize("frame", [world.ROME, Frame("fiji", 179.9999, -17.0, 5.0), Frame("north", 25.0, 78.0, 0.0)])
def test_everything_within_the_radius_is_inside(tmp_path: Path, frame: Frame) -> None:
    """Anchors stand every 5 m from 0 to 50 m east; across ±180° and far north, too."""
    with Catalog.open(str(tmp_path / "c.gpkg"), create=True) as catalog:
        with pytest.raises(InputError, match="no anchors to harvest around"):
            area_around_anchors(catalog, 60.0)
        catalog.set_frame(frame)
        catalog.add_alignment(world.alignment())
        catalog.upsert_anchors(world.anchor(i, frame) for i in range(11))
        area = area_around_anchors(catalog, 60.0)
        catalog.upsert_anchors([world.anchor(100, frame)])
        grown = area_around_anchors(catalog, 60.0)
    rng = np.random.default_rng(5)
    points = rng.uniform([-120, -120], [170, 120], (800, 2))
    distances = np.min(np.linalg.norm(points[:, None] - [(5.0 * i, 0.0) for i in range(11)], axis=2), axis=1)
    lon, lat, _ = frame.wgs84_from_enu(np.column_stack([points, np.zeros(800)]))
    inside = np.array([area.contains(x, y) for x, y in zip(lon, lat, strict=True)])
    assert inside[distances <= 60.0].all()
    assert not inside[distances >= 1.15 * 60.0].any()  # half a cell's diagonal, and what a polygon adds
    far_lon, far_lat, _ = frame.wgs84_from_enu([500.0, 30.0, 0.0])
    assert not area.contains(float(far_lon), float(far_lat))
    assert grown.contains(float(far_lon), float(far_lat))


def test_one_way_to_say_where() -> None:
    with pytest.raises(ValueError, match="one of bbox, file and around_anchors_m"):
        AreaSection(bbox=(0.0, 0.0, 1.0, 1.0), around_anchors_m=60.0)
    with pytest.raises(ValueError, match="must be above 0"):
        AreaSection(around_anchors_m=-1.0)

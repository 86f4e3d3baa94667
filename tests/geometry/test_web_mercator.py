"""The world as a square, beside mercantile's."""

from __future__ import annotations

import mercantile
import numpy as np

from geocorrect.geometry.web_mercator import LIMIT_DEG, world_from_wgs84


def test_places_are_in_the_tile_that_mercantile_names() -> None:
    lon = np.array([12.5, -179.9, 0.0, 151.2, -70.6])
    lat = np.array([41.9, 84.9, 0.0, -33.9, -84.0])
    for zoom in (3, 17):
        found = np.floor(world_from_wgs84(lon, lat) * 2**zoom).astype(int).tolist()
        assert found == [
            [tile.x, tile.y] for tile in (mercantile.tile(*place, zoom) for place in zip(lon, lat, strict=True))
        ]


def test_beyond_the_limit_is_the_edge() -> None:
    edge = world_from_wgs84(np.array([0.0, 0.0]), np.array([90.0, -90.0]))
    np.testing.assert_allclose(edge, [[0.5, 0.0], [0.5, 1.0]], atol=1e-8)
    assert mercantile.bounds(0, 0, 0).north - LIMIT_DEG < 1e-6

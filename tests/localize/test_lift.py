"""Depth at a match: planes however slanted, edges however smeared, and places where nothing is known."""

from __future__ import annotations

import numpy as np
import pytest

from geocorrect.geometry.camera import Camera
from geocorrect.localize.lift import lift
from geocorrect.localize.options import LiftOptions
from geocorrect.records import DepthMap

CAMERA = Camera.pinhole(200, 100, 160.0, 160.0, 99.5, 49.5)
U, V = np.meshgrid(np.arange(200), np.arange(100))


def lifted(z_m: np.ndarray, px: list[list[float]]) -> np.ndarray:
    return lift(np.array(px), DepthMap("map", False, z_m=z_m.astype(np.float32)), CAMERA, LiftOptions())[0]


@pytest.mark.parametrize("slope", [0.0, 0.4, 3.0, 12.0])
def test_a_plane_is_no_edge_however_slanted(slope: float) -> None:
    z_m = 20.0 / (1.0 + slope * (V - 20) / 160.0)
    px = [[50.3, 40.6], [120.0, 70.2], [10.4, 90.1]]
    expected = [20.0 / (1.0 + slope * (v - 20) / 160.0) for _, v in px]
    np.testing.assert_allclose(lifted(z_m, px), expected, rtol=1e-3)


@pytest.mark.parametrize("smear_px", [0.0, 2.0, 4.0])
def test_an_edge_is_refused_also_when_it_is_smeared(smear_px: float) -> None:
    step = np.clip((U - 100) / max(smear_px, 1e-6) + 0.5, 0.0, 1.0)
    z_m = 8.0 + 12.0 * step
    on_edge = lifted(z_m, [[99.0, 50.0], [100.0, 20.0], [101.0, 80.0]])
    assert np.isnan(on_edge).all()
    np.testing.assert_allclose(lifted(z_m, [[80.0, 50.0], [120.0, 20.0]]), [8.0, 20.0], rtol=1e-6)


def test_unknown_depth_around_a_match_is_no_edge() -> None:
    z_m = np.full((100, 200), 9.0)
    z_m[40:45, 60:80] = np.nan
    assert lifted(z_m, [[70.0, 47.0]])[0] == pytest.approx(9.0)
    assert np.isnan(lifted(z_m, [[70.0, 42.0]])[0])

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from geocorrect.depth.files import DepthFilesOptions, FilesDepth
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.localize.lift import lift
from geocorrect.localize.options import LiftOptions
from geocorrect.records import Anchor

CAMERA = Camera.pinhole(64, 48, 60, 60, 31.5, 23.5)
ANCHOR = Anchor("a", "table", Path("a.png"), CAMERA, Pose.identity(), "known")


@pytest.mark.parametrize("unknown", [0.0, np.nan])
@pytest.mark.parametrize("dense", [False, True])
def test_sparse_depth_is_samples_and_a_map_stays_a_map(tmp_path: Path, unknown: float, dense: bool) -> None:
    """A projected scan has no four known pixels around a match: as a map it gave no depth at all."""
    z_m = np.full((48, 64), unknown, np.float32)
    z_m[:, :40] = 8.0 if dense else unknown
    z_m[::3, 1::3] = 8.0
    np.save(tmp_path / "a.npy", z_m)
    depth = FilesDepth(DepthFilesOptions(tmp_path)).depth(ANCHOR, np.zeros((48, 64, 3), np.uint8))
    assert (depth.z_m is not None) == dense
    matches = np.random.default_rng(0).uniform(4, 35, (100, 2))
    found_m, sigma = lift(matches, depth, CAMERA, LiftOptions())
    assert found_m == pytest.approx(np.full(100, 8.0))
    assert sigma == pytest.approx(np.full(100, 0.1))

"""A real network's metric depth with real matches and a true pose, through lifting and plain absolute pose.

The error that remains (about 6°) is what an affine depth error does to plain PnP; the joint estimator must do better.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from geocorrect.depth.validity import ValidityRules, believable
from geocorrect.geometry.camera import Camera
from geocorrect.imagery import read_image
from geocorrect.localize.lift import lift
from geocorrect.localize.options import LiftOptions, PnpOptions
from geocorrect.localize.pnp import absolute_pose
from geocorrect.records import DepthMap

pytestmark = pytest.mark.data


# Prototype with another solver: 0.03 m, 6.1° and 0.27 m, 6.0°; OpenCV and PoseLib at 0.5-2.5 px differ by as much.
@pytest.mark.parametrize(("anchor", "position_m", "rotation_deg"), [(0, 0.03, 6.1), (1, 0.27, 6.0)])
def test_plain_pnp_on_predicted_depth(shared_data: Path, anchor: int, position_m: float, rotation_deg: float) -> None:
    folder = shared_data / "depth_pair"
    info = json.loads((folder / "info.json").read_text())
    query = 1 - anchor
    image = read_image(folder / f"image{anchor}.png")
    cameras = [_camera(np.array(info[f"K{view}"]), image.shape) for view in (0, 1)]
    pixels = [np.load(folder / f"lightglue_matches_{view}.npy") for view in (0, 1)]
    predicted = np.load(folder / f"da-met_depth_{anchor}.npy").astype(np.float32)
    indoor = ValidityRules((0.2, 20.0))
    depth = DepthMap("depth_anything", is_oracle=False, z_m=believable(predicted, image, indoor))

    z_m, _ = lift(pixels[anchor], depth, cameras[anchor], LiftOptions())
    known = np.isfinite(z_m)
    assert known.mean() > 0.7
    rays = cameras[anchor].unproject(pixels[anchor][known])
    points = rays / rays[:, 2:] * z_m[known, None]
    query_rays = cameras[query].unproject(pixels[query][known])
    found = absolute_pose(query_rays, points, cameras[query].focal_x_px, 2.5, PnpOptions(), seed=0)
    assert found is not None

    one_from_zero = np.array(info["T_0to1"])
    truth = np.linalg.inv(one_from_zero) if anchor == 0 else one_from_zero
    error_m = np.linalg.norm(found.world_from_cam.translation_m - truth[:3, 3])
    turn = found.world_from_cam.rotation.as_matrix().T @ truth[:3, :3]
    error_deg = np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)))
    assert error_m == pytest.approx(position_m, abs=0.07)
    assert error_deg == pytest.approx(rotation_deg, abs=1.6)


def _camera(matrix: np.ndarray, shape: tuple[int, ...]) -> Camera:
    return Camera.pinhole(shape[1], shape[0], matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2])

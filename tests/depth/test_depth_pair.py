"""A real network's metric depth with real matches and a true pose, through lifting and plain absolute pose.

The error that remains (about 6°) is what an affine depth error does to plain PnP; the joint estimator must do better.

Two estimators are stated side by side. The published reference, 0.03 m / 6.1° and 0.27 m / 6.0°, is OpenCV's
`solvePnPRansac` with the thesis' settings (SQPnP, 10,000 iterations, 0.9999) at 4 px on the depth of the *nearest*
pixel. The house lifts bilinearly in inverse depth and solves with PoseLib at 2.5 px. Neither is more right than the
other: between 2 and 5 px either estimator moves by up to 0.2 m and 3°, because the points do not fit any one pose.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from geocorrect.depth.validity import ValidityRules, believable
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.io.pixels import read_image
from geocorrect.localize.lift import lift
from geocorrect.localize.options import LiftOptions, PnpOptions
from geocorrect.localize.pnp import absolute_pose
from geocorrect.records import DepthMap

pytestmark = pytest.mark.data

INDOOR = ValidityRules((0.2, 20.0))


@dataclass(frozen=True, eq=False)
class Pair:
    """Pixels (N, 2) and camera matrix of anchor and query, the anchor's believable depth, the true query pose."""

    anchor_px: np.ndarray
    query_px: np.ndarray
    anchor_matrix: np.ndarray
    query_matrix: np.ndarray
    z_m: np.ndarray
    anchor_from_query: np.ndarray

    def points_m(self, z_m: np.ndarray) -> np.ndarray:
        """(N, 3) points in the anchor's camera frame."""
        homogeneous = np.column_stack([self.anchor_px, np.ones(len(self.anchor_px))])
        return homogeneous @ np.linalg.inv(self.anchor_matrix).T * z_m[:, None]

    def error(self, pose: Pose) -> tuple[float, float]:
        """(metres, degrees) between a query pose in the anchor's frame and the truth."""
        turn = Rotation.from_matrix(self.anchor_from_query[:3, :3]).inv() * pose.rotation
        shift = pose.translation_m - self.anchor_from_query[:3, 3]
        return float(np.linalg.norm(shift)), float(np.degrees(turn.magnitude()))


@pytest.fixture(params=[0, 1])
def pair(request: pytest.FixtureRequest, shared_data: Path) -> Pair:
    folder, anchor = shared_data / "depth_pair", request.param
    info = json.loads((folder / "info.json").read_text())
    one_from_zero = np.array(info["T_0to1"])
    predicted = np.load(folder / f"da-met_depth_{anchor}.npy").astype(np.float32)
    px = [np.load(folder / f"lightglue_matches_{view}.npy").astype(float) for view in (0, 1)]
    matrices = [np.array(info[f"K{view}"]) for view in (0, 1)]
    return Pair(
        px[anchor],
        px[1 - anchor],
        matrices[anchor],
        matrices[1 - anchor],
        believable(predicted, read_image(folder / f"image{anchor}.png"), INDOOR),
        np.linalg.inv(one_from_zero) if anchor == 0 else one_from_zero,
    )


def test_the_reference_figures_come_out_under_the_reference_settings(
    pair: Pair, request: pytest.FixtureRequest
) -> None:
    column, row = np.rint(pair.anchor_px).astype(int).T
    z_m = pair.z_m[row, column].astype(float)
    assert np.isfinite(z_m).all()  # the validity rules take none of these matches
    cv2.setRNGSeed(0)
    found, turn, shift, _ = cv2.solvePnPRansac(
        pair.points_m(z_m),
        pair.query_px,
        pair.query_matrix,
        None,
        iterationsCount=10_000,
        reprojectionError=4.0,
        confidence=0.9999,
        flags=cv2.SOLVEPNP_SQPNP,
    )
    assert found
    expected = {0: (0.03, 6.1), 1: (0.27, 6.0)}[request.node.callspec.params["pair"]]
    error = pair.error(Pose(Rotation.from_rotvec(turn[:, 0]), shift[:, 0]).inverse())
    assert error == (pytest.approx(expected[0], abs=0.01), pytest.approx(expected[1], abs=0.1))


def test_lift_and_plain_pnp_of_the_house(pair: Pair, request: pytest.FixtureRequest) -> None:
    height, width = pair.z_m.shape
    anchor, query = _camera(pair.anchor_matrix, width, height), _camera(pair.query_matrix, width, height)
    z_m, _ = lift(pair.anchor_px, DepthMap("depth_anything", is_oracle=False, z_m=pair.z_m), anchor, LiftOptions())
    assert np.isfinite(z_m).all()
    rays = query.unproject(pair.query_px)
    found = absolute_pose(rays, pair.points_m(z_m), query.focal_x_px, 2.5, PnpOptions(), seed=0)
    assert found is not None
    expected = {0: (0.05, 6.7), 1: (0.22, 4.7)}[request.node.callspec.params["pair"]]
    error = pair.error(found.world_from_cam)
    # The seed alone moves the first by 0.01 m and 0.3°.
    assert error == (pytest.approx(expected[0], abs=0.02), pytest.approx(expected[1], abs=0.5))


def _camera(matrix: np.ndarray, width: int, height: int) -> Camera:
    return Camera.pinhole(width, height, matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2])

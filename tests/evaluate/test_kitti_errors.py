"""Error figures on poses whose error is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from geocorrect.evaluate.kitti import PoseError, pose_error, summarise_errors
from geocorrect.geometry.pose import Pose


def test_pose_error_separates_position_height_and_rotation() -> None:
    truth = Pose(Rotation.from_euler("z", 30, degrees=True), [100.0, 200.0, 5.0])
    turned = Rotation.from_euler("xz", [0.5, 30], degrees=True)
    error = pose_error("a", Pose(turned, [103.0, 204.0, 17.0]), truth, [100.0, 206.0, np.nan], 0.5)
    assert error.position_m == pytest.approx(13.0)
    assert error.horizontal_m == pytest.approx(5.0)
    assert error.rotation_deg == pytest.approx(0.5)
    assert error.reported_m == pytest.approx(6.0)


def test_summary_counts_failures_and_false_accepts() -> None:
    errors = [PoseError(str(i), 0.1 * i, 0.1 * i, 0.01 * i, 5.0, 0.1) for i in range(1, 4)]
    errors.append(PoseError("far", 7.0, 7.0, 3.0, 5.0, 0.1))
    summary = summarise_errors(errors, n_queries=6)
    assert (summary["n_accepted"], summary["n_failed"], summary["false_accepts"]) == (4, 2, 1)
    assert summary["position_max_m"] == 7.0
    assert summary["position_median_m"] == pytest.approx(0.25)

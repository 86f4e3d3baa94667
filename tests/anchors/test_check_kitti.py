"""`anchors check` on real photos: the anchor whose record was moved is named, and it alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from geocorrect.anchors.readers.kitti.raw import read_kitti_raw
from geocorrect.api.scene import AnchorSource
from geocorrect.config import Settings
from geocorrect.geometry.pose import Pose
from geocorrect.jobs.anchors.check import check_catalog
from geocorrect.localize.options import JointOptions
from geocorrect.records import AnchorIndex

MOVED_M = (0.05, -0.05, 0.04)


@pytest.mark.data
@pytest.mark.slow
def test_the_displaced_anchor_of_a_real_drive_is_named(shared_data: Path) -> None:
    """KITTI raw 0002, frames 0–5 of camera 02; frame 3 moved by 8 cm, 5 mm stated."""
    drive = read_kitti_raw(shared_data / "kitti_raw")
    anchors = {a.id: a for a in drive.anchors({"02"}, range(6))}
    moved = sorted(anchors)[3]
    pose = anchors[moved].world_from_cam
    anchors[moved] = replace(
        anchors[moved], world_from_cam=Pose(pose.rotation, pose.translation_m + np.array(MOVED_M), pose.covariance)
    )
    ids = tuple(sorted(anchors))
    index = AnchorIndex(
        ids,
        np.array([anchors[name].world_from_cam.translation_m for name in ids]),
        np.array([drive.frame.heading_deg(anchors[name].world_from_cam) for name in ids]),
        (drive.alignment.id,) * len(ids),
        ("",) * len(ids),
    )
    source = AnchorSource(drive.frame, index, lambda names: {name: anchors[name] for name in names})
    settings = Settings()
    joint = replace(JointOptions(), anchor_position_m=0.005)
    settings = settings.model_copy(update={"localize": replace(settings.localize, joint=joint)})
    outcome = check_catalog(settings, source, lambda done, total: None)
    assert list(outcome.check.named) == [moved]
    row = next(row for row in outcome.rows() if row["anchor_id"] == moved)
    np.testing.assert_allclose([row["east_m"], row["north_m"], row["up_m"]], MOVED_M, atol=0.02)
    assert outcome.exit_code == 0

"""Real clicks judged by real clicks: sets without a common image, images left out, images some frames off."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from geocorrect.anchors.alignment import position_covariance
from geocorrect.anchors.readers.vbr.calibration import read_vbr_calibration
from geocorrect.anchors.trajectory import read_tum
from geocorrect.errors import InputError
from geocorrect.georeference.build import ClickedDrive, ClickNoise, build_problem, frame_of
from geocorrect.georeference.diagnose import LeftOut, judge_leave_one_out
from geocorrect.georeference.joint.solve import solve_joint
from geocorrect.georeference.landmarks.read import read_landmarks
from geocorrect.georeference.problem import Priors
from geocorrect.georeference.run import GeoreferenceOptions, georeference, leave_one_out

INSIDE_95 = 5.99
"""χ² with 2 degrees of freedom."""


@pytest.fixture(scope="module")
def drive(shared_data: Path) -> ClickedDrive:
    campus = shared_data / "vbr_campus"
    rig = read_vbr_calibration(campus / "vbr_calib.yaml").camera("left")
    clicks = read_landmarks(campus / "landmarks_campus_train1.json")
    return ClickedDrive(read_tum(campus / "campus_train1_gt.txt"), rig, clicks, row_offset=0.12)


@pytest.mark.long
@pytest.mark.data
@pytest.mark.parametrize("images", [(0, 2, 3), (0, 3, 4), (2, 3, 4), (0, 1, 4)])
def test_two_sets_of_clicks_agree_within_their_covariance(drive: ClickedDrive, images: tuple[int, ...]) -> None:
    problem, _ = build_problem([drive], frame_of([drive]), ClickNoise(), Priors())
    own = np.isin(problem.image_index, images)
    first, second = (solve_joint(problem.subset(part), n_starts=2) for part in (own, ~own))
    track = drive.trajectory.translation_m[::100]
    apart = (first.world_from_local.apply(track) - second.world_from_local.apply(track))[:, :2]
    stated = sum(position_covariance(s.covariance, s.world_from_local, track)[:, :2, :2] for s in (first, second))
    d2 = np.einsum("ni,nij,nj->n", apart, np.linalg.inv(stated), apart)
    assert (d2 < INSIDE_95).mean() >= 0.9
    assert np.median(np.linalg.norm(apart, axis=1)) < 1.2


@pytest.mark.long
@pytest.mark.data
@pytest.mark.parametrize("rows", [20, -20, 10])
def test_clicks_some_frames_off_are_found(drive: ClickedDrive, rows: int) -> None:
    """20 frames were 2.6 m off and claimed 0.9 m."""
    off = drive.shifted(rows)
    direction = "earlier" if rows > 0 else "later"
    with pytest.raises(InputError, match=rf"taken about {abs(rows)} rows of the trajectory {direction}"):
        georeference([off], GeoreferenceOptions(max_sigma_m=1e3))


@pytest.mark.data
def test_timestamps_are_shifted_by_rows(drive: ClickedDrive) -> None:
    times = drive.trajectory.time_ns[:100]
    timed = replace(drive, image_time_ns=times).shifted(-3)
    assert timed.image_time_ns is not None
    assert timed.image_time_ns[50] == pytest.approx(int(drive.trajectory.time_ns[47]), abs=2_000_000)


@pytest.mark.long
@pytest.mark.data
def test_real_images_do_not_contradict_each_other(drive: ClickedDrive) -> None:
    problem, _ = build_problem([drive], frame_of([drive]), ClickNoise(), Priors())
    good = leave_one_out(problem, solve_joint(problem, 2), lambda p: solve_joint(p, 2))
    assert judge_leave_one_out(good) == (1.0, [])
    assert max(left.d2 for left in good) < 13.8
    assert max(left.shift_m for left in good) < 0.25


@pytest.mark.parametrize(
    ("d2", "factor", "named"),
    [((1.0, 13.0), 1.0, []), ((1.0, 55.28), 4.0, ["b"]), ((20.0, 41.46), 3.0, ["a, b"]), ((np.nan, 2.0), 1.0, [])],
)
def test_leaving_an_image_out_is_judged(d2: tuple[float, float], factor: float, named: list[str]) -> None:
    found, findings = judge_leave_one_out([LeftOut("a", 0.3, d2[0]), LeftOut("b", 1.3, d2[1])])
    assert found == pytest.approx(factor)
    assert [f.code for f in findings] == ["leave_one_out"] * len(named)
    for finding, names in zip(findings, named, strict=True):
        assert "without the clicks of image b the drive moves by 1.30 m" in finding.text
        assert f"(too much: {names})" in finding.text

"""The picture of a single localisation shows what was found, and how far the method got when nothing was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from geocorrect.errors import OutputError, Reason
from geocorrect.io.pixels import read_image
from geocorrect.localize.correct import TracedResult
from geocorrect.localize.joint.estimate import solve_joint
from geocorrect.localize.options import LocalizeOptions
from geocorrect.localize.solution import Solution
from geocorrect.records import AnchorView, Query, Rejection
from geocorrect.report.pictures.localize_picture import PictureFacts, _residuals, _Upright, draw_localization
from simulation.estimator import SimulatedCase, SimulatorOptions, simulate
from simulation.estimator_observe import observe_case


def grey(camera: object) -> np.ndarray:
    return np.full((camera.height, camera.width, 3), 128, np.uint8)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def facts() -> PictureFacts:
    case: SimulatedCase = simulate(SimulatorOptions(anchors=2, neighbours_m=()), 0)
    observations = observe_case(case, "lidar", 0.2, LocalizeOptions(), 0)
    solution = solve_joint(observations, case.query_camera, LocalizeOptions(), 0)
    assert isinstance(solution, Solution)
    query = Query("photo", grey(case.query_camera), case.query_camera, case.reported_m)
    views = tuple(AnchorView(o.anchor, grey(o.anchor.camera)) for o in observations)
    rejected = Rejection("photo", Reason.UNCERTAIN)
    return PictureFacts(query, TracedResult(rejected, tuple(observations), solution), views, ("a line",))


@pytest.mark.long
def test_picture_is_written(facts: PictureFacts, tmp_path: Path) -> None:
    draw_localization(facts, tmp_path / "picture.png")
    assert read_image(tmp_path / "picture.png").std() > 10
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]


@pytest.mark.long
def test_without_a_pose_or_a_match_it_is_still_a_picture(facts: PictureFacts, tmp_path: Path) -> None:
    rejection, used = facts.localization.result, facts.localization.observations
    for number, observations in enumerate((used, ())):
        less = replace(facts, localization=TracedResult(rejection, observations, None))
        draw_localization(less, tmp_path / f"{number}.png")
        assert read_image(tmp_path / f"{number}.png").std() > 5


def test_residuals_of_inliers_are_small_and_in_pixels(facts: PictureFacts) -> None:
    solution = facts.localization.solution
    assert solution is not None
    px, residual = _residuals(facts.query, facts.localization.observations, solution)
    inlier = np.concatenate([fit.inliers for fit in solution.fits])
    assert len(px) == len(residual) == len(inlier)
    assert 0.05 < np.median(residual[inlier]) < 2.0


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_points_turn_with_the_picture(turns: int) -> None:
    pixels = np.zeros((5, 9, 3), np.uint8)
    pixels[1, 7] = 255
    upright = _Upright(turns, (9, 5))
    column, row = upright.moved(np.array([[7.0, 1.0]]))[0].astype(int)
    assert upright.turned(pixels)[row, column].tolist() == [255, 255, 255]


def test_a_picture_that_cannot_be_written_is_named(facts: PictureFacts, tmp_path: Path) -> None:
    (tmp_path / "no folder").touch()
    with pytest.raises(OutputError, match="picture.png"):
        draw_localization(facts, tmp_path / "no folder" / "picture.png")

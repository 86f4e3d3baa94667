"""The picture of a single localisation is written and is a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from geocorrect.demo.simulator import SimulatorOptions, simulate
from geocorrect.demo.simulator_observe import observe_case
from geocorrect.imagery import read_image
from geocorrect.localize.joint import solve_joint
from geocorrect.localize.options import LocalizeOptions
from geocorrect.localize.solution import Solution
from geocorrect.records import Query
from geocorrect.report.localize_picture import draw_localization


def test_picture_is_written(tmp_path: Path) -> None:
    case = simulate(SimulatorOptions(anchors=2, neighbours_m=()), 0)
    observations = observe_case(case, "lidar", 0.2, LocalizeOptions(), 0)
    solution = solve_joint(observations, case.query_camera, LocalizeOptions(), 0)
    assert isinstance(solution, Solution)
    query = Query("photo", np.full((288, 512, 3), 128, np.uint8), case.query_camera, case.reported_m)
    draw_localization(query, observations, solution, tmp_path / "picture.png")
    assert read_image(tmp_path / "picture.png").std() > 10

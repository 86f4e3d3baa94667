"""One anchor without depth: the direction to the photo is known, the distance is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from geocorrect.geometry.frame import angle_difference_deg
from geocorrect.localize.joint.line import bearing_line
from geocorrect.localize.options import LocalizeOptions
from geocorrect.records import Query
from simulation.estimator import SimulatorOptions, simulate
from simulation.estimator_observe import observe_case

OPTIONS = LocalizeOptions()
BLANK = np.zeros((1, 1, 3), np.uint8)


@pytest.mark.parametrize("seed", range(4))
def test_the_truth_is_on_the_line_wherever_the_report_is(seed: int) -> None:
    case = simulate(SimulatorOptions(anchors=1), seed)
    [o] = observe_case(case, "none", 0.2, OPTIONS, 0)
    truth = case.world_from_query
    between = (truth.translation_m - o.anchor.world_from_cam.translation_m)[:2]
    bearing = float(np.degrees(np.arctan2(*between)))
    ahead = truth.rotation.apply([0.0, 0.0, 1.0])
    query = Query("q", BLANK, case.query_camera, case.reported_m)
    behind = replace(query, reported_enu_m=2 * o.anchor.world_from_cam.translation_m - case.reported_m)
    for one in (query, behind):
        line = bearing_line(o, one, OPTIONS, 0)
        assert line is not None
        assert abs(angle_difference_deg(line.bearing_deg, bearing)) < 4 * line.bearing_sigma_deg + 0.5
        assert abs(angle_difference_deg(line.heading_deg, np.degrees(np.arctan2(*ahead[:2])))) < 2.0
        assert "lies on the line from anchor 0" in str(line)


def test_without_a_report_there_is_no_line() -> None:
    case = simulate(SimulatorOptions(anchors=1), 0)
    [o] = observe_case(case, "none", 0.2, OPTIONS, 0)
    assert bearing_line(o, Query("q", BLANK, case.query_camera, np.full(3, np.nan)), OPTIONS, 0) is None

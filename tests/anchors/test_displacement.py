"""A displaced record is told by all views around it: right ones look it as often as stated, wrong ones more clearly."""

from __future__ import annotations

import numpy as np
import pytest
from anchors.test_check import Line
from scipy.stats import chi2

from geocorrect.anchors.displacement import displacements
from geocorrect.anchors.neighbour_view import POSITION, ROTATION, NeighbourView


def all_views(line: Line) -> dict[str, NeighbourView]:
    seen = {name: line.view(name, around) for name, around in line.neighbours.items()}
    return {name: view for name, view in seen.items() if view is not None}


def own_view_alone(view: NeighbourView) -> float:
    shift, covariance = view.shift[POSITION], view.covariance((1.0, 1.0))[POSITION, POSITION]
    return float(shift @ np.linalg.solve(covariance, shift))


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_right_records_look_displaced_as_often_as_chance_has_it(factor: float) -> None:
    """χ² of three degrees of freedom, for position and for rotation, at the noise that the drive really has."""
    found: list[list[float]] = []
    for seed in range(3):
        line = Line(200, factor, set(), seed)
        noise = dict.fromkeys(line.names, (factor, factor))
        found += [
            [o.length2(part) for part in (POSITION, ROTATION)] for o in displacements(all_views(line), noise).values()
        ]
    assert np.mean(found, axis=0) == pytest.approx([3.0, 3.0], abs=0.5)
    beyond = (np.array(found) > chi2.ppf(0.95, 3)).mean(axis=0)
    assert ((beyond > 0.02) & (beyond < 0.09)).all()


def test_the_views_around_say_more_than_the_own_one() -> None:
    """Of 30 records displaced by three stated noises nine tenths pass the 1 % limit; those around them look right."""
    together, alone, right = [], [], []
    for seed in range(30):
        line = Line(40, 1.0, {20}, seed, measured=0.3)
        views = all_views(line)
        found = {name: one.length2(POSITION) for name, one in displacements(views, {}).items()}
        together.append(found["020"])
        alone.append(own_view_alone(views["020"]))
        right += [value for name, value in found.items() if abs(int(name) - 20) > 4]
    limit = chi2.ppf(0.99, 3)
    assert np.mean(np.array(together) > limit) >= 0.9
    assert np.mean(together) > 1.05 * np.mean(alone)
    assert np.mean(right) == pytest.approx(3.0, abs=0.5)


def test_one_view_is_judged_by_itself() -> None:
    """Where nobody else is judged, the statistic is that of the view."""
    line = Line(3, 1.0, set(), 5)
    views = {"001": all_views(line)["001"]}
    assert displacements(views, {})["001"].length2(POSITION) == pytest.approx(own_view_alone(views["001"]))

"""Which anchors tell the depth of one."""

from __future__ import annotations

import numpy as np

from geocorrect.retrieve.neighbours import NeighbourFinder, NeighbourOptions
from geocorrect.retrieve.spatial import AnchorPositions


def finder(enu_m: list[list[float]], heading_deg: list[float], alignments: list[str] | None = None) -> NeighbourFinder:
    ids = [f"a{i}" for i in range(len(enu_m))]
    sites = AnchorPositions(ids, np.array(enu_m, float), np.array(heading_deg, float))
    return NeighbourFinder(sites, alignments or ["x"] * len(ids), NeighbourOptions())


def along(*metres: float) -> list[list[float]]:
    """A drive to the east, the first anchor at the origin."""
    return [[0.0, 0.0, 0.0], *([m, 0.1, 0.0] for m in metres)]


def test_two_before_and_two_behind_near_the_wished_baselines() -> None:
    drive = along(-4.0, -3.0, -2.0, -1.0, 0.2, 1.0, 2.0, 3.0, 4.0)
    found = finder(drive, [90.0] * 10).of("a0")
    places = [drive[int(name[1:])][0] for name in found]
    assert places[0] in (1.0, 2.0)
    assert places[1] in (-1.0, -2.0)
    assert places[2:] == [3.0, -3.0]


def test_coarse_drives_give_what_there_is() -> None:
    assert set(finder(along(-5.0, 5.0, 20.5), [90.0] * 4).of("a0")) == {"a1", "a2"}
    assert finder(along(50.0), [90.0] * 2).of("a0") == ()


def test_other_headings_and_other_georeferences_are_left_out() -> None:
    drive = along(1.5, -1.5, 3.0)
    assert set(finder(drive, [90.0, 270.0, 95.0, 90.0]).of("a0")) == {"a2", "a3"}
    assert finder(drive, [90.0] * 4, ["x", "y", "x", "y"]).of("a0") == ("a2",)


def test_an_anchor_without_heading_takes_the_nearest() -> None:
    assert set(finder(along(1.5, -1.5, 9.0), [np.nan] * 4).of("a0")) == {"a1", "a2", "a3"}

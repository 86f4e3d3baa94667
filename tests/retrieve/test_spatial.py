"""Candidates of a photo on a street whose anchors are known."""

from __future__ import annotations

import numpy as np
import pytest

from geocorrect.retrieve.spatial import AnchorSites, SpatialOptions, SpatialRetriever


def street(n: int = 20, step_m: float = 3.0) -> AnchorSites:
    """Anchors along the east axis, looking east; then the same places looking west."""
    east = np.arange(n) * step_m
    enu_m = np.column_stack([np.tile(east, 2), np.zeros(2 * n), np.zeros(2 * n)])
    heading_deg = np.repeat([90.0, 270.0], n)
    ids = [f"east{i}" for i in range(n)] + [f"west{i}" for i in range(n)]
    return AnchorSites(ids, enu_m, heading_deg)


def test_ranks_near_anchors_that_look_the_same_way_first() -> None:
    pairs = SpatialRetriever(street()).candidates("q", np.array([30.0, 1.0, np.nan]), 85.0)
    assert pairs[0].anchor_id == "east10"
    assert {pair.anchor_id[:4] for pair in pairs} == {"east"}
    assert [pair.rank for pair in pairs] == list(range(len(pairs)))
    assert pairs[0].distance_m == pytest.approx(1.0)
    assert pairs[0].heading_difference_deg == pytest.approx(5.0)


def test_unknown_heading_keeps_both_directions() -> None:
    pairs = SpatialRetriever(street()).candidates("q", np.array([30.0, 0.0, np.nan]))
    assert {pair.anchor_id[:4] for pair in pairs} == {"east", "west"}
    assert np.isnan(pairs[0].heading_difference_deg)


def test_nothing_beyond_the_radius_and_nothing_without_a_position() -> None:
    retriever = SpatialRetriever(street(), SpatialOptions(radius_m=10.0))
    assert retriever.candidates("q", np.array([500.0, 0.0, np.nan]), 90.0) == []
    assert retriever.candidates("q", np.full(3, np.nan), 90.0) == []
    reached = retriever.candidates("q", np.array([30.0, 0.0, np.nan]), 90.0)
    assert max(pair.distance_m for pair in reached) <= 10.0


def test_empty_scene_has_no_candidates() -> None:
    sites = AnchorSites([], np.zeros((0, 3)), np.zeros(0))
    assert SpatialRetriever(sites).candidates("q", np.zeros(3), 0.0) == []


def test_near_duplicates_do_not_use_up_the_list() -> None:
    parked = np.tile([0.0, 0.0, 0.0], (10, 1))
    sites = AnchorSites(
        [f"parked{i}" for i in range(10)] + ["ahead", "behind"],
        np.vstack([parked, [[0, 4, 0], [0, -4, 0]]]),
        np.zeros(12),
    )
    pairs = SpatialRetriever(sites, SpatialOptions(max_candidates=3)).candidates("q", np.zeros(3), 0.0)
    assert {pair.anchor_id for pair in pairs} == {"parked0", "ahead", "behind"}


def test_headings_compare_around_north() -> None:
    sites = AnchorSites(["a", "b"], np.array([[0.0, 0, 0], [5, 0, 0]]), np.array([359.0, 180.0]))
    pairs = SpatialRetriever(sites).candidates("q", np.zeros(3), 2.0)
    assert [pair.anchor_id for pair in pairs] == ["a"]
    assert pairs[0].heading_difference_deg == pytest.approx(3.0)

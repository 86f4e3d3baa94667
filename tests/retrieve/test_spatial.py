"""Candidates of a photo on a street whose anchors are known."""

from __future__ import annotations

import numpy as np
import pytest

from geocorrect.retrieve.spatial import AnchorPositions, SpatialOptions, SpatialRetriever


def street(n: int = 20, step_m: float = 3.0) -> AnchorPositions:
    """Anchors along the east axis, looking east; then the same places looking west."""
    east = np.arange(n) * step_m
    enu_m = np.column_stack([np.tile(east, 2), np.zeros(2 * n), np.zeros(2 * n)])
    heading_deg = np.repeat([90.0, 270.0], n)
    ids = [f"east{i}" for i in range(n)] + [f"west{i}" for i in range(n)]
    return AnchorPositions(ids, enu_m, heading_deg)


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
    sites = AnchorPositions([], np.zeros((0, 3)), np.zeros(0))
    assert SpatialRetriever(sites).candidates("q", np.zeros(3), 0.0) == []


def test_near_duplicates_do_not_use_up_the_list() -> None:
    parked = np.tile([0.0, 0.0, 0.0], (10, 1))
    sites = AnchorPositions(
        [f"parked{i}" for i in range(10)] + ["ahead", "behind"],
        np.vstack([parked, [[0, 4, 0], [0, -4, 0]]]),
        np.zeros(12),
    )
    pairs = SpatialRetriever(sites, SpatialOptions(max_candidates=3)).candidates("q", np.zeros(3), 0.0)
    assert {pair.anchor_id for pair in pairs} == {"parked0", "ahead", "behind"}


def test_headings_compare_around_north() -> None:
    sites = AnchorPositions(["a", "b"], np.array([[0.0, 0, 0], [5, 0, 0]]), np.array([359.0, 180.0]))
    pairs = SpatialRetriever(sites).candidates("q", np.zeros(3), 2.0)
    assert [pair.anchor_id for pair in pairs] == ["a"]
    assert pairs[0].heading_difference_deg == pytest.approx(3.0)


def one_by_one(sites: AnchorPositions, o: SpatialOptions, here: np.ndarray, heading_deg: float) -> list[int]:
    """The ranking as its definition reads, for one image: what the search for all images at once must agree with."""
    if not np.isfinite(here).all():
        return []
    distance = {i: np.sqrt(np.sum((sites.enu_m[i, :2] - here) ** 2)) for i in range(len(sites.ids))}

    def turn(a: float, b: float) -> float:
        return abs((a - b + 180.0) % 360.0 - 180.0)

    def ahead(place: np.ndarray, angle: float) -> np.ndarray:
        return place + o.view_distance_m * np.array([np.sin(np.radians(angle)), np.cos(np.radians(angle))])

    def cost(i: int) -> float:
        gap = np.linalg.norm(ahead(sites.enu_m[i, :2], sites.heading_deg[i]) - ahead(here, heading_deg))
        whole = distance[i] + gap + o.view_distance_m * turn(sites.heading_deg[i], heading_deg) / o.trust_heading_deg
        return whole if np.isfinite(whole) else distance[i]

    near = [i for i in distance if distance[i] <= o.radius_m]
    near = [i for i in near if not turn(sites.heading_deg[i], heading_deg) > o.max_heading_difference_deg]
    kept: list[int] = []
    doubles: list[int] = []
    for i in sorted(near, key=cost):
        alike = any(
            np.linalg.norm(sites.enu_m[i] - sites.enu_m[k]) < o.min_separation_m
            and not turn(sites.heading_deg[i], sites.heading_deg[k]) > 10.0
            for k in kept
        )
        (doubles if alike else kept).append(i)
    return (kept + doubles)[: o.max_candidates]


@pytest.mark.parametrize("seed", range(4))
def test_all_images_at_once_get_what_each_would_get_alone(seed: int) -> None:
    random = np.random.default_rng(seed)
    n_anchors, n_images = 120, 60
    enu_m = np.column_stack([random.uniform(0, 120, (n_anchors, 2)).round(0), np.full(n_anchors, 1.6)])
    heading_deg = random.uniform(0, 360, n_anchors)
    heading_deg[::7] = np.nan
    sites = AnchorPositions([f"a{i:03}" for i in range(n_anchors)], enu_m, heading_deg)
    here = random.uniform(-30, 150, (n_images, 2))
    here[::11] = np.nan
    looks_deg = random.uniform(0, 360, n_images)
    looks_deg[::5] = np.nan
    for options in (SpatialOptions(), SpatialOptions(radius_m=20.0, max_candidates=3, min_separation_m=15.0)):
        retriever = SpatialRetriever(sites, options)
        together = retriever.candidate_rows(here, looks_deg)
        for image in range(n_images):
            expected = one_by_one(sites, options, here[image], looks_deg[image])
            assert together[image][together[image] >= 0].tolist() == expected
            alone = retriever.candidates("q", here[image], looks_deg[image])
            assert [pair.anchor_id for pair in alone] == [sites.ids[i] for i in expected]

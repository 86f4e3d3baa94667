"""Photos of unlike sharpness: what a matcher that needs like ones is shown, and where its pixels end up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from support.mast3r_world import random_photo
from support.one_depth import OneDepth
from support.plane_pair import SHIFT_PX, plane_pair

from geocorrect.geometry.camera import Camera
from geocorrect.geometry.frame import rotation_from_heading
from geocorrect.geometry.pose import Pose
from geocorrect.localize.correct import localize
from geocorrect.localize.options import LocalizeOptions
from geocorrect.match import aliked_lightglue, xfeat
from geocorrect.match.aliked_lightglue import AlikedLightGlueOptions
from geocorrect.match.base import DeclaredMatcher
from geocorrect.match.registry import MATCHERS
from geocorrect.match.rig import distance_ratio, match_photo
from geocorrect.match.xfeat import XFeatOptions
from geocorrect.networks.runtime import Runtime
from geocorrect.records import Anchor, AnchorView, DepthMap, Matches, Query


def camera_of(width: int, height: int, focal_px: float) -> Camera:
    return Camera.pinhole(width, height, focal_px, focal_px, (width - 1) / 2, (height - 1) / 2)


class Corners:
    """Matches the first and the last pixel of what it is shown."""

    fingerprint = "corners"

    def __init__(self) -> None:
        self.shown: list[tuple[int, list[int]]] = []

    def match(self, query: np.ndarray, anchors: Sequence[np.ndarray]) -> list[Matches]:
        self.shown.append((query.shape[1], [anchor.shape[1] for anchor in anchors]))
        last = [np.array([[0, 0], [p.shape[1] - 1, p.shape[0] - 1]], np.float32) for p in (query, *anchors)]
        return [Matches(last[0], there, np.ones(2, np.float32)) for there in last[1:]]


def test_the_finer_of_two_is_halved_until_it_is_at_most_twice_as_fine() -> None:
    """By focal length, not by size: a tele photo is as fine as a large one. The pixels are those of the full photos."""
    corners = Corners()
    photo, anchor = random_photo(400, 200), random_photo(400, 200)
    views = {2.0: 400, 2.1: 200, 4.0: 200, 4.1: 100, 0.5: 400, 0.4: 400}
    cameras = [camera_of(400, 200, 300 * ratio) for ratio in views]
    found = match_photo(
        DeclaredMatcher(corners, any_roll=True, any_size=False),
        photo, camera_of(400, 200, 300), [anchor] * len(views), (), cameras,
    )  # fmt: skip
    assert corners.shown == [(400, [400, 200, 200, 100, 400]), (200, [400])], "the last anchor is the coarser one"
    for matches, ratio in zip(found, views, strict=True):
        times = 400 / views[ratio]
        assert matches.anchor_px[0] == pytest.approx([(times - 1) / 2] * 2), "the middle of what became a pixel"
        assert matches.anchor_px[1] == pytest.approx([399 - (times - 1) / 2, 199 - (times - 1) / 2])
    assert found[-1].query_px.tolist() == [[0.5, 0.5], [398.5, 198.5]]


def test_what_is_far_is_small_and_a_tele_photo_makes_up_for_it() -> None:
    """Eight times as far with the same lens: the anchor is halved; with eight times the focal length neither is."""
    corners, photo = Corners(), random_photo(400, 200)
    matcher, anchor = DeclaredMatcher(corners, any_size=False), camera_of(400, 200, 300)
    for focal_px, ratio in ((300, 8.0), (2400, 8.0), (2400, 1.0), (300, 0.25)):
        match_photo(matcher, photo, camera_of(400, 200, focal_px), [photo], (), [anchor], [ratio])
    assert corners.shown == [(400, [100]), (400, [400]), (100, [400]), (200, [400])]


WALL_M = 8.0
"""From the anchor, which looks north at it."""
PLACES = {
    "beside it": ([3.0, 0.0], 0.0, 1.0),
    "too near to tell": ([0.0, -4.0], 0.0, 1.0),
    "far behind": ([0.0, -56.0], 0.0, (WALL_M + 51.0) / WALL_M),
    "far, of unknown heading": ([0.0, -56.0], np.nan, (WALL_M + 51.0) / WALL_M),
    "looking away": ([0.0, -56.0], 180.0, 1.0),
    "nowhere": ([np.nan, np.nan], 0.0, 1.0),
}


@pytest.mark.parametrize("name", PLACES)
def test_how_far_a_photo_stands_from_what_an_anchor_shows(name: str) -> None:
    """Five metres of it may be the reported position's; the wall's middle says it nearly exactly."""
    place_m, heading_deg, expected = PLACES[name]
    found = distance_ratio(*wall(place_m, heading_deg))
    assert found == pytest.approx(expected, rel=0.05)


def wall(place_m: list[float], heading_deg: float, focal_px: float = 800.0) -> tuple[Query, Anchor, DepthMap]:
    """A photo reported at (east, north), an anchor in the origin, and the depth of the wall that it looks at."""
    lens = camera_of(400, 200, 800)
    anchor = Anchor("a", "d", Path("a.png"), lens, Pose(rotation_from_heading(0.0), np.zeros(3)), "x")
    photo = camera_of(400, 200, focal_px)
    query = Query("q", random_photo(400, 200), photo, np.array([*place_m, np.nan]), heading_deg)
    return query, anchor, DepthMap("wall", True, z_m=np.full((200, 400), WALL_M, np.float32))


def test_a_photo_is_localised_at_the_size_that_its_place_asks_for() -> None:
    corners = Corners()
    matcher = DeclaredMatcher(corners, any_size=False)
    for focal_px in (800.0, 6400.0):
        query, anchor, depth = wall([0.0, -56.0], 0.0, focal_px)
        view = AnchorView(anchor, random_photo(400, 200))
        localize(query, [view], matcher, OneDepth(depth), LocalizeOptions(), seed=0)
    assert corners.shown == [(400, [100]), (400, [400])], "as small as it is in the photo; as large in a tele photo"


def test_who_does_not_need_it_is_shown_photos_as_they_are() -> None:
    corners, photo = Corners(), random_photo(40, 20)
    cameras = [camera_of(40, 20, 300)]
    match_photo(corners, photo, camera_of(40, 20, 30), [photo], (), cameras)
    match_photo(DeclaredMatcher(corners), photo, camera_of(40, 20, 30), [photo], (), cameras)
    assert corners.shown == [(40, [40])] * 2
    assert [name for name, entry in MATCHERS.items() if not entry.any_size] == ["aliked_lightglue", "xfeat"]
    fingerprints = {DeclaredMatcher(corners, any_size=any_size).fingerprint for any_size in (True, False)}
    assert len(fingerprints) == 2, "other matches"


@pytest.mark.long
@pytest.mark.parametrize("build", [xfeat.build, aliked_lightglue.build], ids=["xfeat", "aliked_lightglue"])
def test_a_tele_photo_from_afar_matches_what_a_near_one_shows(build: Any, real_weights: Runtime) -> None:
    """It shows the plane as large as the anchor does: by focal length alone it would be reduced to a quarter."""
    first, second = plane_pair(640, 480)
    options = {xfeat.build: XFeatOptions, aliked_lightglue.build: AlikedLightGlueOptions}[build]
    matcher = DeclaredMatcher(build(options(real_weights)), any_size=False)
    tele, wide = camera_of(640, 480, 6400), camera_of(640, 480, 800)
    right, median_px = [], []
    for ratios in ([], [8.0]):
        (found,) = match_photo(matcher, first, tele, [second], (), [wide], ratios)
        apart = np.abs(found.query_px - found.anchor_px - SHIFT_PX).max(axis=1)
        right.append(int((apart < 2).sum()))
        median_px.append(float(np.median(apart)))
    assert right[1] > 1.5 * right[0]
    assert median_px[1] < 0.5 * median_px[0]


@pytest.mark.long
def test_a_quarter_of_a_photo_finds_more_when_the_anchor_is_as_coarse(real_weights: Runtime) -> None:
    """A plane whose shift is known: right matches are those within 2 px of the small photo."""
    first, second = plane_pair(960, 720)
    small = cv2.resize(first, (240, 180), interpolation=cv2.INTER_AREA)
    fine, coarse = camera_of(960, 720, 800), camera_of(240, 180, 200)
    matcher = DeclaredMatcher(xfeat.build(XFeatOptions(real_weights)), any_size=False)
    right = []
    for cameras in ((), (fine,)):
        (found,) = match_photo(matcher, small, coarse, [second], (), cameras)
        apart = np.abs((found.query_px + 0.5) * 4 - 0.5 - found.anchor_px - SHIFT_PX).max(axis=1)
        right.append(int((apart < 8).sum()))
    assert right[1] > 1.5 * right[0] > 0

"""Photos of unlike sharpness: what a matcher that needs like ones is shown, and where its pixels end up."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import pytest
from support.mast3r_world import random_photo
from support.plane_pair import SHIFT_PX, plane_pair

from geocorrect.geometry.camera import Camera
from geocorrect.match import xfeat
from geocorrect.match.base import DeclaredMatcher
from geocorrect.match.registry import MATCHERS
from geocorrect.match.rig import match_photo
from geocorrect.match.xfeat import XFeatOptions
from geocorrect.networks.runtime import Runtime
from geocorrect.records import Matches


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

"""Anchors matched with their neighbours: every pair once, verified and believed as the matcher declares of itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.known_world import CAMERA

from geocorrect.anchors.neighbour_view import NeighbourView
from geocorrect.config import Settings
from geocorrect.errors import InputError
from geocorrect.geometry.frame import rotation_from_heading
from geocorrect.geometry.pose import Pose
from geocorrect.jobs.anchors import neighbour_views as job
from geocorrect.localize.correct import observe
from geocorrect.localize.observations import Observations
from geocorrect.localize.options import LocalizeOptions
from geocorrect.match.base import DeclaredMatcher, Matcher, smooth_noise
from geocorrect.match.cascade import CascadeMatcher
from geocorrect.match.options import MatchSection
from geocorrect.match.sift import SiftOptions
from geocorrect.match.verify import PairVerifyOptions
from geocorrect.records import Anchor, AnchorView, DepthMap, Matches, Query

IDS = ("0", "1", "2", "3")
NEIGHBOURS = {name: tuple(other for other in IDS if other != name) for name in IDS}
MOVED_M = (0.0, 0.1, 0.0)


class Row:
    """Four pictures in a row, 1.5 m apart, of a street of points; a picture's pixels are its number."""

    fingerprint = "row"

    def __init__(self) -> None:
        random = np.random.default_rng(5)
        side = np.where(random.random(1500) < 0.5, -7.0, 9.0) + random.normal(0, 0.3, 1500)
        self.points = np.stack([side, random.uniform(9, 45, 1500), random.uniform(0, 9, 1500)], axis=1)
        self.poses = [Pose(rotation_from_heading(2.0 * n), np.array([0.3 * n, 1.5 * n, 1.9])) for n in range(4)]
        seen = [CAMERA.project(pose.inverse().apply(self.points)) for pose in self.poses]
        self.inside = [ok & CAMERA.contains(px) for px, ok in seen]
        self.px = [px + random.normal(0, 0.3, px.shape) for px, _ in seen]
        self.pairs: list[tuple[int, int]] = []
        self.anchors = {
            name: Anchor(name, "d", Path(name), CAMERA, pose, "exact", lidar=self._scan())
            for name, pose in zip(IDS, self.poses, strict=True)
        }

    @staticmethod
    def _scan() -> Any:
        return SimpleNamespace()

    def match(self, query: np.ndarray, anchors: Sequence[np.ndarray]) -> list[Matches]:
        first, (second,) = int(query[0, 0, 0]), [int(anchor[0, 0, 0]) for anchor in anchors]
        self.pairs.append((first, second))
        both = self.inside[first] & self.inside[second]
        return [Matches(self.px[first][both], self.px[second][both], np.ones(both.sum()))]

    def view(self, anchor: Anchor) -> AnchorView:
        return AnchorView(anchor, np.full((CAMERA.height, CAMERA.width, 3), int(anchor.id), np.uint8))

    def depth(self, anchor: Anchor, image: np.ndarray) -> DepthMap:
        n = int(anchor.id)
        z_m = self.poses[n].inverse().apply(self.points)[self.inside[n], 2]
        return DepthMap("known", True, samples_px=self.px[n][self.inside[n]], samples_z_m=z_m)


@pytest.fixture
def row() -> Row:
    return Row()


def views_of(
    row: Row, monkeypatch: pytest.MonkeyPatch, matcher: Matcher | None = None, settings: Settings | None = None
) -> job.NeighbourViews:
    monkeypatch.setattr(job, "build_matcher", lambda settings: matcher or row)
    monkeypatch.setattr(job, "AnchorCache", lambda *of: SimpleNamespace(view=row.view, depth=row.depth))
    return job.NeighbourViews(settings or Settings(), row.anchors, NEIGHBOURS)


def test_every_pair_is_matched_once_and_serves_both(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    pose = row.poses[2]
    row.anchors["2"] = replace(row.anchors["2"], world_from_cam=Pose(pose.rotation, pose.translation_m + MOVED_M))
    views = views_of(row, monkeypatch)
    found = {name: views.of(name, NEIGHBOURS[name]) for name in IDS}
    assert sorted(row.pairs) == [(a, b) for a in range(4) for b in range(a + 1, 4)]
    moved = found["2"]
    assert moved is not None
    np.testing.assert_allclose(moved.shift[:3], MOVED_M, atol=0.015)
    assert set(moved.by_neighbour) == set(NEIGHBOURS["2"])
    again = views.of("1", ("0", "3"))
    assert again is not None
    assert set(again.by_neighbour) == {"0", "3"}
    assert len(row.pairs) == 6
    assert np.abs(again.shift[:3]).max() < 0.01, "without the wrong one"


def test_a_pair_read_backwards_is_the_pair_matched_backwards(row: Row) -> None:
    options, depths = LocalizeOptions(), [row.depth(row.anchors[name], np.zeros(0)) for name in IDS[:2]]

    def seen(query: int, other: int) -> Observations:
        views = [row.view(row.anchors[IDS[n]]) for n in (query, other)]
        photo = Query(IDS[query], views[0].pixels, CAMERA, np.zeros(3))
        matches = row.match(views[0].pixels, [views[1].pixels])[0]
        return observe(photo, views[1], matches, depths[other], options, 0, row)

    reversed_, direct = job._reversed(seen(0, 1), row.anchors["0"], depths[0], options), seen(1, 0)
    assert len(direct) > 100
    assert direct.has_depth.mean() > 0.9
    assert reversed_.anchor.id == direct.anchor.id == "0"
    for name in ("query_px", "anchor_px", "query_rays", "anchor_rays", "depth_m", "log_sigma"):
        np.testing.assert_allclose(getattr(reversed_, name), getattr(direct, name), err_msg=name)


def test_smooth_errors_are_those_that_the_matcher_declares(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter declared is a quarter of what the options assume, for both pictures of a pair."""
    plain = LocalizeOptions()
    fields = replace(plain.covariance, query_field_px=0.15, anchor_field_px=0.225)

    def view(matcher: Matcher, options: LocalizeOptions) -> NeighbourView:
        settings = Settings().model_copy(update={"localize": options})
        found = views_of(row, monkeypatch, matcher, settings).of("1", NEIGHBOURS["1"])
        assert found is not None
        return found

    assumed, declared = view(row, plain), view(DeclaredMatcher(row, smooth_noise=0.25), plain)
    np.testing.assert_allclose(declared.measured, view(row, replace(plain, covariance=fields)).measured)
    assert declared.measured.trace() < 0.6 * assumed.measured.trace()


def test_where_the_strongest_features_give_little_all_are_matched(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    class Strongest(Row):
        fingerprint = "strongest"

        def match(self, query: np.ndarray, anchors: Sequence[np.ndarray]) -> list[Matches]:
            return [found.subset(np.arange(0, len(found), 40)) for found in super().match(query, anchors)]

    few = Strongest()
    views_of(row, monkeypatch)
    monkeypatch.setattr(job, "build_matcher", lambda settings: few if settings.match.sift.strongest else row)
    views = job.NeighbourViews(Settings(), row.anchors, NEIGHBOURS)
    seen = views._observed("0", "1")
    assert seen is not None
    assert len(seen) > 500
    assert (few.pairs, row.pairs) == ([(0, 1)], [(0, 1)])
    stated = Settings(match=MatchSection(sift=SiftOptions(strongest=300)))
    monkeypatch.setattr(job, "build_matcher", lambda settings: few if settings.match.sift.strongest == 300 else row)
    seen = job.NeighbourViews(stated, row.anchors, NEIGHBOURS)._observed("0", "1")
    assert seen is not None
    assert len(seen) < job.ENOUGH, "as many as the configuration states"


def test_a_cascade_declares_what_its_first_stage_does(row: Row) -> None:
    """It is what matches where a cascade is asked as one matcher."""
    assert smooth_noise(CascadeMatcher({"a": DeclaredMatcher(row, smooth_noise=0.3), "b": row})) == 0.3


@pytest.mark.parametrize(("least", "declared", "counts"), [(0, 0, True), (10_000, 0, False), (0, 10_000, False)])
def test_neighbours_are_verified_as_photos_are(
    least: int, declared: int, counts: bool, row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By [match.verify] and by what the matcher declares of itself."""
    settings = Settings(match=MatchSection(verify=PairVerifyOptions(min_inliers=least)))
    views = views_of(row, monkeypatch, DeclaredMatcher(row, declared), settings)
    assert (views.of("0", NEIGHBOURS["0"]) is not None) == counts


def test_what_is_masked_in_the_anchor_itself_is_not_matched(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    views = views_of(row, monkeypatch)
    mask = np.zeros((CAMERA.height, CAMERA.width), bool)
    mask[:, 400:] = True
    first, second = (row.view(row.anchors[name]) for name in ("0", "1"))
    seen = [
        views._matched(replace(first, mask=m), second, row.depth(second.anchor, second.pixels)) for m in (None, mask)
    ]
    left = [(o.query_px[:, 0] < 399).sum() / len(o) for o in seen]
    assert left[0] > 0.1
    assert left[1] in (0.0, 1.0)
    assert len(seen[1]) > 20


def test_a_picture_that_cannot_be_read_is_said_once(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    views, read = views_of(row, monkeypatch), row.view

    def view(anchor: Anchor) -> AnchorView:
        if anchor.id == "3":
            raise InputError("3.png: damaged")
        return read(anchor)

    monkeypatch.setattr(views._cache, "view", view)
    assert [name for name in IDS if views.of(name, NEIGHBOURS[name]) is None] == ["3"]
    assert list(views.unusable.values()) == ["anchor 3: 3.png: damaged"]

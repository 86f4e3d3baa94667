"""MASt3R's depth of an anchor beside the photo: other than the anchor's alone, off the rays, scaled axis by axis."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from support.known_world import OffRayWorld, world
from support.mast3r_world import TINY, random_photo, seeded_model

from geocorrect.api.anchor_cache import AnchorCache
from geocorrect.config import Settings, load_settings
from geocorrect.depth.base import DepthSource, PairDepthSource
from geocorrect.depth.lidar import LidarDepth
from geocorrect.depth.mast3r import Mast3rDepth, Mast3rDepthOptions, Mast3rPairDepth
from geocorrect.depth.scale import LidarScaleDepth, ScaledPairDepth, ScaleHeuristic, StatedScaleDepth, scale_from_lidar
from geocorrect.errors import ConfigError, InputError, UsageError
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.localize.correct import localize
from geocorrect.localize.estimators.pooled import PoseLibEstimator
from geocorrect.localize.lift import lift, lift_points
from geocorrect.localize.options import LocalizeOptions
from geocorrect.match.sift import SiftMatcher
from geocorrect.networks.mast3r.engine import Mast3rEngine
from geocorrect.networks.mast3r.model import DecodedView, Mast3r, Points
from geocorrect.networks.store import TensorStore
from geocorrect.records import Anchor, Correction, DepthMap

RAW = Mast3rDepthOptions(pair_with="query", dropped_share=0.0, keep_all=True)
CAMERA = Camera.pinhole(64, 48, 60.0, 60.0, 31.5, 23.5)
ANCHOR = Anchor("a1", "set", Path("a1.jpg"), CAMERA, Pose.identity(), "alignment")


class Slanted(Mast3r):
    """A stand-in whose points lie off the pixels' rays, and whose confidence grows downwards."""

    def points(self, view: DecodedView, number: int, head: object = None) -> Points:
        rows, columns = (16 * side for side in view.encoded.grid)
        x, y = torch.meshgrid(torch.arange(columns), torch.arange(rows), indexing="xy")
        xyz = torch.stack([x * 0.1 + 2.0, y * 0.05, x * 0.02 + 8.0], dim=-1).float()
        return Points(xyz[None], 1.0 + y[None].float())


@pytest.fixture
def slanted() -> Mast3rEngine:
    torch.manual_seed(0)
    return Mast3rEngine(Slanted(TINY).eval().requires_grad_(False), "slanted", TensorStore(), long_side_px=64)


def test_the_pair_is_not_the_anchor_with_itself() -> None:
    model, photo = seeded_model(), random_photo(64, 48)
    with torch.no_grad():
        model.downstream_head1.dpt.head[4].bias[2] += 3.0  # else all points of these weights lie behind the camera
    engine = Mast3rEngine(model, "ahead", TensorStore(), long_side_px=64)
    alone = Mast3rDepth(engine, replace(RAW, pair_with="self")).depth(ANCHOR, photo)
    pair = Mast3rPairDepth(engine, RAW)
    first, second = (pair.pair_depth(ANCHOR, photo, random_photo(64, 48, seed)) for seed in (1, 2))
    assert alone.z_m is not None
    assert first.z_m is not None
    assert second.z_m is not None
    both = np.isfinite(alone.z_m) & np.isfinite(first.z_m) & np.isfinite(second.z_m)
    assert both.sum() > 50
    assert not np.allclose(first.z_m[both], alone.z_m[both], rtol=1e-3)
    assert not np.allclose(first.z_m[both], second.z_m[both], rtol=1e-3)
    assert (alone.points_m is None, first.points_m is None) == (True, False)
    assert isinstance(pair, PairDepthSource)
    assert isinstance(pair, DepthSource)
    assert not isinstance(Mast3rDepth(engine, RAW), PairDepthSource)
    assert pair.fingerprint != Mast3rDepth(engine, RAW).fingerprint


def test_points_off_the_ray_are_kept_as_they_are(slanted: Mast3rEngine) -> None:
    """Between pixels, too: (x, y, z) of the network, of which a ray would keep the z alone."""
    found = Mast3rPairDepth(slanted, RAW).pair_depth(ANCHOR, random_photo(64, 48), random_photo(64, 48, 1))
    px = np.array([[10.0, 20.0], [40.25, 7.5], [62.0, 46.0]])
    z, _ = lift(px, found, CAMERA, LocalizeOptions().lift)
    points = lift_points(px, found, z)
    assert points is not None
    expected = np.stack([px[:, 0] * 0.1 + 2.0, px[:, 1] * 0.05, px[:, 0] * 0.02 + 8.0], axis=1)
    np.testing.assert_allclose(points, expected, rtol=2e-3)
    on_ray = CAMERA.unproject(px) / CAMERA.unproject(px)[:, 2:] * z[:, None]
    assert np.abs(points - on_ray)[:, 0].min() > 1.0


def test_localize_asks_a_pair_source_with_the_query_and_takes_its_points() -> None:
    """True points give the true pose; points 1.3 times too far off the axis give another one: they were used."""
    known, query, views = world(0)
    options = LocalizeOptions()
    errors = []
    for factor in (1.0, 1.3):
        source = OffRayWorld(known, np.diag([factor, factor, 1.0]))
        found = localize(query, views[:1], known, source, options, 0, PoseLibEstimator())
        assert found.solution is not None
        errors.append(np.linalg.norm(found.solution.world_from_cam.translation_m - known.truth.translation_m))
        if factor == 1.0:
            assert isinstance(found.result, Correction)
    assert errors[0] < 0.2
    assert errors[1] > 1.0


def test_the_least_confident_share_gives_no_point(slanted: Mast3rEngine) -> None:
    half = Mast3rPairDepth(slanted, replace(RAW, dropped_share=0.5))
    found = half.pair_depth(ANCHOR, random_photo(64, 48), random_photo(64, 48, 1))
    assert found.points_m is not None
    assert found.z_m is not None
    assert np.isnan(found.z_m[:23]).all()
    assert np.isfinite(found.z_m[25:-1, :-1]).all()
    assert (np.isnan(found.points_m[..., 0]) == np.isnan(found.z_m)).all()


def test_scales_are_applied_axis_by_axis(slanted: Mast3rEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scan whose points are (2, 3, 4) times the network's: per axis they are met exactly, by one factor not."""
    base, photos = Mast3rPairDepth(slanted, RAW), (random_photo(64, 48), random_photo(64, 48, 1))
    predicted = base.pair_depth(ANCHOR, *photos)
    assert predicted.points_m is not None
    px = np.stack(np.meshgrid(np.arange(4, 60, 4.0), np.arange(4, 44, 4.0)), axis=-1).reshape(-1, 2)
    rays = CAMERA.unproject(px)
    at = predicted.points_m[px[:, 1].astype(int), px[:, 0].astype(int)].astype(float)
    measured = DepthMap("lidar", True, samples_px=px, samples_z_m=at[:, 2] * 4.0)
    scale = scale_from_lidar(predicted, measured, CAMERA, ScaleHeuristic.PER_AXIS_L1)
    true = rays / rays[:, 2:] * (at[:, 2:] * 4.0)
    np.testing.assert_allclose(scale.factors, np.abs(true).mean(axis=0) / np.abs(at).mean(axis=0), rtol=1e-6)
    assert abs(scale.factors[0] / scale.factors[2] - 1.0) > 0.1
    monkeypatch.setattr(LidarDepth, "depth", lambda self, anchor, image: measured)
    scaled = ScaledPairDepth(base, LidarScaleDepth(base, LidarDepth(), ScaleHeuristic.PER_AXIS_L1))
    found = scaled.pair_depth(ANCHOR, *photos)
    assert found.is_oracle
    np.testing.assert_allclose(found.points_m, predicted.points_m * scale.factors, rtol=1e-5)
    stated = ScaledPairDepth(base, StatedScaleDepth(base, 1.5, None)).pair_depth(ANCHOR, *photos)
    np.testing.assert_allclose(stated.points_m, predicted.points_m * 1.5, rtol=1e-5)
    with pytest.raises(InputError, match='pair_with = "self"'):
        scaled.depth(ANCHOR, photos[0])
    scaled.check(ANCHOR, photos[0])
    with pytest.raises(InputError, match="another size"):
        scaled.check(ANCHOR, random_photo(60, 48))


def test_a_query_too_thin_gives_no_depth(slanted: Mast3rEngine) -> None:
    found = Mast3rPairDepth(slanted, RAW).pair_depth(ANCHOR, random_photo(64, 48), random_photo(640, 12))
    assert found.z_m is not None
    assert np.isnan(found.z_m).all()


def test_what_needs_depth_without_a_photo_refuses_the_pair(tmp_path: Path) -> None:
    path = tmp_path / "geocorrect.toml"
    text = '[depth]\nsource = "mast3r"\ncalibrate = true\n[depth.mast3r]\npair_with = "{}"'
    path.write_text(text.format("self"))
    assert load_settings(path, {}).settings.depth.calibrate
    path.write_text(text.format("query"))
    with pytest.raises(ConfigError, match='pair_with = "self"'):
        load_settings(path, {})
    assert not Settings().depth.needs_query


def test_a_command_line_cannot_ask_for_it_either() -> None:
    query = replace(Settings().depth, source="depth_anything_v2", calibrate=True, mast3r=RAW)
    with pytest.raises(UsageError, match='--depth mast3r: .*pair_with = "self"'):
        query.with_source("mast3r")


class Checked(OffRayWorld):
    """A pair source that says which anchors it was asked to check."""

    def check(self, anchor: Anchor, image: np.ndarray) -> None:
        self.known.append(anchor.id)
        if anchor.id == "bad":
            raise InputError("too thin")


def test_a_worker_checks_anchors_without_a_photo_and_hands_the_source_itself_on(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), random_photo(64, 48))
    cache = AnchorCache(Settings(), SiftMatcher())
    assert cache.depth_source is cache
    cache.source = Checked([], np.eye(3))
    anchors = tuple(replace(ANCHOR, id=name, path=path) for name in ("good", "bad"))
    views, unusable = cache.usable(anchors, {})
    assert [view.anchor.id for view in views] == ["good"]
    assert unusable == ("anchor bad: too thin",)
    assert cache.source.known == ["good", "bad"]
    assert cache.depth_source is cache.source


def test_maps_of_points_are_checked() -> None:
    z = np.ones((4, 5), np.float32)
    for points in (np.ones((4, 5), np.float32), np.ones((5, 4, 3), np.float32)):
        with pytest.raises(ValueError, match=r"points_m \(H, W, 3\)"):
            DepthMap("x", False, z_m=z, points_m=points)

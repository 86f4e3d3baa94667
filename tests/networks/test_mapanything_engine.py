"""What the engine leaves out or remembers changes nothing: cached, skipping and batched paths give plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from support.mapanything_world import (
    TINY_SIZES,
    TINY_V1,
    random_photo,
    rays_of_pinhole,
    seeded_engine,
    seeded_model,
    street_camera,
    street_views,
)

from geocorrect.errors import ModelError
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.networks.mapanything.engine import MapAnythingEngine
from geocorrect.networks.mapanything.masks import MaskRules
from geocorrect.networks.mapanything.model import MapAnything
from geocorrect.networks.mapanything.photo_view import DepthHints, PhotoView, ScenePoses
from geocorrect.networks.mapanything.preprocess import common_size, network_depth, network_rays, place
from geocorrect.networks.mapanything.view_inputs import ViewGeometry, ViewPoses, depth_along_ray, pose_inputs
from geocorrect.networks.store import TensorStore
from geocorrect.records import DepthMap

CPU = torch.device("cpu")


def assert_same_poses(found: ScenePoses, expected: ScenePoses, tolerance: float = 1e-5) -> None:
    for one, other in zip(found.first_from_view, expected.first_from_view, strict=True):
        np.testing.assert_allclose(one.matrix, other.matrix, atol=tolerance * max(1.0, np.abs(other.matrix).max()))


def _count_encoded(engine: MapAnythingEngine) -> Any:
    return mock.patch.object(engine.model, "encode", wraps=engine.model.encode)


def test_poses_without_the_dense_head_are_those_with_it() -> None:
    views = street_views(4, posed=3)
    plain, _ = seeded_engine().dense(views)
    with mock.patch.object(MapAnything, "dense", side_effect=AssertionError):
        assert_same_poses(seeded_engine().poses(views), plain)


@pytest.mark.parametrize("sizes", [None, TINY_V1])
def test_poses_without_taps_are_those_with_them(sizes: Any) -> None:
    model = seeded_model() if sizes is None else seeded_model(sizes=sizes)
    engine = seeded_engine(model=model)
    fused = engine._fused(engine._prepared(street_views(4, posed=3)))
    whole, bare = (model.poses(model.transform(fused, dense)) for dense in (True, False))
    for name in ("quaternion_xyzw", "translation_m", "scale"):
        assert torch.equal(getattr(bare, name), getattr(whole, name))


def test_cached_tokens_give_the_same_poses_in_memory_and_from_disk(tmp_path: Path) -> None:
    views = street_views(3, posed=2)
    plain = seeded_engine().poses(views)
    engine = seeded_engine(TensorStore(tmp_path))
    with _count_encoded(engine) as encode:
        assert_same_poses(engine.poses(views), plain)
        assert_same_poses(engine.poses(views), plain)
        assert encode.call_count == 1
    another_process = seeded_engine(TensorStore(tmp_path))
    with _count_encoded(another_process) as encode:
        assert_same_poses(another_process.poses(views), plain)
        assert encode.call_count == 0


def test_an_anchor_is_encoded_once_whatever_its_company_and_pose() -> None:
    engine = seeded_engine()
    first, second, query = street_views(3, posed=2)
    engine.poses([first, second, query])
    with _count_encoded(engine) as encode:
        engine.poses([second, first, query])
        engine.poses([first, query])
        engine.poses([replace(first, world_from_cam=Pose.identity()), second])
        assert encode.call_count == 0


@pytest.mark.parametrize("change", ["pixels", "camera", "no camera", "hints", "no hints", "size"])
def test_whatever_tokens_depend_on_is_in_their_key(change: str) -> None:
    engine = seeded_engine()
    view = street_views(1)[0]
    camera, hints = view.camera, view.hints
    assert camera is not None
    assert hints is not None
    changed = {
        "pixels": replace(view, pixels=random_photo(seed=99)),
        "camera": replace(view, camera=camera.with_focal_scaled(1.01)),
        "no camera": PhotoView(view.pixels),
        "hints": replace(view, hints=DepthHints(hints.px, hints.z_m * 1.01)),
        "no hints": replace(view, hints=None),
        "size": view,
    }[change]
    size = (36, 36) if change == "size" else None
    (before,), (after,) = engine._prepared([view]), engine._prepared([changed], size)
    assert before.key != after.key


def test_weights_and_precision_are_in_the_key() -> None:
    view = street_views(1)[0]
    keys = {
        MapAnythingEngine(seeded_model(), name, TensorStore(), dtype, TINY_SIZES)._prepared([view])[0].key
        for name in ("a", "b")
        for dtype in (torch.float32, torch.bfloat16)
    }
    assert len(keys) == 4


def test_dense_output_of_one_view_is_that_of_all() -> None:
    views = street_views(3)
    _, everything = seeded_engine().dense(views, (0, 1, 2))
    _, (one,) = seeded_engine().dense(views, (1,))
    for name in ("distance_m", "rays", "confidence", "believed"):
        np.testing.assert_array_equal(getattr(one, name), getattr(everything[1], name))


def test_dense_output_without_taps_is_a_programming_error() -> None:
    engine = seeded_engine()
    fused = engine._fused(engine._prepared(street_views(2)))
    with pytest.raises(ValueError, match="dense=True"):
        engine.model.dense(fused, engine.model.transform(fused, dense=False), 0)


# --- invariances -----------------------------------------------------------------------------------------


def test_the_world_frame_does_not_matter() -> None:
    views = street_views(3)
    world = Pose(Rotation.from_rotvec([0.3, -1.2, 0.7]), np.array([-2000.0, 700.0, 55.0]))
    moved = [replace(view, world_from_cam=world @ view.world_from_cam) for view in views if view.world_from_cam]
    assert_same_poses(seeded_engine().poses(moved), seeded_engine().poses(views), 1e-4)


@pytest.mark.parametrize("turn_deg", [0.0, 90.0, 179.0, 181.0, 270.0])
def test_nor_does_the_heading_of_the_drive(turn_deg: float) -> None:
    """Quaternions change their sign at half a turn of the world; what the network is told does not."""
    views = street_views(3)
    world = Pose(Rotation.from_euler("z", turn_deg, degrees=True), np.zeros(3))
    moved = [replace(view, world_from_cam=world @ view.world_from_cam) for view in views if view.world_from_cam]
    (found, _), (expected, _) = pose_inputs(moved, CPU), pose_inputs(views, CPU)
    assert found is not None
    assert expected is not None
    torch.testing.assert_close(found.quaternion_xyzw, expected.quaternion_xyzw, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.translation_m, expected.translation_m, rtol=0, atol=1e-6)
    assert (found.translation_m[:, 0] == 0).all()  # exactly: views that moved are counted


def test_the_order_of_the_later_views_does_not_matter_but_the_first_view_does() -> None:
    views = street_views(4)
    plain = seeded_engine().poses(views).first_from_view
    turned = seeded_engine().poses([views[0], views[2], views[3], views[1]]).first_from_view
    for index, position in ((0, 0), (1, 3), (2, 1), (3, 2)):
        np.testing.assert_allclose(turned[position].matrix, plain[index].matrix, atol=1e-4)
    swapped = seeded_engine().poses([views[1], views[0], views[2], views[3]]).first_from_view
    assert np.abs((plain[0].inverse() @ plain[1]).matrix - (swapped[1].inverse() @ swapped[0]).matrix).max() > 1e-3


@pytest.mark.parametrize("is_metric", [True, False])
def test_only_metric_scenes_have_a_scale_to_tell(is_metric: bool) -> None:
    """Depths and translations times a factor: the same answer where their unit is unknown, another one for metres."""
    model = seeded_model()
    views = street_views(3)
    outputs = [_scaled_scene(model, views, factor, is_metric) for factor in (1.0, 7.0)]
    difference = float((outputs[0] - outputs[1]).abs().max() / outputs[0].abs().max())
    assert (difference < 1e-4) is not is_metric


def _scaled_scene(model: MapAnything, views: Sequence[PhotoView], factor: float, is_metric: bool) -> torch.Tensor:
    engine = seeded_engine(model=model)
    prepared = engine._prepared(views)
    rays = torch.from_numpy(np.stack([network_rays(p.view.camera, p.placement) for p in prepared if p.view.camera]))
    z_m = np.stack([network_depth(p.view.hints.px, p.view.hints.z_m, p.placement) for p in prepared if p.view.hints])
    metric = torch.tensor([is_metric] * len(views))
    geometry = ViewGeometry(rays, None, depth_along_ray(factor * torch.from_numpy(z_m), rays), None, metric)
    images = torch.stack([torch.from_numpy(p.image.copy()).permute(2, 0, 1).float() / 255.0 for p in prepared])
    tokens = model.encode(images, geometry)
    poses, _ = pose_inputs(views, CPU)
    assert poses is not None
    scaled = ViewPoses(poses.quaternion_xyzw, factor * poses.translation_m, poses.has_pose, metric[None])
    fused = model.fuse(tokens.patches[None], tokens.class_token[None], tokens.grid, scaled)
    found = model.poses(model.transform(fused))
    return torch.cat([found.translation_m.flatten(), found.quaternion_xyzw.flatten(), found.scale])


# --- what would mean nothing is left out -------------------------------------------------------------------


def test_a_lone_pose_is_not_told() -> None:
    anchor, query = street_views(2, posed=1)
    assert pose_inputs([anchor, query], CPU) == (None, False)
    found = seeded_engine().poses([anchor, query])
    assert_same_poses(found, seeded_engine().poses([replace(anchor, world_from_cam=None), query]))


def test_poses_at_one_place_tell_no_scale() -> None:
    first, second, query = street_views(3, posed=2)
    assert first.world_from_cam is not None
    turned = first.world_from_cam.perturbed([0, 0, 0, 0, 0, 0.4])
    poses, use_scale = pose_inputs([first, replace(second, world_from_cam=turned), query], CPU)
    assert poses is not None
    assert poses.has_pose.tolist() == [[True, True, False]]
    assert not use_scale


def test_hints_outside_the_crop_are_as_no_hints() -> None:
    first, second = street_views(2)
    nowhere = replace(first, hints=DepthHints(np.array([[-20.0, 4.0], [500.0, 4.0]]), np.array([3.0, 4.0])))
    assert_same_poses(
        seeded_engine().poses([nowhere, second]), seeded_engine().poses([replace(first, hints=None), second])
    )


def test_the_first_view_needs_a_pose_where_others_have_one() -> None:
    first, second, third = street_views(3)
    with pytest.raises(ValueError, match="first view must have a pose"):
        seeded_engine().poses([replace(first, world_from_cam=None), second, third])


def test_known_geometry_matters() -> None:
    """Each of rays, depth, poses and their scale changes the answer: none is dropped on the way."""
    views = street_views(3)
    plain = seeded_engine().poses(views).first_from_view[2].matrix
    without = {
        "rays": [views[0], views[1], PhotoView(views[2].pixels, None, views[2].world_from_cam)],
        "depth": [views[0], replace(views[1], hints=None), views[2]],
        "poses": [views[0], views[1], replace(views[2], world_from_cam=None)],
    }
    for changed in without.values():
        assert np.abs(seeded_engine().poses(changed).first_from_view[2].matrix - plain).max() > 1e-4


# --- edges of the input ------------------------------------------------------------------------------------


def test_spherical_photos_and_foreign_cameras_are_refused() -> None:
    with pytest.raises(ValueError, match="spherical"):
        PhotoView(random_photo(80, 40), Camera.spherical(80, 40))
    with pytest.raises(ValueError, match="70×50 pixels, its camera 60×50"):
        PhotoView(random_photo(), street_camera(60, 50))
    with pytest.raises(ValueError, match="without a known lens"):
        PhotoView(random_photo(), None, None, DepthHints(np.zeros((0, 2)), np.zeros(0)))


def test_too_thin_photos_are_refused() -> None:
    with pytest.raises(ValueError, match="too thin"):
        place((4000, 100), common_size([(4000, 100)]))
    place((1241, 376), common_size([(1241, 376)]))


def test_hints_are_the_nearest_samples_at_the_right_pixels() -> None:
    placement = place((70, 50), (42, 30))
    network_px = np.array([[3.0, 4.0], [3.2, 3.8], [41.0, 29.0], [40.9, 29.6], [-0.6, 4.0]])
    raster = network_depth(placement.to_photo(network_px), np.array([9.0, 7.0, 5.0, 2.0, 1.0]), placement)
    assert raster[4, 3] == 7.0
    assert raster[29, 41] == 5.0
    assert np.count_nonzero(raster) == 2


def test_rays_go_through_the_lens_of_the_photo() -> None:
    camera = replace(street_camera(), distortion=())
    placement = place((70, 50), (42, 30))
    exact = camera.resized(*placement.resized_size).cropped(*placement.crop_origin, 42, 30)
    intrinsics = torch.from_numpy(exact.intrinsic_matrix)[None].float()
    expected = rays_of_pinhole(intrinsics, 30, 42)[0].numpy()
    np.testing.assert_allclose(network_rays(camera, placement), expected, atol=1e-6)


def test_rays_bend_with_the_lens_and_go_on_where_its_model_ends() -> None:
    camera = Camera.from_opencv(70, 50, (40.0, 40.0, 34.5, 24.5), (-0.35, 0.02, 0.0, 0.0))
    placement = place((70, 50), (42, 30))
    rays = network_rays(camera, placement)
    u, v = np.meshgrid(np.arange(42), np.arange(30))
    exact = camera.unproject(placement.to_photo(np.column_stack([u.ravel(), v.ravel()]))).reshape(30, 42, 3)
    known = np.isfinite(exact).all(axis=-1)
    assert 0 < known.sum() < known.size  # the corners lie beyond the field on which the distortion is one-to-one
    np.testing.assert_allclose(rays[known], exact[known], atol=1e-6)
    assert np.isfinite(rays).all()
    assert (rays[..., 2] > 0).all()
    np.testing.assert_allclose(np.linalg.norm(rays, axis=-1), 1.0, atol=1e-6)


def test_hints_come_from_sparse_and_dense_maps() -> None:
    z_m = np.full((50, 70), np.nan, np.float32)
    z_m[10, 20] = 5.0
    dense = DepthHints.from_map(DepthMap("d", False, z_m=z_m))
    sparse = DepthHints.from_map(DepthMap("s", False, samples_px=np.array([[20.0, 10.0]]), samples_z_m=np.array([5.0])))
    for hints in (dense, sparse):
        np.testing.assert_array_equal(hints.px, [[20.0, 10.0]])
        np.testing.assert_array_equal(hints.z_m, [5.0])


def test_depth_that_is_no_depth_is_unknown() -> None:
    z_m = torch.tensor([[[2.0, -1.0, np.nan, 0.0, np.inf]]])
    rays = torch.tensor([0.6, 0.0, 0.8]).expand(1, 1, 5, 3)
    np.testing.assert_allclose(depth_along_ray(z_m, rays).numpy(), [[[2.5, 0, 0, 0, 0]]])


def test_a_pinhole_is_found_in_photo_pixels_whatever_the_crop() -> None:
    """The network's rays are replaced by those of a known lens: its focal length must come back."""
    camera = street_camera(200, 90, focal_px=133.0)
    engine = seeded_engine()
    photo = random_photo(200, 90)
    prepared = engine._prepared([PhotoView(photo)])[0]
    rays = network_rays(camera, prepared.placement)
    _, (plain,) = engine.dense([PhotoView(photo)], (0,), MaskRules(drop_edges=False))
    with mock.patch.object(engine, "dense", return_value=(None, [replace(plain, rays=rays)])):
        found = engine.focal(photo)
    assert found.focal_x_px == pytest.approx(133.0, rel=1e-5)
    assert found.focal_y_px == pytest.approx(133.0, rel=1e-5)
    assert (found.principal_x_px, found.principal_y_px) == pytest.approx((99.0, 45.5), abs=1e-3)
    assert found.residual_px < 1e-3


# --- number formats ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_agrees_within_its_digits(dtype: torch.dtype) -> None:
    views = street_views(3)
    expected = seeded_engine().poses(views)
    model = seeded_model().use_dtype(dtype)
    found = seeded_engine(model=model).poses(views)
    assert model.dtype is dtype
    assert model.pose_head.fc_t.weight.dtype is torch.float32
    for one, other in zip(found.first_from_view, expected.first_from_view, strict=True):
        assert np.abs(one.matrix - other.matrix).max() < 0.05 * max(1.0, np.abs(other.matrix).max())


def test_numbers_that_overflow_are_an_error_with_its_remedy() -> None:
    model = seeded_model()
    model.encoder.model.blocks[0].mlp.w3.bias.fill_(1e30)
    model.use_dtype(torch.float16)
    with pytest.raises(ModelError, match=r"mapanything: the image encoder .* float16: .*bfloat16"):
        seeded_engine(model=model).poses(street_views(2))


def test_images_of_odd_size_are_refused() -> None:
    with pytest.raises(ValueError, match="31×30 is not a multiple of 6"):
        seeded_model().encode(torch.zeros(1, 3, 30, 31))

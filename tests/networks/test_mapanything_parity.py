"""The numbers of the official code, tensor by tensor, for every combination of inputs that it was run with."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.mapanything_world import TINY, TINY_ENCODER_HEAD_DIM, Inputs, assert_close_to, inputs_of
from support.parity_fixture import stored_arrays

from geocorrect.networks.image_input import IMAGENET
from geocorrect.networks.mapanything.intrinsics import fit_intrinsics
from geocorrect.networks.mapanything.loading import assemble
from geocorrect.networks.mapanything.masks import believed
from geocorrect.networks.mapanything.model import MapAnything
from geocorrect.networks.mapanything.sizes import layout_from_config
from geocorrect.networks.mapanything.view_inputs import normalised_depth, relative_poses, rotation_matrix
from geocorrect.networks.state_dict import read_tensors

pytestmark = pytest.mark.data

CASES = (
    "img2", "img1_square", "k3", "rays2", "depth2", "pose3", "all3", "all3_nonmetric", "all3_ignore_posescale",
    "all3_ignore_depth", "loc3_portrait", "loc1", "batch2",
)  # fmt: skip
Official = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def folder(shared_data: Path) -> Path:
    return shared_data / "mapanything_parity"


@pytest.fixture(scope="module")
def description(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "mapanything_tiny.json").read_text())
    return content


@pytest.fixture(scope="module")
def official(folder: Path) -> Official:
    return stored_arrays(folder / "mapanything_tiny_io.npz")


@pytest.fixture(scope="module")
def model(folder: Path, description: dict[str, Any]) -> MapAnything:
    layout = replace(layout_from_config(description["constructor"]), encoder_head_dim=TINY_ENCODER_HEAD_DIM)
    return assemble(read_tensors(folder / "mapanything_tiny.safetensors"), layout)


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def inputs(description: dict[str, Any], official: Official, case: str) -> Inputs:
    return inputs_of(description["cases"][case], official, case)


def test_the_tiny_network_is_the_stored_one(model: MapAnything, description: dict[str, Any]) -> None:
    assert model.sizes == TINY
    assert sum(parameter.numel() for parameter in model.parameters()) == description["parameters"] == 513_618
    assert list(description["cases"]) == list(CASES)


def test_encoders(model: MapAnything, official: Official, inputs: Inputs, case: str) -> None:
    patches, class_token = (
        inputs.in_official_order(part.unflatten(0, (inputs.batch, inputs.count)))
        for part in model.encoder.model(inputs.images())
    )
    assert_close_to(class_token.transpose(1, 2), official[f"{case}/enc_cls"])
    if f"{case}/enc_patch" in official:
        assert_close_to(
            patches.transpose(1, 2).reshape(official[f"{case}/enc_patch"].shape), official[f"{case}/enc_patch"]
        )
    geometry = inputs.geometry()
    if geometry is not None and f"{case}/ray_dirs_encoder_out" in official:
        assert geometry.rays is not None
        assert geometry.has_rays is not None
        found = model.ray_dirs_encoder(geometry.rays.permute(0, 3, 1, 2))
        _assert_where(found, official[f"{case}/ray_dirs_encoder_out"], geometry.has_rays, inputs)
    if geometry is not None and geometry.depth_m is not None:
        assert geometry.has_depth is not None
        values, log_mean = normalised_depth(geometry.depth_m)
        for name, found in (
            ("depth_encoder_in", values),
            ("depth_encoder_out", model.depth_encoder(values)),
            ("depth_scale_encoder_in", log_mean),
            ("depth_scale_encoder_out", model.depth_scale_encoder(log_mean)),
        ):
            if f"{case}/{name}" in official:
                _assert_where(found, official[f"{case}/{name}"], geometry.has_depth, inputs)


def _assert_where(found: torch.Tensor, expected: np.ndarray, mask: torch.Tensor, inputs: Inputs) -> None:
    """The official code runs its encoders for all views and masks later: compare those that have the input."""
    if found.ndim == 3:  # patch tokens
        found = found.transpose(1, 2).reshape(expected.shape)
    ordered = inputs.in_official_order(found.unflatten(0, (inputs.batch, inputs.count)))
    kept = inputs.in_official_order(mask.unflatten(0, (inputs.batch, inputs.count))).numpy()
    assert kept.any()
    assert_close_to(ordered[kept], expected[kept])


def test_pose_encoders(model: MapAnything, official: Official, inputs: Inputs, case: str) -> None:
    poses = inputs.poses()
    assert (poses is None) == (f"{case}/cam_rot_encoder_in" not in official)
    if poses is None:
        return
    relative = relative_poses(poses)
    for name, encoder, found in (
        ("cam_rot", model.cam_rot_encoder, relative.quaternion_xyzw),
        ("cam_trans", model.cam_trans_encoder, relative.direction),
        ("cam_trans_scale", model.cam_trans_scale_encoder, relative.log_scale),
    ):
        assert_close_to(inputs.in_official_order(found), official[f"{case}/{name}_encoder_in"])
        assert_close_to(inputs.in_official_order(encoder(found)), official[f"{case}/{name}_encoder_out"])


def test_fusion_and_every_block(model: MapAnything, official: Official, inputs: Inputs, case: str) -> None:
    fused = inputs.fuse(model)
    ordered = inputs.in_official_order(fused.patches.unflatten(2, fused.grid))
    assert_close_to(ordered, official[f"{case}/fused"])
    tokens, scale_token = model._sequence(fused)
    seen = 0
    for index, (state, scale) in enumerate(model.info_sharing.states(tokens, scale_token)):
        if f"{case}/block{index}" in official:
            expected = official[f"{case}/block{index}"]
            whole = torch.cat([state.flatten(1, 2), scale], dim=1)
            assert_close_to(state.flatten(0, 1) if index % 2 else whole, expected)
            seen += 1
    assert seen in (1, 8)


def test_fused_sum_before_its_norm(model: MapAnything, official: Official, inputs: Inputs, case: str) -> None:
    if f"{case}/fused_sum" not in official:
        return
    tokens, poses = inputs.encode(model), inputs.poses()
    found = tokens.patches.unflatten(0, (inputs.batch, inputs.count))
    if poses is not None:
        found = found + model.pose_codes(poses)[:, :, None]
    assert_close_to(inputs.in_official_order(found.unflatten(2, tokens.grid)), official[f"{case}/fused_sum"])


def test_inside_the_dense_head(model: MapAnything, official: Official) -> None:
    case = "img2"
    inputs = Inputs([{"img": official[f"{case}/in{view}/img"]} for view in (0, 1)], {})
    fused = inputs.fuse(model)
    transformed = model.transform(fused)
    levels = [fused.patches, *transformed.taps, transformed.last]
    for number, level in enumerate(levels[1:], start=1):
        ordered = inputs.in_official_order(level).transpose(1, 2)
        assert_close_to(ordered.unflatten(2, fused.grid), official[f"{case}/dpt_in{number}"])
    head = model.dense_head[0]
    maps = head.maps([level[:, 0] for level in levels], fused.grid)
    for number, found in enumerate(maps):
        assert_close_to(found, official[f"{case}/dpt_rn{number}_view0"])
    assert_close_to(head.scratch(maps), official[f"{case}/dpt_feat8x_view0"])


def test_raw_outputs_of_the_heads(model: MapAnything, official: Official, inputs: Inputs, case: str) -> None:
    fused = inputs.fuse(model)
    transformed = model.transform(fused)
    last = transformed.last
    raw_pose = model.pose_head(last.flatten(0, 1)).unflatten(0, last.shape[:2])
    assert_close_to(inputs.in_official_order(raw_pose), official[f"{case}/pose_raw"])
    assert_close_to(model.scale_head(transformed.scale_token)[:, None], official[f"{case}/scale_raw"])
    levels = [fused.patches, *transformed.taps, last]
    raw = torch.stack(
        [model.dense_head([level[:, view] for level in levels], fused.grid) for view in range(inputs.count)], dim=1
    )
    assert_close_to(inputs.in_official_order(raw), official[f"{case}/dense_raw"])


def test_final_outputs_of_every_view(model: MapAnything, official: Official, inputs: Inputs, case: str) -> None:
    fused = inputs.fuse(model)
    transformed = model.transform(fused)
    poses = model.poses(transformed)
    for view in range(inputs.count):
        expected = {
            key.removeprefix(f"{case}/out{view}/"): value
            for key, value in official.items()
            if key.startswith(f"{case}/out{view}/")
        }
        dense = model.dense(fused, transformed, view)
        quaternion, translation = poses.quaternion_xyzw[:, view], poses.translation[:, view]
        scale = poses.scale[:, None, None]
        turned = torch.einsum("nij,nhwj->nhwi", rotation_matrix(quaternion), dense.points)
        points_m = (turned + translation[:, None, None]) * scale[..., None]
        z_m = dense.points[..., 2] * scale
        found = {
            "cam_trans": poses.translation_m[:, view],
            "cam_quats": quaternion,
            "metric_scaling_factor": poses.scale[:, None],
            "ray_directions": dense.rays,
            "depth_along_ray": (dense.depth * scale)[..., None],
            "conf": dense.confidence,
            "non_ambiguous_mask_logits": dense.mask_logit,
            "pts3d": points_m,
            "pts3d_cam": dense.points * scale[..., None],
            "depth_z": z_m[..., None],
        }
        compared = set(expected) - {"intrinsics", "camera_poses", "non_ambiguous_mask", "mask", "img_no_norm"}
        assert compared <= set(found)
        assert len(compared) >= 3
        for name in compared:
            assert_close_to(found[name], expected[name])
        np.testing.assert_array_equal(dense.unambiguous.numpy(), expected["non_ambiguous_mask"])
        for scene in range(inputs.batch):
            rays = dense.rays[scene].numpy()
            assert_close_to(fit_intrinsics(rays, all_rays=True).matrix, expected["intrinsics"][scene], relative=1e-3)
            mask = believed(
                z_m[scene].numpy(),
                points_m[scene].numpy(),
                dense.confidence[scene].numpy(),
                dense.unambiguous[scene].numpy(),
            )
            assert (mask == expected["mask"][scene]).mean() >= 0.995


def test_images_are_normalised_as_stored(official: Official) -> None:
    for view in (0, 1):
        inputs = Inputs([{"img": official[f"img2/in{view}/img"]}], {})
        mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in IMAGENET)
        back = (inputs.images() * deviation + mean).clamp(0, 1).permute(0, 2, 3, 1)
        expected = official.get(f"img2/out{view}/img_no_norm", back.numpy())
        assert_close_to(back, expected, relative=1e-6)
        np.testing.assert_allclose(back.numpy(), official[f"img2/in{view}/img"] / 255.0, atol=1e-6)


def test_camera_poses_are_those_of_quaternion_and_translation(
    model: MapAnything, official: Official, inputs: Inputs, case: str
) -> None:
    from geocorrect.networks.mapanything.view_inputs import rotation_matrix

    poses = model.poses(model.transform(inputs.fuse(model)))
    for view in range(inputs.count):
        expected = official[f"{case}/out{view}/camera_poses"]
        assert_close_to(rotation_matrix(poses.quaternion_xyzw[:, view]), expected[:, :3, :3])
        assert_close_to(poses.translation_m[:, view], expected[:, :3, 3])

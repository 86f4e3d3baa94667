"""Single operations of the official code: resampled positions, resized photos, fitted pinholes, edges, agreement."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from support.mapanything_world import assert_close_to

from geocorrect.depth.calibration.given_geometry import ViewDepth, _convex_overlap, _frustum, agreement
from geocorrect.geometry.camera import Camera
from geocorrect.networks.dinov2 import resampled_positions
from geocorrect.networks.mapanything.intrinsics import fit_intrinsics
from geocorrect.networks.mapanything.masks import MaskRules, believed, depth_edges, normal_edges, surface_normals
from geocorrect.networks.mapanything.preprocess import common_size, network_image
from geocorrect.networks.mapanything.view_inputs import rotation_matrix
from geocorrect.networks.placement import Placement

pytestmark = pytest.mark.data
Operations = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def operations(shared_data: Path) -> Operations:
    with np.load(shared_data / "mapanything_parity" / "mapanything_ops.npz", allow_pickle=False) as content:
        return dict(content)


@pytest.mark.parametrize("grid", [(28, 37), (37, 28), (12, 37), (18, 37), (37, 37), (24, 37)])
def test_resampled_positions(operations: Operations, grid: tuple[int, int]) -> None:
    found = resampled_positions(torch.from_numpy(operations["pe_in"])[None], grid)[0]
    assert_close_to(found, operations[f"pe_out_{grid[0]}x{grid[1]}"], relative=1e-5)


def test_enlarging_to_the_size_of_the_image(operations: Operations) -> None:
    found = torch.nn.functional.interpolate(
        torch.from_numpy(operations["up_in"]), (42, 70), mode="bilinear", align_corners=True
    )
    assert_close_to(found, operations["up_out"], relative=1e-5)


def test_size_table(operations: Operations) -> None:
    for width, height, expected_width, expected_height in operations["prep_size_table"].tolist():
        assert common_size([(width, height)]) == (expected_width, expected_height)
    for row in operations["prep_multi"].tolist():
        sizes = [(width, height) for width, height in zip(row[0:6:2], row[1:6:2], strict=True) if width > 0]
        assert common_size(sizes) == tuple(row[6:])


def _official_intrinsics(intrinsics: np.ndarray, placement: Placement) -> np.ndarray:
    """The official code scales by one factor for both axes and then centres what the rounding cut off."""
    (width, height), (resized_width, resized_height) = placement.photo_size, placement.resized_size
    scale = max(placement.size[0] / width, placement.size[1] / height) + 1e-8
    found = intrinsics.astype(np.float64).copy()
    found[:2, 2] += 0.5
    found[:2] *= scale
    found[:2, 2] -= np.array([width * scale - resized_width, height * scale - resized_height]) / 2 + 0.5
    found[:2, 2] -= placement.crop_origin
    return found


@pytest.mark.parametrize("case", range(16))
def test_resized_and_cropped_photos(operations: Operations, case: int) -> None:
    assert operations["prep_count"] == 16
    photo, intrinsics = operations[f"prep{case}_img"], operations.get(f"prep{case}_K")
    width, height = operations[f"prep{case}_target_wh"].tolist()
    found, placement = network_image(photo, (width, height), rounds_even=intrinsics is not None)
    np.testing.assert_array_equal(found, operations[f"prep{case}_out_img_u8"])
    if intrinsics is None:
        return
    expected = operations[f"prep{case}_out_K"]
    np.testing.assert_allclose(_official_intrinsics(intrinsics, placement), expected, atol=1e-5)
    # Ours follows the pixels: resized by two factors. Within the part of a pixel that the rounding cut off.
    focal_x, focal_y, centre_x, centre_y = intrinsics[[0, 1, 0, 1], [0, 1, 2, 2]].tolist()
    camera = Camera.pinhole(photo.shape[1], photo.shape[0], focal_x, focal_y, centre_x, centre_y)
    exact = camera.resized(*placement.resized_size).cropped(*placement.crop_origin, width, height)
    corners = np.array([[0.0, 0.0], [width - 1.0, height - 1.0]])
    rays = exact.unproject(corners)
    official_px = (rays / rays[:, 2:]) @ expected.T
    assert np.abs(official_px[:, :2] - corners).max() < 1.0
    np.testing.assert_allclose(exact.unproject(corners), camera.unproject(placement.to_photo(corners)), atol=1e-12)


def test_pinhole_of_given_rays(operations: Operations) -> None:
    rays = operations["prepray_in"]
    _, placement = network_image(operations["prepray_img"], (56, 42), rounds_even=True)
    fitted = fit_intrinsics(rays).matrix
    np.testing.assert_allclose(_official_intrinsics(fitted, placement), operations["prepray_out_K"], atol=1e-3)


def test_rotations(operations: Operations) -> None:
    quaternions = Rotation.from_matrix(operations["rot_in"]).as_quat(canonical=True)
    np.testing.assert_allclose(np.abs((quaternions * operations["rot_quat"]).sum(axis=1)), 1.0, atol=1e-6)
    found = rotation_matrix(torch.from_numpy(operations["rot_quat"]).double())
    np.testing.assert_allclose(found.numpy(), operations["rot_back"], atol=1e-6)


@pytest.mark.parametrize("case", [0, 1])
def test_fitted_pinholes(operations: Operations, case: int) -> None:
    found = fit_intrinsics(operations[f"kfit{case}_rays"].astype(np.float32), all_rays=True)
    np.testing.assert_allclose(found.matrix, operations[f"kfit{case}_K"], rtol=1e-5, atol=1e-3)


def test_edges(operations: Operations) -> None:
    z, mask = operations["edge_z"].astype(np.float64), operations["edge_nonamb"]
    points = _edge_points(operations)
    normals, valid = surface_normals(points, mask)
    np.testing.assert_array_equal(valid, operations["edge_normals_mask"])
    np.testing.assert_allclose(normals, operations["edge_normals"], atol=1e-5)
    np.testing.assert_array_equal(depth_edges(z, mask, 0.03), operations["edge_depth_edge"])
    found = normal_edges(normals, valid, 5.0)
    assert (found == operations["edge_normal_edge_fp64"]).mean() >= 0.999


@pytest.mark.parametrize(
    ("rules", "name"),
    [
        (MaskRules(), "mask"),
        (MaskRules(drop_edges=False), "mask_noedges"),
        (MaskRules(dropped_share=0.10), "mask_conf10"),
        (MaskRules(dropped_share=0.35, drop_edges=False), "mask_conf35"),
    ],
)
def test_final_masks(operations: Operations, rules: MaskRules, name: str) -> None:
    z, unambiguous = operations["edge_z"].astype(np.float64), operations["edge_nonamb"]
    found = believed(z, _edge_points(operations), operations["edge_conf"], unambiguous, rules)
    assert (found == operations[f"edge_final_{name}"]).mean() >= 0.999


def _edge_points(operations: Operations) -> np.ndarray:
    """The stored scene of the edge tests: its z-depth through a pinhole of 70 px, which the stored normals confirm."""
    z = operations["edge_z"].astype(np.float64)
    v, u = np.mgrid[: z.shape[0], : z.shape[1]]
    return np.stack([(u - 39.5) / 70.0 * z, (v - 29.5) / 70.0 * z, z], axis=-1)


@pytest.fixture
def overlapping(operations: Operations) -> list[ViewDepth]:
    intrinsics = operations["mv_K"].astype(float)
    return [
        ViewDepth(z.astype(float), mask, intrinsics, pose.astype(float))
        for z, mask, pose in zip(operations["mv_depth"], operations["mv_mask"], operations["mv_pose"], strict=True)
    ]


def test_which_views_overlap(operations: Operations, overlapping: list[ViewDepth]) -> None:
    corners = [_frustum(view) for view in overlapping]
    found = [[_convex_overlap(a, b) for b in corners] for a in corners]
    np.testing.assert_array_equal(found, operations["mv_frustum"])
    assert not operations["mv_frustum"].all()


def test_agreement_of_views(operations: Operations, overlapping: list[ViewDepth]) -> None:
    """All but points in the half pixel at two edges of a witness (1.8 % of it), which the official code leaves out."""
    shares = [(np.abs(f - e) < 1e-3).mean() for f, e in zip(agreement(overlapping), operations["mv_conf"], strict=True)]
    assert min(shares) >= 0.975, shares

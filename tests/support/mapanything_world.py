"""A tiny MapAnything: the published architecture at a size for tests, with seeded weights, and the stored cases."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.networks.image_input import IMAGENET, normalised
from geocorrect.networks.mapanything.engine import MapAnythingEngine
from geocorrect.networks.mapanything.model import FusedViews, MapAnything, ViewTokens
from geocorrect.networks.mapanything.photo_view import DepthHints, PhotoView
from geocorrect.networks.mapanything.sizes import MapAnythingSizes
from geocorrect.networks.mapanything.view_inputs import (
    ViewGeometry,
    ViewPoses,
    depth_along_ray,
    unit_rays,
)
from geocorrect.networks.shapes import StackSizes
from geocorrect.networks.store import TensorStore

TINY_ENCODER_HEAD_DIM = 20
TINY_STACK = StackSizes(dim=40, depth=3, heads=2, hidden_dim=112)
TINY = MapAnythingSizes(
    patch_px=6,
    position_grid=6,
    encoder=TINY_STACK,
    transformer=StackSizes(dim=40, depth=8, heads=4, hidden_dim=112),
    taps=(3, 5),
    scale_token_dim=40,
    ray_dims=(16, 20, 24),
    depth_dims=(12, 16, 20),
    global_dims=(8, 12, 16),
    dpt_layer_dims=(8, 12, 16, 24),
    dpt_feature_dim=16,
    dpt_last_dim=8,
    pose_hidden_dim=144,
    scale_hidden_dim=12,
)


def seeded_model(seed: int = 4, sizes: MapAnythingSizes = TINY) -> MapAnything:
    """The architecture with seeded weights at which every part matters: needs no data."""
    torch.manual_seed(seed)
    model = MapAnything(sizes).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        if name.endswith(("token", "pos_embed", "bias")):
            parameter.normal_(0.0, 0.3)
        elif name.endswith("gamma") or "norm" in name:
            parameter.normal_(0.7, 0.2)
    return model


def rays_of_pinhole(intrinsics: Tensor, height: int, width: int) -> Tensor:
    """(N, 3, 3) intrinsic matrices without skew → (N, H, W, 3) unit rays of pixels with integer centres."""
    v, u = torch.meshgrid(
        torch.arange(height, dtype=torch.float32, device=intrinsics.device),
        torch.arange(width, dtype=torch.float32, device=intrinsics.device),
        indexing="ij",
    )
    focal_x, focal_y, centre_x, centre_y = (
        intrinsics[:, row, column, None, None] for row, column in ((0, 0), (1, 1), (0, 2), (1, 2))
    )
    x, y = (u - centre_x) / focal_x, (v - centre_y) / focal_y
    rays = torch.stack([x, y, torch.ones_like(x)], dim=-1)
    return rays / torch.linalg.vector_norm(rays, dim=-1, keepdim=True)


def inputs_of(case: dict[str, Any], official: dict[str, np.ndarray], name: str) -> Inputs:
    """The stored inputs of a case as tensors, scene by scene: (B, V, …)."""
    views = [
        {key.rsplit("/", 1)[1]: official[key] for key in official if key.startswith(f"{name}/in{view}/")}
        for view in range(case["n_views"])
    ]
    return Inputs(views, case["infer_flags"])


class Inputs:
    """The stored inputs of one case; the batch is scene-major: index b·V + v."""

    def __init__(self, views: list[dict[str, np.ndarray]], flags: dict[str, bool]) -> None:
        self.views, self.flags = views, flags
        self.count, self.batch = len(views), len(views[0]["img"])

    def images(self) -> Tensor:
        return self._flat([torch.stack([normalised(image, IMAGENET) for image in view["img"]]) for view in self.views])

    def geometry(self) -> ViewGeometry | None:
        rays = [self._rays(view) for view in self.views]
        if all(part is None for part in rays):
            return None
        shape = self.views[0]["img"].shape
        has_rays = [torch.full((self.batch,), part is not None) for part in rays]
        filled = [torch.zeros(shape) + torch.tensor([0.0, 0.0, 1.0]) if part is None else part for part in rays]
        depth, has_depth = [], []
        for view, own in zip(self.views, filled, strict=True):
            known = "depth_z" in view and not self.flags.get("ignore_depth_inputs", False)
            z_m = torch.from_numpy(view["depth_z"]) if known else torch.zeros(shape[:3])
            depth.append(depth_along_ray(z_m, own))
            has_depth.append(torch.full((self.batch,), known))
        any_depth = bool(torch.stack(has_depth).any())
        return ViewGeometry(
            self._flat(filled),
            self._flat(has_rays),
            self._flat(depth) if any_depth else None,
            self._flat(has_depth) if any_depth else None,
            self._flat([self._metric(view) for view in self.views]),
        )

    def poses(self) -> ViewPoses | None:
        quaternions, translations, known = [], [], []
        for view in self.views:
            has_pose = "camera_poses" in view or "camera_quats" in view
            known.append(torch.full((self.batch,), has_pose))
            quaternion, translation = np.tile([0.0, 0.0, 0.0, 1.0], (self.batch, 1)), np.zeros((self.batch, 3))
            if "camera_poses" in view:
                matrix = view["camera_poses"]
                quaternion = Rotation.from_matrix(matrix[:, :3, :3]).as_quat(canonical=True)
                translation = matrix[:, :3, 3]
            elif has_pose:
                quaternion, translation = view["camera_quats"], view["camera_trans"]
            quaternions.append(torch.as_tensor(quaternion))
            translations.append(torch.as_tensor(translation))
        if not torch.stack(known).any():
            return None
        metric = torch.stack([self._metric(view) for view in self.views], dim=1)
        return ViewPoses(*(torch.stack(part, dim=1) for part in (quaternions, translations, known)), metric)

    def encode(self, model: MapAnything) -> ViewTokens:
        return model.encode(self.images(), self.geometry())

    def fuse(self, model: MapAnything) -> FusedViews:
        tokens = self.encode(model)
        patches, class_token = (
            part.unflatten(0, (self.batch, self.count)) for part in (tokens.patches, tokens.class_token)
        )
        use_scale = not self.flags.get("ignore_pose_scale_inputs", False)
        return model.fuse(patches, class_token, tokens.grid, self.poses(), use_scale)

    def in_official_order(self, found: Tensor) -> Tensor:
        """(B, V, …) → (V·B, …), as most stored tensors are."""
        return found.transpose(0, 1).flatten(0, 1)

    def _rays(self, view: dict[str, np.ndarray]) -> Tensor | None:
        height, width = view["img"].shape[1:3]
        if "intrinsics" in view:
            return rays_of_pinhole(torch.from_numpy(view["intrinsics"]), height, width)
        return unit_rays(torch.from_numpy(view["ray_directions"])) if "ray_directions" in view else None

    def _metric(self, view: dict[str, np.ndarray]) -> Tensor:
        return torch.from_numpy(view.get("is_metric_scale", np.ones(self.batch, bool)))

    def _flat(self, parts: list[Tensor]) -> Tensor:
        return torch.stack(parts, dim=1).flatten(0, 1)


def assert_close_to(found: Tensor | np.ndarray, expected: np.ndarray, relative: float = 1e-4) -> None:
    """Within `relative` of the largest value, as the differences of float32 sums go."""
    found = np.asarray(found)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= relative * np.abs(expected).max()


def street_camera(width: int = 70, height: int = 50, focal_px: float = 60.0) -> Camera:
    """A pinhole with a principal point off the centre."""
    return Camera.pinhole(width, height, focal_px, focal_px, width / 2 - 1.0, height / 2 + 0.5)


TINY_V1 = MapAnythingSizes(
    patch_px=6,
    position_grid=6,
    encoder=StackSizes(dim=40, depth=3, heads=2, hidden_dim=160, gated=False),
    encoder_norm=True,
    class_tokens=False,
    transformer=StackSizes(dim=32, depth=8, heads=4, hidden_dim=128, gated=False),
    taps=(3, 5),
    scale_token_dim=40,
    ray_dims=(16, 20, 24),
    depth_dims=(12, 16, 20),
    global_dims=(8, 12, 16),
    dpt_layer_dims=(8, 12, 16, 24),
    dpt_feature_dim=16,
    dpt_last_dim=8,
    pose_hidden_dim=144,
    scale_hidden_dim=12,
)
"""The first version's parts: GELU blocks, a norm after the encoder, a projection, no class tokens."""


TINY_SIZES = {0.7: (30, 42), 1.0: (36, 36), 1.4: (42, 30)}
"""Network sizes of the tiny engine, by width over height."""


def seeded_engine(store: TensorStore | None = None, model: MapAnything | None = None) -> MapAnythingEngine:
    """An engine around the seeded model."""
    return MapAnythingEngine(model or seeded_model(), "seeded", store or TensorStore(), sizes=TINY_SIZES)


def random_photo(width: int = 70, height: int = 50, seed: int = 0) -> np.ndarray:
    """(height, width, 3) uint8 with structure at every scale."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def street_views(count: int, posed: int | None = None, hints: bool = True, seed: int = 0) -> list[PhotoView]:
    """Views along a street, the first `posed` of them (default: all) with pose, lens and, where asked, depth hints."""
    random = np.random.default_rng(seed)
    posed = count if posed is None else posed
    views = []
    for index in range(count):
        photo = random_photo(seed=seed + index)
        camera = street_camera()
        if index >= posed:
            views.append(PhotoView(photo, camera))
            continue
        rotation = Rotation.from_rotvec(random.normal(0.0, 0.2, 3))
        pose = Pose(rotation, np.array([5000.0 + 3.0 * index, -300.0 + 0.4 * index**2, 20.0 + 0.1 * index]))
        px = np.column_stack([random.uniform(0, 69, 60), random.uniform(0, 49, 60)])
        depth = DepthHints(px, random.uniform(3.0, 30.0, 60)) if hints else None
        views.append(PhotoView(photo, camera, pose, depth))
    return views

"""The small heads: pose of a view, metric scale of a scene. Attribute names are those of the published checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from geocorrect.networks.dinov2 import Grid
from geocorrect.networks.mapanything.sizes import MapAnythingSizes
from geocorrect.networks.mast3r.dpt import FusionBlocks, resamplings

RESIDUAL_BLOCKS = 2
SCALE_LAYERS = 2


class PointwiseResidual(nn.Module):
    """Three 1×1 convolutions with ReLU, plus the input."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.res_conv1, self.res_conv2, self.res_conv3 = (nn.Conv2d(dim, dim, 1) for _ in range(3))

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) → the same shape."""
        inner = features
        for convolution in (self.res_conv1, self.res_conv2, self.res_conv3):
            inner = functional.relu(convolution(inner))
        return features + inner


class PoseHead(nn.Module):
    """Patch tokens of a view → raw translation (3) and quaternion (4)."""

    def __init__(self, sizes: MapAnythingSizes) -> None:
        super().__init__()
        dim = sizes.pose_hidden_dim
        self.proj = nn.Conv2d(sizes.transformer.dim, dim, 1)
        self.res_conv = nn.ModuleList(PointwiseResidual(dim) for _ in range(RESIDUAL_BLOCKS))
        self.more_mlps = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim), nn.ReLU())
        self.fc_t = nn.Linear(dim, 3)
        self.fc_rot = nn.Linear(dim, 4)

    def forward(self, patches: Tensor) -> Tensor:
        """(B, N, D) → (B, 7)."""
        features = self.proj(patches.transpose(1, 2)[..., None])
        for residual in self.res_conv:
            features = residual(features)
        pooled = self.more_mlps(features.mean(dim=(2, 3)))
        return torch.cat([self.fc_t(pooled), self.fc_rot(pooled)], dim=-1)


class ScaleHead(nn.Module):
    """The scale token → the raw logarithm of the metric scale."""

    def __init__(self, sizes: MapAnythingSizes) -> None:
        super().__init__()
        dim = sizes.scale_hidden_dim
        self.proj = nn.Linear(sizes.transformer.dim, dim)
        self.mlp = nn.Sequential(*(nn.Sequential(nn.Linear(dim, dim), nn.ReLU()) for _ in range(SCALE_LAYERS)))
        self.output_proj = nn.Linear(dim, 1)

    def forward(self, token: Tensor) -> Tensor:
        """(B, D) → (B, 1)."""
        return self.output_proj(self.mlp(self.proj(token)))


OUTPUT_CHANNELS = 6
"""Ray direction (3), log depth along the ray, log confidence, logit of being unambiguous."""


class FeatureHead(nn.Module):
    """Tokens of four depths → features at 8 times the token grid."""

    def __init__(self, sizes: MapAnythingSizes) -> None:
        super().__init__()
        widths, dim = sizes.dpt_layer_dims, sizes.dpt_feature_dim
        token_dims = (sizes.encoder.dim, *(sizes.transformer.dim,) * 3)
        self.input_process = nn.ModuleList(
            nn.Sequential(
                nn.Sequential(nn.Conv2d(token_dim, width, 1), *resampling),
                nn.Conv2d(width, dim, 3, padding=1, bias=False),
            )
            for token_dim, width, resampling in zip(token_dims, widths, resamplings(widths), strict=True)
        )
        self.scratch = FusionBlocks(dim)
        del self.scratch.refinenet4.resConfUnit1  # the checkpoint has no tensors for what nothing goes through

    def maps(self, tokens: Sequence[Tensor], grid: Grid) -> list[Tensor]:
        """Four (B, N, D) token sets → four maps of one width, at 4, 2, 1 and 1/2 times the grid."""
        return [
            process(part.transpose(1, 2).unflatten(2, grid))
            for process, part in zip(self.input_process, tokens, strict=True)
        ]

    def forward(self, tokens: Sequence[Tensor], grid: Grid) -> Tensor:
        """Four (B, N, D) token sets → (B, C, 8·rows, 8·columns)."""
        return self.scratch(self.maps(tokens, grid))


class RegressionHead(nn.Module):
    """Features → raw values at the size of the image."""

    def __init__(self, sizes: MapAnythingSizes) -> None:
        super().__init__()
        dim, last = sizes.dpt_feature_dim, sizes.dpt_last_dim
        self.patch_px = sizes.patch_px
        self.conv1 = nn.Conv2d(dim, last, 3, padding=1)
        self.conv2 = nn.Sequential(nn.Conv2d(last, last, 3, padding=1), nn.ReLU(), nn.Conv2d(last, OUTPUT_CHANNELS, 1))

    def forward(self, features: Tensor, grid: Grid) -> Tensor:
        """(B, C, 8·rows, 8·columns) → (B, 6, H, W)."""
        size = (grid[0] * self.patch_px, grid[1] * self.patch_px)
        return self.conv2(functional.interpolate(self.conv1(features), size, mode="bilinear", align_corners=True))


class DenseHead(nn.ModuleList):
    """Both parts, numbered as in the checkpoint."""

    def __init__(self, sizes: MapAnythingSizes) -> None:
        super().__init__([FeatureHead(sizes), RegressionHead(sizes)])

    def forward(self, tokens: Sequence[Tensor], grid: Grid) -> Tensor:
        """Four (B, N, D) token sets → (B, 6, H, W)."""
        features, regression = self
        return regression(features(tokens, grid), grid)


EPSILON = 1e-8


@dataclass(frozen=True, eq=False)
class Poses:
    """Poses of the views in the frame of the first view, up to the metric scale, float32.

    The pose of the first view is predicted like the others: near the identity, not exactly it.
    """

    quaternion_xyzw: Tensor
    """(B, V, 4) first_from_view, unit length, either sign."""
    translation: Tensor
    """(B, V, 3) camera centre over the metric scale."""
    scale: Tensor
    """(B,) metric scale: what lengths are multiplied by to be metres."""

    @property
    def translation_m(self) -> Tensor:
        """(B, V, 3) camera centre in metres."""
        return self.translation * self.scale[:, None, None]


@dataclass(frozen=True, eq=False)
class DenseView:
    """Dense prediction of N views, up to the metric scale, float32."""

    rays: Tensor
    """(N, H, W, 3) unit ray directions in the camera frame; z is not forced to be positive."""
    depth: Tensor
    """(N, H, W) distance along the ray over the metric scale."""
    confidence: Tensor
    """(N, H, W), above 1; larger is better."""
    mask_logit: Tensor
    """(N, H, W), positive where the pixel has one depth (no sky, no glass)."""

    @property
    def unambiguous(self) -> Tensor:
        """(N, H, W) bool."""
        return torch.sigmoid(self.mask_logit) > 0.5

    @property
    def points(self) -> Tensor:
        """(N, H, W, 3) points in the camera frame over the metric scale."""
        return self.rays * self.depth[..., None]


def dense_from_raw(raw: Tensor) -> DenseView:
    """(N, 6, H, W) raw output of the dense head."""
    raw = raw.float().permute(0, 2, 3, 1)
    direction = raw[..., :3]
    length = torch.linalg.vector_norm(direction, dim=-1, keepdim=True).clamp(min=EPSILON)
    return DenseView(direction / length, raw[..., 3].exp(), 1.0 + raw[..., 4].exp(), raw[..., 5])


def poses_from_raw(raw_pose: Tensor, raw_scale: Tensor) -> Poses:
    """(B, V, 7) raw output of the pose head and (B, 1) of the scale head."""
    quaternion = raw_pose[..., 3:]
    length = torch.linalg.vector_norm(quaternion, dim=-1, keepdim=True).clamp(min=EPSILON)
    return Poses(quaternion / length, raw_pose[..., :3], raw_scale[:, 0].exp().clamp(min=EPSILON))

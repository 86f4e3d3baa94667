"""The small heads: pose of a view, metric scale of a scene. Attribute names are those of the published checkpoints."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from geocorrect.networks.mapanything.sizes import MapAnythingSizes

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

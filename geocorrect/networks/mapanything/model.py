"""The network as parts that can be called by need: encode a view once, look at all views together, read what is wanted.

Encoder and multi-view transformer may run in a 16-bit format; geometric encoders, heads and activations are float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from geocorrect.networks.dinov2 import NORM_EPSILON, Block, Grid, VisionTransformer, block_stack
from geocorrect.networks.exact import full_float32, require_finite
from geocorrect.networks.mapanything.layers.fusion import GeometryFusion
from geocorrect.networks.mapanything.layers.heads import (
    DenseHead,
    DenseView,
    PoseHead,
    Poses,
    ScaleHead,
    dense_from_raw,
    poses_from_raw,
)
from geocorrect.networks.mapanything.sizes import MapAnythingSizes
from geocorrect.networks.mapanything.view_inputs import ViewGeometry, ViewPoses


@dataclass(frozen=True, eq=False)
class Transformed:
    """What the heads read, normalised, float32."""

    taps: tuple[Tensor, ...]
    """Patch tokens (B, V, T, D) after the tapped blocks; empty where no dense output is wanted."""

    last: Tensor
    """Patch tokens (B, V, T, D) after the last block."""

    scale_token: Tensor
    """(B, D) after the last block that sees all views."""


class MultiViewTransformer(nn.Module):
    """Even blocks see every token of every view and the scale token, odd blocks the tokens of one view."""

    def __init__(self, sizes: MapAnythingSizes) -> None:
        super().__init__()
        stack = sizes.transformer
        self.tap_blocks = sizes.taps
        self.self_attention_blocks = block_stack(stack)
        self.norm = nn.LayerNorm(stack.dim, eps=NORM_EPSILON)
        projected = sizes.encoder.dim != stack.dim
        self.proj_embed = nn.Linear(sizes.encoder.dim, stack.dim) if projected else nn.Identity()
        self.view_pos_table: Tensor | None
        marker = torch.zeros(1, stack.dim)
        marker[:, 1::2] = 1.0  # the sinusoidal table at position 0
        self.register_buffer("view_pos_table", marker if sizes.marks_first_view else None)

    def states(self, views: Tensor, scale_token: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Tokens (B, V, N, D) and scale token (B, 1, D) after each block, from fused and projected ones."""
        tokens = self._marked(views)
        for index in range(len(self.self_attention_blocks)):
            tokens, scale_token = self._after(index, tokens, scale_token)
            yield tokens, scale_token

    def forward(self, views: Tensor, scale_token: Tensor, n_patches: int, dense: bool = True) -> Transformed:
        """(B, V, N, D) tokens of the views, of which the first `n_patches` are patches, and (B, 1, D).

        dense: whether the dense head is to follow, which reads the taps.
        """
        taps = []
        for index, state in enumerate(self.states(views, scale_token)):
            if dense and index in self.tap_blocks:
                taps.append(self.norm(state[0][:, :, :n_patches]))
        tokens, scale_token = state
        return Transformed(tuple(taps), self.norm(tokens[:, :, :n_patches]), self.norm(scale_token[:, 0]))

    def _after(self, index: int, tokens: Tensor, scale_token: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens and scale token after a block: even ones see all views and the scale token, odd ones one view."""
        block = self.self_attention_blocks[index]
        if index % 2:
            return block(tokens.flatten(0, 1)).unflatten(0, tokens.shape[:2]), scale_token
        sequence = block(torch.cat([tokens.flatten(1, 2), scale_token], dim=1))
        return sequence[:, :-1].unflatten(1, tokens.shape[1:3]), sequence[:, -1:]

    def _marked(self, views: Tensor) -> Tensor:
        if self.view_pos_table is None:
            return views
        return torch.cat([views[:, :1] + self.view_pos_table, views[:, 1:]], dim=1)


@dataclass(frozen=True, eq=False)
class ViewTokens:
    """N views before they meet others: all that can be cached per view. float32."""

    patches: Tensor
    """(N, T, D) patch tokens plus the codes of rays, depth and depth scale, not normalised."""
    class_token: Tensor
    """(N, 1, D) of the image encoder."""
    grid: Grid
    """(rows, columns) of patches."""


@dataclass(frozen=True, eq=False)
class FusedViews:
    """B scenes of V views after fusion."""

    patches: Tensor
    """(B, V, T, D) normalised sum of patch tokens and all codes."""
    class_token: Tensor
    """(B, V, 1, D) of the image encoder."""
    grid: Grid
    """(rows, columns) of patches."""


class MapAnything(GeometryFusion):
    """MapAnything. The first view is the frame of the output and carries a marker; the order of others is irrelevant.

    All views of a scene have one size. A part that overflows raises ModelError instead of handing nan on.
    """

    def __init__(self, sizes: MapAnythingSizes) -> None:
        super().__init__(sizes)
        self.sizes = sizes
        encoder = VisionTransformer(sizes.encoder, sizes.patch_px, sizes.position_grid, sizes.encoder_norm)
        self.encoder: Any = nn.ModuleDict({"model": encoder})  # the level of naming that the checkpoint has
        self.info_sharing = MultiViewTransformer(sizes)
        self.scale_token = nn.Parameter(torch.zeros(sizes.scale_token_dim))
        self.dense_head = DenseHead(sizes)
        self.pose_head = PoseHead(sizes)
        self.scale_head = ScaleHead(sizes)

    @property
    def dtype(self) -> torch.dtype:
        """Of the linear layers of encoder and multi-view transformer."""
        return self._blocks()[0].attn.qkv.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.scale_token.device

    def use_dtype(self, dtype: torch.dtype) -> MapAnything:
        """Convert the linear layers of encoder and transformer once; all else stays float32."""
        for block in self._blocks():
            block.use_dtype(dtype)
        return self

    def compile_blocks(self) -> MapAnything:
        """Compile what is repeated."""
        for block in self._blocks():
            block.compile()
        return self

    @torch.inference_mode()
    @full_float32()
    def encode(self, images: Tensor, geometry: ViewGeometry | None = None, use_depth_scale: bool = True) -> ViewTokens:
        """(N, 3, H, W) normalised images, sides multiples of the patch, and what is known of them beside pixels."""
        height, width = images.shape[-2:]
        patch = self.sizes.patch_px
        if height % patch or width % patch:
            raise ValueError(f"image size {width}×{height} is not a multiple of {patch}")
        patches, class_token = self.encoder.model(images.to(self.device))
        if geometry is not None:
            patches = patches + self.geometry_codes(geometry, use_depth_scale)
        require_finite(patches, "mapanything", "image encoder", self.dtype)
        return ViewTokens(patches, class_token, (height // patch, width // patch))

    @torch.inference_mode()
    @full_float32()
    def fuse(
        self, patches: Tensor, class_token: Tensor, grid: Grid, poses: ViewPoses | None, use_pose_scale: bool = True
    ) -> FusedViews:
        """(B, V, T, D) sums and (B, V, 1, D) class tokens of `encode`, plus the codes of the poses, normalised."""
        if poses is not None:
            patches = patches + self.pose_codes(poses, use_pose_scale)[:, :, None]
        return FusedViews(self.fusion_norm_layer(patches), class_token, grid)

    @torch.inference_mode()
    @full_float32()
    def transform(self, views: FusedViews, dense: bool = True) -> Transformed:
        """All views together; without `dense` what poses and scale are read from, which takes less memory."""
        found = self.info_sharing(*self._sequence(views), views.patches.shape[2], dense)
        require_finite(found.last, "mapanything", "multi-view transformer", self.dtype)
        return found

    @torch.inference_mode()
    @full_float32()
    def poses(self, transformed: Transformed) -> Poses:
        """Poses of the views, and the metric scale."""
        last = transformed.last
        raw_pose = self.pose_head(last.flatten(0, 1)).unflatten(0, last.shape[:2])
        raw_scale = self.scale_head(transformed.scale_token)
        require_finite(raw_pose, "mapanything", "pose head", self.dtype)
        require_finite(raw_scale, "mapanything", "scale head", self.dtype)
        return poses_from_raw(raw_pose, raw_scale)

    @torch.inference_mode()
    @full_float32()
    def dense(self, views: FusedViews, transformed: Transformed, view: int) -> DenseView:
        """Rays, depth and confidence (B, H, W, …) of one view; view by view keeps memory small."""
        if not transformed.taps:
            raise ValueError("the dense head needs `transform(dense=True)`")
        tokens = [part[:, view] for part in (views.patches, *transformed.taps, transformed.last)]
        raw = self.dense_head(tokens, views.grid)
        require_finite(raw, "mapanything", "dense head", self.dtype)
        return dense_from_raw(raw)

    def _sequence(self, views: FusedViews) -> tuple[Tensor, Tensor]:
        """Tokens (B, V, N, D) and scale token (B, 1, D), at the width of the transformer."""
        tokens = torch.cat([views.patches, views.class_token], dim=2) if self.sizes.class_tokens else views.patches
        scale_token = self.scale_token.expand(len(tokens), 1, -1)
        project = self.info_sharing.proj_embed
        if self.sizes.scale_token_dim == self.sizes.encoder.dim:
            scale_token = project(scale_token)
        return project(tokens), scale_token

    def _blocks(self) -> list[Block]:
        stacks = (self.encoder.model.blocks, self.info_sharing.self_attention_blocks)
        return [block for stack in stacks for block in stack if isinstance(block, Block)]

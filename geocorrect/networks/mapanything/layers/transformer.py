"""The multi-view transformer: attention over all views and within each view, in turns (Wang et al. 2025, VGGT)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from geocorrect.networks.dinov2 import NORM_EPSILON, block_stack
from geocorrect.networks.mapanything.sizes import MapAnythingSizes


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

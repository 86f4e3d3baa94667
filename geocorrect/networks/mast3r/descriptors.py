"""The descriptor head: an MLP per token, unfolded to one descriptor per pixel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from geocorrect.networks.mast3r.dpt import DptHead
from geocorrect.networks.mast3r.sizes import PATCH_PX, Mast3rSizes
from geocorrect.networks.mast3r.vit import FeedForward, Grid


class ViewHeads(nn.Module):
    """The two heads of one view, named as in the official checkpoint."""

    def __init__(self, sizes: Mast3rSizes) -> None:
        super().__init__()
        tokens_dim = sizes.encoder_dim + sizes.decoder_dim
        out_dim = (sizes.descriptor_dim + 1) * PATCH_PX**2
        self.head_local_features = FeedForward(tokens_dim, sizes.descriptor_hidden_dim, out_dim)
        self.dpt = DptHead(sizes)

    def raw_descriptors(self, encoded: Tensor, decoded: Tensor) -> Tensor:
        """Encoder tokens (B, N, De) and final decoder tokens (B, N, Dd) → (B, N, 25·256)."""
        encoded = encoded.expand(len(decoded), -1, -1)
        return self.head_local_features(torch.cat([encoded, decoded], dim=-1))


def descriptors_from_raw(raw: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """Raw head output (B, N, (C + 1)·256) → unit descriptors (B, H, W, C) and their confidence (B, H, W) > 0."""
    rows, columns = grid
    pixels = raw.unflatten(1, (rows, columns)).unflatten(-1, (-1, PATCH_PX, PATCH_PX))
    pixels = pixels.permute(0, 1, 4, 2, 5, 3).reshape(len(raw), PATCH_PX * rows, PATCH_PX * columns, -1).float()
    confidence = pixels[..., -1].exp()
    descriptors = pixels[..., :-1]
    return descriptors / torch.linalg.vector_norm(descriptors, dim=-1, keepdim=True), confidence

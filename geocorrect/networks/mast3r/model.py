"""The network as parts that can be called by need: encode once per image, decode per pair, then the wanted heads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from geocorrect.networks import dinov2
from geocorrect.networks.dinov2 import NORM_EPSILON, FeedForward, Grid, PatchEmbedding
from geocorrect.networks.exact import full_float32, require_finite
from geocorrect.networks.mast3r.dpt import DptHead, points_from_raw
from geocorrect.networks.mast3r.sizes import PATCH_PX, Mast3rSizes

RotaryTable = tuple[Tensor, Tensor]
"""(cosine, signed sine) of a grid, see `rotary_table`."""

ROTARY_BASE = 100.0


@lru_cache(maxsize=64)
def rotary_table(grid: Grid, head_dim: int, dtype: torch.dtype, device: torch.device) -> RotaryTable:
    """(cosine, signed sine), each (rows·columns, head_dim), for `rotate`.

    The first half of the channels turns with the row, the second with the column; each half pairs channel i with
    channel i + head_dim/4. Angles are taken in float32 and only the tables are cast: half precision angles are off by
    whole tokens at the far end of the grid.
    """
    quarter = head_dim // 4
    frequency = ROTARY_BASE ** (-torch.arange(quarter, dtype=torch.float32) / quarter)
    rows = torch.arange(grid[0], dtype=torch.float32).repeat_interleave(grid[1])
    columns = torch.arange(grid[1], dtype=torch.float32).repeat(grid[0])
    row_angle, column_angle = rows[:, None] * frequency, columns[:, None] * frequency
    angle = torch.cat([row_angle, row_angle, column_angle, column_angle], dim=1)
    sign = torch.ones(4, quarter)
    sign[0] = sign[2] = -1.0
    sine = angle.sin() * sign.flatten()
    return angle.cos().to(device, dtype), sine.to(device, dtype)


def rotate(tokens: Tensor, table: RotaryTable) -> Tensor:
    """Rotary positions applied to queries or keys (…, N, head_dim)."""
    cosine, signed_sine = table
    swapped = tokens.unflatten(-1, (2, 2, -1)).flip(-2).flatten(-3)
    return torch.addcmul(tokens * cosine, swapped, signed_sine)


class SelfAttention(dinov2.SelfAttention):
    """Multi-head attention of a token sequence with itself, with rotary positions."""

    def forward(self, tokens: Tensor, table: RotaryTable) -> Tensor:  # type: ignore[override]
        """(B, N, D) → (B, N, D)."""
        query, key, value = self.projected(tokens)
        return self.attended(rotate(query, table), rotate(key, table), value)


class EncoderBlock(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.attn = SelfAttention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.mlp = FeedForward(dim, 4 * dim)

    def forward(self, tokens: Tensor, table: RotaryTable) -> Tensor:
        """(B, N, D) → (B, N, D)."""
        tokens = tokens + self.attn(self.norm1(tokens), table)
        return tokens + self.mlp(self.norm2(tokens))


class CrossAttention(nn.Module):
    """Attention of one view's tokens to the other view's; each side keeps its own positions."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.projq = nn.Linear(dim, dim)
        self.projk = nn.Linear(dim, dim)
        self.projv = nn.Linear(dim, dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor, memory: Tensor, table: RotaryTable, memory_table: RotaryTable) -> Tensor:
        """(B, N, D) and (B', M, D) → (max(B, B'), N, D); a batch of one on either side is shared by the other."""
        query, key, value = (
            self._split(p(x)) for p, x in ((self.projq, tokens), (self.projk, memory), (self.projv, memory))
        )
        query, key = rotate(query, table), rotate(key, memory_table)
        batch = max(len(query), len(key))
        query, key, value = (part.expand(batch, -1, -1, -1) for part in (query, key, value))
        attended = functional.scaled_dot_product_attention(query, key, value)
        return self.proj(attended.transpose(1, 2).flatten(2))

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class DecoderBlock(nn.Module):
    """Self-attention, cross-attention to the other view, feed-forward; the memory has a LayerNorm of its own."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.attn = SelfAttention(dim, heads)
        self.norm_y = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.cross_attn = CrossAttention(dim, heads)
        self.norm3 = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.mlp = FeedForward(dim, 4 * dim)

    def forward(self, tokens: Tensor, memory: Tensor, table: RotaryTable, memory_table: RotaryTable) -> Tensor:
        """Tokens of one view after the block; `memory` is the other view *before* this layer."""
        tokens = tokens + self.attn(self.norm1(tokens), table)
        tokens = tokens + self.cross_attn(self.norm2(tokens), self.norm_y(memory), table, memory_table)
        return tokens + self.mlp(self.norm3(tokens))


@dataclass(frozen=True, eq=False)
class Encoded:
    """Encoded images with one patch grid."""

    tokens: Tensor
    """(B, N, D)."""
    grid: Grid


@dataclass(frozen=True, eq=False)
class DecodedView:
    """What the heads of one view read."""

    encoded: Encoded
    hooked: Sequence[Tensor]
    """(B, N, D) decoder tokens after each of the layers that `Mast3rSizes.hooks` names."""

    def at(self, position: int) -> DecodedView:
        """One pair of the batch, as a batch of one. Dense heads take it pair by pair to keep memory small."""
        tokens = self.encoded.tokens
        if len(tokens) > 1:
            tokens = tokens[position : position + 1]
        hooked = [part[position : position + 1] for part in self.hooked]
        return DecodedView(Encoded(tokens, self.encoded.grid), hooked)


@dataclass(frozen=True, eq=False)
class Descriptors:
    """What the descriptor head gives."""

    descriptor: Tensor
    """(B, H, W, 24) float32 unit vectors."""
    confidence: Tensor
    """(B, H, W) > 0, larger is better."""


@dataclass(frozen=True, eq=False)
class Points:
    """What the point head gives."""

    xyz_m: Tensor
    """(B, H, W, 3) float32 in the camera frame of view 1."""
    confidence: Tensor
    """(B, H, W) > 1, larger is better."""


class ViewHeads(nn.Module):
    """The two heads of one view, named as in the official checkpoint: an MLP per token, and the point head."""

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


class Mast3r(nn.Module):
    """MASt3R (Leroy et al. 2024). Views 1 and 2 are not interchangeable, and may differ in size; portrait is native.

    Encoder, decoders and descriptor heads run in the dtype of their weights; the point heads and every output
    activation run in float32. A part that overflows raises ModelError instead of handing nan on.
    """

    def __init__(self, sizes: Mast3rSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.mask_token = nn.Parameter(torch.zeros(1, 1, sizes.decoder_dim))  # of the pre-training; in every checkpoint
        self.patch_embed = PatchEmbedding(sizes.encoder_dim, PATCH_PX)
        self.enc_blocks = nn.ModuleList(
            EncoderBlock(sizes.encoder_dim, sizes.encoder_heads) for _ in range(sizes.encoder_depth)
        )
        self.enc_norm = nn.LayerNorm(sizes.encoder_dim, eps=NORM_EPSILON)
        self.decoder_embed = nn.Linear(sizes.encoder_dim, sizes.decoder_dim)
        self.dec_blocks, self.dec_blocks2 = (
            nn.ModuleList(DecoderBlock(sizes.decoder_dim, sizes.decoder_heads) for _ in range(sizes.decoder_depth))
            for _ in range(2)
        )
        self.dec_norm = nn.LayerNorm(sizes.decoder_dim, eps=NORM_EPSILON)
        self.downstream_head1 = ViewHeads(sizes)
        self.downstream_head2 = ViewHeads(sizes)

    @property
    def dtype(self) -> torch.dtype:
        """Of encoder, decoders and descriptor heads."""
        return self.decoder_embed.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.decoder_embed.weight.device

    def use_dtype(self, dtype: torch.dtype) -> Mast3r:
        """Convert the weights once. Point heads stay in float32, where `exp` of the raw depth needs it."""
        self.to(dtype)
        for view in (self.downstream_head1, self.downstream_head2):
            view.dpt.float()
        return self

    def compile_blocks(self) -> Mast3r:
        """Compile what is repeated or large: attention blocks and descriptor heads. Convolutions have fast kernels."""
        heads = (view.head_local_features for view in (self.downstream_head1, self.downstream_head2))
        for part in (*self.enc_blocks, *self.dec_blocks, *self.dec_blocks2, *heads):
            part.compile()
        return self

    @torch.inference_mode()
    @full_float32()
    def encode(self, images: Tensor) -> Encoded:
        """(B, 3, H, W) in [−1, 1], H and W multiples of 16 → tokens; ModelError when they overflow."""
        height, width = images.shape[-2:]
        if height % PATCH_PX or width % PATCH_PX:
            raise ValueError(f"image size {width}×{height} is not a multiple of {PATCH_PX}")
        grid = (height // PATCH_PX, width // PATCH_PX)
        tokens = self.patch_embed(images.to(self.device, self.dtype))
        table = rotary_table(grid, self.sizes.encoder_dim // self.sizes.encoder_heads, tokens.dtype, tokens.device)
        for block in self.enc_blocks:
            tokens = block(tokens, table)
        tokens = self.enc_norm(tokens)
        require_finite(tokens, "mast3r", "encoder", self.decoder_embed.weight.dtype)
        return Encoded(tokens, grid)

    def decoder_layers(self, view1: Encoded, view2: Encoded) -> Iterator[tuple[Tensor, Tensor]]:
        """Tokens of both views after each decoder layer; the last pair is normalised."""
        tokens1, tokens2 = self.decoder_embed(view1.tokens), self.decoder_embed(view2.tokens)
        head_dim, last = self.sizes.decoder_dim // self.sizes.decoder_heads, self.sizes.decoder_depth - 1
        table1, table2 = (rotary_table(view.grid, head_dim, tokens1.dtype, tokens1.device) for view in (view1, view2))
        for index, (block1, block2) in enumerate(zip(self.dec_blocks, self.dec_blocks2, strict=True)):
            # Both sides of a layer read the other side as it stood before the layer.
            tokens1, tokens2 = (
                block1(tokens1, tokens2, table1, table2),
                block2(tokens2, tokens1, table2, table1),
            )
            yield (self.dec_norm(tokens1), self.dec_norm(tokens2)) if index == last else (tokens1, tokens2)

    @torch.inference_mode()
    @full_float32()
    def decode(self, view1: Encoded, view2: Encoded) -> tuple[DecodedView, DecodedView]:
        """Decode pairs of encoded images; a batch of one on either side is paired with every image of the other."""
        hooked1, hooked2 = [], []
        for index, (tokens1, tokens2) in enumerate(self.decoder_layers(view1, view2), start=1):
            if index in self.sizes.hooks:
                hooked1.append(tokens1)
                hooked2.append(tokens2)
        return DecodedView(view1, hooked1), DecodedView(view2, hooked2)

    @torch.inference_mode()
    @full_float32()
    def descriptors(self, view: DecodedView, number: int) -> Descriptors:
        """Dense descriptors of view number 1 or 2."""
        raw = self._heads(number).raw_descriptors(view.encoded.tokens, view.hooked[-1])
        require_finite(raw, "mast3r", "descriptor head", self.decoder_embed.weight.dtype)
        return Descriptors(*descriptors_from_raw(raw, view.encoded.grid))

    @torch.inference_mode()
    @full_float32()
    def points(self, view: DecodedView, number: int, head: DptHead | None = None) -> Points:
        """Point map of view number 1 or 2, in the camera frame of view 1; head: to use instead of the network's own."""
        encoded = view.encoded.tokens.expand(len(view.hooked[-1]), -1, -1)
        tokens = [part.float() for part in (encoded, *view.hooked)]
        raw = (head or self._heads(number).dpt)(tokens, view.encoded.grid)
        require_finite(raw, "mast3r", "point head", self.decoder_embed.weight.dtype)
        return Points(*points_from_raw(raw))

    def _heads(self, number: int) -> ViewHeads:
        if number not in (1, 2):
            raise ValueError(f"there are views 1 and 2, not {number}")
        return self.downstream_head1 if number == 1 else self.downstream_head2


def descriptors_from_raw(raw: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """Raw head output (B, N, (C + 1)·256) → unit descriptors (B, H, W, C) and their confidence (B, H, W) > 0."""
    rows, columns = grid
    pixels = raw.unflatten(1, (rows, columns)).unflatten(-1, (-1, PATCH_PX, PATCH_PX))
    pixels = pixels.permute(0, 1, 4, 2, 5, 3).reshape(len(raw), PATCH_PX * rows, PATCH_PX * columns, -1).float()
    confidence = pixels[..., -1].exp()
    descriptors = pixels[..., :-1]
    return descriptors / torch.linalg.vector_norm(descriptors, dim=-1, keepdim=True), confidence

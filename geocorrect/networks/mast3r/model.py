"""The network as parts that can be called by need: encode once per image, decode per pair, then the wanted heads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from geocorrect.networks.dinov2 import NORM_EPSILON, FeedForward, Grid, PatchEmbedding
from geocorrect.networks.exact import full_float32, require_finite
from geocorrect.networks.mast3r.dpt import DptHead, points_from_raw
from geocorrect.networks.mast3r.sizes import PATCH_PX, Mast3rSizes
from geocorrect.networks.mast3r.transformer import DecoderBlock, EncoderBlock, rotary_table


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
    def points(self, view: DecodedView, number: int) -> Points:
        """Point map of view number 1 or 2, in the camera frame of view 1."""
        encoded = view.encoded.tokens.expand(len(view.hooked[-1]), -1, -1)
        tokens = [part.float() for part in (encoded, *view.hooked)]
        raw = self._heads(number).dpt(tokens, view.encoded.grid)
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

"""The network: keypoints of single images, then match probabilities of pairs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from geocorrect.networks.dinov2 import VisionTransformer
from geocorrect.networks.exact import full_float32, require_finite
from geocorrect.networks.mickey.heads import DepthHead, DescriptorHead, OffsetHead, ScoreHead
from geocorrect.networks.mickey.sizes import MAX_CELLS, MIN_CELLS, PATCH_PX, MickeySizes
from geocorrect.networks.shapes import StackSizes

TEMPERATURE = 0.1


class DualSoftmax(nn.Module):
    """Match probabilities; what matches nothing goes to a dustbin whose similarity is one learnt number."""

    def __init__(self) -> None:
        super().__init__()
        self.dustbin_score = nn.Parameter(torch.tensor(1.0))

    def forward(self, descriptor0: Tensor, descriptor1: Tensor) -> Tensor:
        """Descriptors (B, C, N) and (B, C, M) → probabilities (B, N, M); rows and columns sum to at most one."""
        similarity = descriptor0.transpose(1, 2) @ descriptor1 / TEMPERATURE
        batch, rows, columns = similarity.shape
        column = self.dustbin_score.expand(batch, rows, 1)
        row = self.dustbin_score.expand(batch, 1, columns + 1)
        extended = torch.cat([torch.cat([similarity, column], dim=2), row], dim=1)
        return (extended.softmax(dim=1) * extended.softmax(dim=2))[:, :rows, :columns]


class Matcher(nn.Module):
    """Holds the layer under the name that the checkpoint gives it."""

    def __init__(self) -> None:
        super().__init__()
        self.matching_mat = DualSoftmax()

    def forward(self, descriptor0: Tensor, descriptor1: Tensor) -> Tensor:
        """See `DualSoftmax.forward`."""
        return self.matching_mat(descriptor0, descriptor1)


def sampling_weight(probability: Tensor, score0: Tensor, score1: Tensor) -> Tensor:
    """(…, N, M) how often the pose solver should draw each pair: match probability times both keypoint scores.

    Args:
        probability: (…, N, M) from `DualSoftmax`.
        score0: (…, N) and score1: (…, M), each summing to one.
    """
    return probability * score0[..., :, None] * score1[..., None, :]


def mutual_pairs(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Indices (K,) and (K,) of pairs that are each other's best under a weight (N, M), zero weights left out."""
    best1 = weight.argmax(dim=1)
    best0 = weight.argmax(dim=0)
    index0 = torch.arange(len(best1), device=weight.device)
    mutual = (best0[best1] == index0) & (weight[index0, best1] > 0)
    return index0[mutual], best1[mutual]


@dataclass(frozen=True, eq=False)
class Keypoints:
    """Keypoints of a batch of images of one size, one per cell, cells row by row."""

    px: Tensor
    """(B, 2, N) pixels of the network image, x first; the centre of the top-left pixel is (0, 0)."""
    depth_m: Tensor
    """(B, N) z-depth in metres as predicted, possibly negative."""
    score: Tensor
    """(B, N), sums to one per image; zero on the border."""
    descriptor: Tensor
    """(B, C, N) of unit length."""


@dataclass(frozen=True, eq=False)
class PairProbabilities:
    """How the keypoints of two images go together."""

    probability: Tensor
    """(B, N, M) that keypoint i of image 0 is keypoint j of image 1."""
    weight: Tensor
    """(B, N, M) probability times both scores: what the pose solver draws by."""


class DinoV2(VisionTransformer):
    """The backbone, frozen, without register tokens, under the names of Meta's checkpoint."""

    def __init__(self, sizes: MickeySizes) -> None:
        dim = sizes.backbone_dim
        stack = StackSizes(dim, sizes.backbone_depth, sizes.backbone_heads, 4 * dim, gated=False)
        super().__init__(stack, PATCH_PX, sizes.position_grid)
        self.mask_token = nn.Parameter(torch.zeros(1, dim))  # of the pre-training; in every checkpoint


class Extractor(nn.Module):
    """Backbone and heads, under the checkpoint's names."""

    def __init__(self, sizes: MickeySizes) -> None:
        super().__init__()
        self.dinov2_vitl14 = DinoV2(sizes)
        self.depth_head = DepthHead(sizes)
        self.det_offset = OffsetHead(sizes)
        self.dsc_head = DescriptorHead(sizes)
        self.det_head = ScoreHead(sizes)

    def features(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] → (B, D, rows, columns) float32; the backbone runs in the type of its weights."""
        grid = (images.shape[-2] // PATCH_PX, images.shape[-1] // PATCH_PX)
        tokens, _ = self.dinov2_vitl14(images.to(self.dinov2_vitl14.pos_embed.dtype))
        return tokens.float().transpose(1, 2).unflatten(2, grid)

    def forward(self, features: Tensor) -> Keypoints:
        """Features (B, D, rows, columns) of the backbone → keypoints, differentiable."""
        rows, columns = features.shape[-2:]
        x = torch.arange(columns, dtype=features.dtype, device=features.device).expand(rows, columns)
        y = torch.arange(rows, dtype=features.dtype, device=features.device)[:, None].expand(rows, columns)
        px = (self.det_offset(features) + torch.stack([x, y])) * PATCH_PX
        return Keypoints(
            px.flatten(2),
            self.depth_head(features).flatten(1),
            self.det_head(features).flatten(1),
            self.dsc_head(features).flatten(2),
        )


class Mickey(nn.Module):
    """MicKey. Heads and matching run in float32, the backbone in the type that `use_dtype` sets."""

    def __init__(self, sizes: MickeySizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.extractor = Extractor(sizes)
        self.matcher = Matcher()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.matcher.matching_mat.dustbin_score.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the backbone."""
        return self.extractor.dinov2_vitl14.pos_embed.dtype

    def use_dtype(self, dtype: torch.dtype) -> Mickey:
        """Convert the backbone once."""
        self.extractor.dinov2_vitl14.to(dtype)
        return self

    @torch.inference_mode()
    @full_float32()
    def detect(self, images: Tensor) -> Keypoints:
        """(B, 3, H, W) in [0, 1], H and W multiples of 14 → keypoints.

        Raises:
            ValueError: a size that is no multiple of 14, or has too few or too many cells.
            ModelError: the numbers overflowed.
        """
        require_size(images.shape[-1], images.shape[-2])
        features = self.extractor.features(images.to(self.device))
        require_finite(features, "mickey", "backbone", self.dtype)
        found = self.extractor(features)
        parts = {"position": found.px, "depth": found.depth_m, "score": found.score, "descriptor": found.descriptor}
        for part, values in parts.items():
            require_finite(values, "mickey", f"{part} head", torch.float32)
        return found

    @torch.inference_mode()
    @full_float32()
    def match(self, keypoints0: Keypoints, keypoints1: Keypoints) -> PairProbabilities:
        """Probabilities of pairs of keypoints; the two images may have different numbers of cells."""
        return self.pair(keypoints0, keypoints1)

    def pair(self, keypoints0: Keypoints, keypoints1: Keypoints) -> PairProbabilities:
        """As `match`, differentiable."""
        probability = self.matcher(keypoints0.descriptor, keypoints1.descriptor)
        return PairProbabilities(probability, sampling_weight(probability, keypoints0.score, keypoints1.score))


def require_size(width: int, height: int) -> None:
    """ValueError unless an image of this size in pixels can be given to the network."""
    if width % PATCH_PX or height % PATCH_PX:
        raise ValueError(f"image size {width}×{height} is not a multiple of {PATCH_PX}")
    cells = (width // PATCH_PX, height // PATCH_PX)
    if min(cells) < MIN_CELLS or max(cells) > MAX_CELLS:
        raise ValueError(f"{cells[0]}×{cells[1]} cells: MicKey works on {MIN_CELLS} to {MAX_CELLS} cells per side")

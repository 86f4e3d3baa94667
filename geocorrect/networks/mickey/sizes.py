"""The numbers that fix a MicKey network; read from the shapes of a checkpoint, never from its text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isqrt

from geocorrect.errors import ModelError

PATCH_PX = 14
"""Side of a cell: one token, one keypoint."""

MIN_CELLS = 7
"""Cells along each side of the smallest image: three on every border never score."""

MAX_CELLS = 256
"""Cells along the longest side for which the heads' positions are defined."""

Shapes = Mapping[str, Sequence[int]]
BACKBONE = "extractor.dinov2_vitl14"
HEADS = ("depth_head", "det_offset", "dsc_head", "det_head")


@dataclass(frozen=True)
class MickeySizes:
    """Widths and depths of the backbone and of the heads. The defaults are the released model's."""

    backbone_dim: int = 1024
    """Channels of a token of the backbone (DINOv2 ViT-L/14)."""
    backbone_depth: int = 24
    """Transformer blocks of the backbone."""
    backbone_heads: int = 16
    """Attention heads of the backbone."""
    position_grid: int = 37
    """Rows and columns of the trained position table: 518 px."""
    block_dims: tuple[int, int, int, int] = (512, 256, 128, 64)
    """Output channels of the four residual blocks of a head; the attention runs at the third."""
    descriptor_dim: int = 128
    """Channels of a descriptor: what the descriptor head's fourth block gives."""


RELEASED = MickeySizes()
"""304,368,640 parameters in the backbone, 42,550,785 in the heads."""


def sizes_from_shapes(shapes: Shapes, backbone_head_dim: int = 64) -> MickeySizes:
    """Sizes of the network that a state dict with these shapes belongs to.

    Args:
        shapes: of the tensors by name, backbone and heads.
        backbone_head_dim: channels per attention head, which leaves no trace in the shapes (64 in every DINOv2).

    Raises:
        ModelError: naming the first key that is missing or has an impossible shape.
    """
    dim = _shape(shapes, f"{BACKBONE}.patch_embed.proj.weight", 4)[0]
    if dim % backbone_head_dim:
        raise ModelError(f"not a MicKey network: backbone width {dim} cannot be cut into heads of {backbone_head_dim}")
    positions = _shape(shapes, f"{BACKBONE}.pos_embed", 3)[1] - 1
    if isqrt(positions) ** 2 != positions or positions < 1:
        raise ModelError(f"not a MicKey network: `{BACKBONE}.pos_embed` is no square grid of {positions} positions")
    dims = [_shape(shapes, f"extractor.depth_head.resblock{i}.conv1.weight", 4)[0] for i in range(1, 5)]
    return MickeySizes(
        backbone_dim=dim,
        backbone_depth=_depth(shapes),
        backbone_heads=dim // backbone_head_dim,
        position_grid=isqrt(positions),
        block_dims=(dims[0], dims[1], dims[2], dims[3]),
        descriptor_dim=_shape(shapes, "extractor.dsc_head.resblock4.conv1.weight", 4)[0],
    )


def _shape(shapes: Shapes, key: str, dimensions: int) -> Sequence[int]:
    if key not in shapes:
        raise ModelError(f"not a MicKey network: there is no tensor `{key}`")
    shape = shapes[key]
    if len(shape) != dimensions or min(shape) < 1:
        raise ModelError(f"not a MicKey network: `{key}` has the shape {tuple(shape)}")
    return shape


def _depth(shapes: Shapes) -> int:
    stack = f"{BACKBONE}.blocks."
    names = {key.removeprefix(stack).split(".")[0] for key in shapes if key.startswith(stack)}
    if not names or names != {str(number) for number in range(len(names))}:
        raise ModelError(f"not a MicKey network: the blocks of `{BACKBONE}` are not numbered 0, 1, 2 …")
    return len(names)

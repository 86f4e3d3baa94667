"""The numbers that fix a MicKey network; read from the shapes of a checkpoint, never from its text."""

from __future__ import annotations

from dataclasses import dataclass

from geocorrect.errors import ModelError
from geocorrect.networks.shapes import CheckpointShapes, Shapes

PATCH_PX = 14
"""Side of a cell: one token, one keypoint."""

MIN_CELLS = 7
"""Cells along each side of the smallest image: three on every border never score."""

MAX_CELLS = 256
"""Cells along the longest side for which the heads' positions are defined."""

BACKBONE = "extractor.dinov2_vitl14"


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
    found = CheckpointShapes(shapes, "a MicKey network")
    dim = found.of(f"{BACKBONE}.patch_embed.proj.weight", 4)[0]
    if dim % backbone_head_dim:
        raise ModelError(f"not a MicKey network: backbone width {dim} cannot be cut into heads of {backbone_head_dim}")
    return MickeySizes(
        backbone_dim=dim,
        backbone_depth=found.depth(f"{BACKBONE}.blocks"),
        backbone_heads=dim // backbone_head_dim,
        position_grid=found.position_grid(f"{BACKBONE}.pos_embed"),
        block_dims=found.four_widths("extractor.depth_head.resblock{}.conv1.weight", first=1),
        descriptor_dim=found.of("extractor.dsc_head.resblock4.conv1.weight", 4)[0],
    )

"""The numbers that fix a MapAnything network: read from the shapes of a checkpoint and from its layout."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from geocorrect.errors import ModelError
from geocorrect.networks.mapanything.layout import Layout

Shapes = Mapping[str, Sequence[int]]

ENCODER_BLOCKS = "encoder.model.blocks"
TRANSFORMER_BLOCKS = "info_sharing.self_attention_blocks"


@dataclass(frozen=True)
class StackSizes:
    """A stack of equal transformer blocks. The defaults are the image encoder of v1.1."""

    dim: int = 1536
    """Channels of a token."""
    depth: int = 24
    """Number of blocks."""
    heads: int = 24
    """Attention heads."""
    hidden_dim: int = 4096
    """Channels inside the feed-forward part."""
    gated: bool = True
    """Feed-forward with a SiLU gate (v1.1), or with one GELU (v1)."""
    layer_scale: bool = True
    """Whether both parts of a block end with a learned factor per channel."""


@dataclass(frozen=True)
class MapAnythingSizes:
    """Widths and depths of all parts. The defaults are the published v1.1: 1,228,491,222 parameters."""

    patch_px: int = 14
    """Side of a patch in pixels."""
    position_grid: int = 37
    """Rows and columns of the grid of learned positions."""
    encoder: StackSizes = StackSizes()
    """The image encoder."""
    encoder_norm: bool = False
    """Whether the encoder ends with a LayerNorm (v1)."""
    class_tokens: bool = True
    """See `Layout.class_tokens`."""
    transformer: StackSizes = StackSizes(depth=16)
    """The multi-view transformer."""
    taps: tuple[int, int] = (7, 11)
    """See `Layout.taps`."""
    marks_first_view: bool = True
    """See `Layout.marks_first_view`."""
    scale_token_dim: int = 1536
    """Channels of the learned scale token, before the projection where there is one."""
    ray_dims: tuple[int, int, int] = (588, 768, 1024)
    """Channels inside the encoder of ray directions."""
    depth_dims: tuple[int, int, int] = (588, 768, 1024)
    """Channels inside the encoder of depth maps."""
    global_dims: tuple[int, int, int] = (128, 256, 512)
    """Channels inside the encoders of scales, rotations and translations."""
    dpt_layer_dims: tuple[int, int, int, int] = (96, 192, 384, 768)
    """Channels of the four maps that the dense head fuses."""
    dpt_feature_dim: int = 256
    """Channels of the fused map."""
    dpt_last_dim: int = 128
    """Channels before the last convolution of the dense head."""
    pose_hidden_dim: int = 784
    """Channels inside the pose head."""
    scale_hidden_dim: int = 196
    """Channels inside the scale head."""


V1_1 = MapAnythingSizes()
"""`facebook/map-anything` and `facebook/map-anything-apache`."""


def sizes_from_shapes(shapes: Shapes, layout: Layout) -> MapAnythingSizes:
    """Sizes of the network that a state dict with these shapes belongs to.

    Raises ModelError naming the first key that is missing or has an impossible shape.
    """
    patches = _shape(shapes, "encoder.model.patch_embed.proj.weight", 4)
    encoder = _stack(shapes, ENCODER_BLOCKS, patches[0] // max(layout.encoder_head_dim, 1))
    transformer = _stack(shapes, TRANSFORMER_BLOCKS, layout.transformer_heads)
    if not layout.taps[0] < layout.taps[1] < transformer.depth - 1:
        raise ModelError(f"taps {layout.taps} do not lie below the last of {transformer.depth} blocks")
    layer_dims = [_shape(shapes, f"dense_head.0.input_process.{i}.0.0.weight", 4)[0] for i in range(4)]
    return MapAnythingSizes(
        patch_px=patches[-1],
        position_grid=_position_grid(shapes),
        encoder=encoder,
        encoder_norm="encoder.model.norm.weight" in shapes,
        class_tokens=layout.class_tokens,
        transformer=transformer,
        taps=layout.taps,
        marks_first_view=layout.marks_first_view,
        scale_token_dim=_shape(shapes, "scale_token", 1)[0],
        ray_dims=_dense_dims(shapes, "ray_dirs_encoder"),
        depth_dims=_dense_dims(shapes, "depth_encoder"),
        global_dims=_global_dims(shapes, "cam_rot_encoder"),
        dpt_layer_dims=(layer_dims[0], layer_dims[1], layer_dims[2], layer_dims[3]),
        dpt_feature_dim=_shape(shapes, "dense_head.0.scratch.refinenet1.out_conv.weight", 4)[0],
        dpt_last_dim=_shape(shapes, "dense_head.1.conv1.weight", 4)[0],
        pose_hidden_dim=_shape(shapes, "pose_head.proj.weight", 4)[0],
        scale_hidden_dim=_shape(shapes, "scale_head.proj.weight", 2)[0],
    )


def _stack(shapes: Shapes, stack: str, heads: int) -> StackSizes:
    dim = _shape(shapes, f"{stack}.0.attn.proj.weight", 2)[0]
    if heads < 1 or dim % heads:
        raise ModelError(f"`{stack}` of width {dim} cannot be cut into {heads} attention heads")
    gated = f"{stack}.0.mlp.w12.weight" in shapes
    last_linear = f"{stack}.0.mlp.w3.weight" if gated else f"{stack}.0.mlp.fc2.weight"
    return StackSizes(
        dim=dim,
        depth=_depth(shapes, stack),
        heads=heads,
        hidden_dim=_shape(shapes, last_linear, 2)[1],
        gated=gated,
        layer_scale=f"{stack}.0.ls1.gamma" in shapes,
    )


def _position_grid(shapes: Shapes) -> int:
    positions = _shape(shapes, "encoder.model.pos_embed", 3)[1] - 1
    side = math.isqrt(max(positions, 0))
    if side < 1 or side * side != positions:
        raise ModelError(f"`encoder.model.pos_embed` holds {positions} positions, which is no square grid")
    return side


def _dense_dims(shapes: Shapes, part: str) -> tuple[int, int, int]:
    return (
        _shape(shapes, f"{part}.conv_in.weight", 4)[0],
        _shape(shapes, f"{part}.encoder.0.conv1.weight", 4)[0],
        _shape(shapes, f"{part}.encoder.1.conv1.weight", 4)[0],
    )


def _global_dims(shapes: Shapes, part: str) -> tuple[int, int, int]:
    first, second, third = (_shape(shapes, f"{part}.encoder.{key}.weight", 2)[0] for key in ("0.0.0.0", "0.0.1", "0.1"))
    return first, second, third


def _shape(shapes: Shapes, key: str, dimensions: int) -> Sequence[int]:
    if key not in shapes:
        raise ModelError(f"not a MapAnything checkpoint: it has no tensor `{key}`")
    shape = shapes[key]
    if len(shape) != dimensions or min(shape) < 1:
        raise ModelError(f"not a MapAnything checkpoint: `{key}` has the shape {tuple(shape)}")
    return shape


def _depth(shapes: Shapes, stack: str) -> int:
    prefix = f"{stack}."
    numbers = {key.removeprefix(prefix).split(".")[0] for key in shapes if key.startswith(prefix)}
    if not numbers or numbers != {str(number) for number in range(len(numbers))}:
        raise ModelError(f"not a MapAnything checkpoint: the blocks of `{stack}` are not numbered 0, 1, 2 …")
    return len(numbers)

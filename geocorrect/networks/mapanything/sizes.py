"""The numbers that fix a MapAnything network: read from the shapes of a checkpoint and from its layout."""

from __future__ import annotations

from dataclasses import dataclass, field

from geocorrect.errors import ModelError
from geocorrect.networks.mapanything.layout import Layout
from geocorrect.networks.shapes import CheckpointShapes, Shapes, StackSizes

ENCODER_BLOCKS = "encoder.model.blocks"
TRANSFORMER_BLOCKS = "info_sharing.self_attention_blocks"
DENSE_LAYERS = ("conv_in", "encoder.0.conv1", "encoder.1.conv1")


@dataclass(frozen=True)
class MapAnythingSizes:
    """Widths and depths of all parts. The defaults are the published v1.1: 1,228,491,222 parameters."""

    patch_px: int = 14
    """Side of a patch in pixels."""
    position_grid: int = 37
    """Rows and columns of the grid of learned positions."""
    encoder: StackSizes = field(default_factory=StackSizes)
    """The image encoder."""
    encoder_norm: bool = False
    """Whether the encoder ends with a LayerNorm (v1)."""
    class_tokens: bool = True
    """See `Layout.class_tokens`."""
    transformer: StackSizes = field(default_factory=lambda: StackSizes(depth=16))
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
    found = CheckpointShapes(shapes, "a MapAnything checkpoint")
    patches = found.of("encoder.model.patch_embed.proj.weight", 4)
    encoder = _stack(found, ENCODER_BLOCKS, patches[0] // max(layout.encoder_head_dim, 1))
    transformer = _stack(found, TRANSFORMER_BLOCKS, layout.transformer_heads)
    if not layout.taps[0] < layout.taps[1] < transformer.depth - 1:
        raise ModelError(f"taps {layout.taps} do not lie below the last of {transformer.depth} blocks")
    return MapAnythingSizes(
        patch_px=patches[-1],
        position_grid=found.position_grid("encoder.model.pos_embed"),
        encoder=encoder,
        encoder_norm="encoder.model.norm.weight" in shapes,
        class_tokens=layout.class_tokens,
        transformer=transformer,
        taps=layout.taps,
        marks_first_view=layout.marks_first_view,
        scale_token_dim=found.of("scale_token", 1)[0],
        ray_dims=_three_widths(found, "ray_dirs_encoder", DENSE_LAYERS, 4),
        depth_dims=_three_widths(found, "depth_encoder", DENSE_LAYERS, 4),
        global_dims=_three_widths(found, "cam_rot_encoder.encoder", ("0.0.0.0", "0.0.1", "0.1"), 2),
        dpt_layer_dims=found.four_widths("dense_head.0.input_process.{}.0.0.weight"),
        dpt_feature_dim=found.of("dense_head.0.scratch.refinenet1.out_conv.weight", 4)[0],
        dpt_last_dim=found.of("dense_head.1.conv1.weight", 4)[0],
        pose_hidden_dim=found.of("pose_head.proj.weight", 4)[0],
        scale_hidden_dim=found.of("scale_head.proj.weight", 2)[0],
    )


def _stack(found: CheckpointShapes, stack: str, heads: int) -> StackSizes:
    dim = found.of(f"{stack}.0.attn.proj.weight", 2)[0]
    if heads < 1 or dim % heads:
        raise ModelError(f"`{stack}` of width {dim} cannot be cut into {heads} attention heads")
    gated = f"{stack}.0.mlp.w12.weight" in found.shapes
    hidden_dim = found.of(f"{stack}.0.mlp.{'w3' if gated else 'fc2'}.weight", 2)[1]
    return StackSizes(dim, found.depth(stack), heads, hidden_dim, gated, f"{stack}.0.ls1.gamma" in found.shapes)


def _three_widths(
    found: CheckpointShapes, part: str, layers: tuple[str, str, str], dimensions: int
) -> tuple[int, int, int]:
    first, second, third = (found.of(f"{part}.{layer}.weight", dimensions)[0] for layer in layers)
    return first, second, third

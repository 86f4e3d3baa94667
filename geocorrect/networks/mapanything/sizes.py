"""The numbers that fix a MapAnything network: read from the shapes of a checkpoint and from its layout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from geocorrect.errors import ModelError
from geocorrect.networks.shapes import CheckpointShapes, Shapes, StackSizes

ENCODER_BLOCKS = "encoder.model.blocks"
TRANSFORMER_BLOCKS = "info_sharing.self_attention_blocks"
DENSE_LAYERS = ("conv_in", "encoder.0.conv1", "encoder.1.conv1")


HEAD_DIM = 64
"""Channels per attention head of every published DINOv2 encoder."""

SUPPORTED_HEAD = "raydirs+depth+pose+confidence+mask"
"""What the dense and the pose head together predict in the published models."""


@dataclass(frozen=True)
class Layout:
    """The parts of a MapAnything network that leave no trace in the shapes of its tensors."""

    taps: tuple[int, int]
    """Blocks of the multi-view transformer (0 = first) whose output the dense head reads beside the last one's."""
    transformer_heads: int
    """Attention heads of the multi-view transformer."""
    class_tokens: bool
    """Whether the encoder's class token of each view goes through the multi-view transformer (v1.1) or not (v1)."""
    marks_first_view: bool = True
    """Whether a constant is added to the tokens of the first view."""
    encoder_head_dim: int = HEAD_DIM
    """Channels per attention head of the image encoder."""


def read_layout(path: Path) -> Layout:
    """The layout that a `config.json` describes; ModelError naming the file and the field that is missing or wrong."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))  # infinite bounds are bare tokens, which json accepts
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); the network's layout is in it") from None
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not a JSON file ({error}); fetch it again") from None
    try:
        return layout_from_config(content)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None


def layout_from_config(config: Any) -> Layout:
    """The layout in the constructor keywords of the published model; ModelError naming the field that does not fit."""
    module = _section(_section(config, "info_sharing_config"), "module_args", "info_sharing_config.")
    where = "info_sharing_config.module_args."
    indices = module.get("indices")
    if not (isinstance(indices, list) and len(indices) == 2 and all(_is_count(index) for index in indices)):
        raise ModelError(f"{where}indices must be two block numbers, got {indices!r}")
    heads = module.get("num_heads")
    if not _is_count(heads) or heads == 0:
        raise ModelError(f"{where}num_heads must be a positive number, got {heads!r}")
    if module.get("qk_norm"):
        raise ModelError(f"{where}qk_norm is not supported; the published models have none")
    head = _section(config, "pred_head_config")
    if head.get("adaptor_type") != SUPPORTED_HEAD:
        raise ModelError(
            f"pred_head_config.adaptor_type must be {SUPPORTED_HEAD!r}, as in the published models, "
            f"got {head.get('adaptor_type')!r}"
        )
    return Layout(
        taps=(indices[0], indices[1]),
        transformer_heads=heads,
        class_tokens=_flag(config, "use_register_tokens_from_encoder", default=False),
        marks_first_view=_flag(module, "distinguish_ref_and_non_ref_views", default=True, where=where),
    )


def _section(config: Any, name: str, where: str = "") -> Mapping[str, Any]:
    section = config.get(name) if isinstance(config, dict) else None
    if not isinstance(section, dict):
        raise ModelError(f"not the config.json of a MapAnything model: it has no section {where}{name}")
    return section


def _flag(section: Mapping[str, Any], name: str, default: bool, where: str = "") -> bool:
    value = section.get(name, default)
    if not isinstance(value, bool):
        raise ModelError(f"{where}{name} must be true or false, got {value!r}")
    return value


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


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

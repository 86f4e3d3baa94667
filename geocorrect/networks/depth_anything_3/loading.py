"""From the published file to a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from geocorrect.errors import ModelError
from geocorrect.networks.depth_anything_3.model import TAPS, DepthAnything3, DepthAnything3Sizes
from geocorrect.networks.runtime import Runtime, require_compiler, require_working_compiler, torch_device, torch_dtype
from geocorrect.networks.shapes import CheckpointShapes, Shapes, StackSizes
from geocorrect.networks.state_dict import filled, read_tensors

PREFIX = "model."
"""Of every key in the published file."""
ENCODER = "backbone.pretrained"
HEAD_DIM = 64
"""Channels per attention head, which leave no trace in the shapes."""
NAME = "a checkpoint of Depth Anything 3, metric"


def load(path: Path, runtime: Runtime) -> DepthAnything3:
    """The network of a checkpoint file for inference; ModelError naming file and tensor."""
    try:
        model = assemble(read_tensors(path))
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    model = model.use_dtype(torch_dtype(runtime)).to(torch_device(runtime))
    if runtime.compile:
        require_compiler(runtime)
        require_working_compiler(model.device)
        model.compile()
    return model


def assemble(tensors: Mapping[str, Tensor]) -> DepthAnything3:
    """The network around these tensors, which it does not copy; ModelError on any key or shape that does not fit."""
    tensors = {key.removeprefix(PREFIX): tensor for key, tensor in tensors.items()}
    sizes = sizes_from_shapes({key: tensor.shape for key, tensor in tensors.items()})
    return filled(lambda: DepthAnything3(sizes), tensors, NAME)


def sizes_from_shapes(shapes: Shapes) -> DepthAnything3Sizes:
    """Sizes of the network that a state dict with these shapes belongs to; ModelError naming the first odd key."""
    found = CheckpointShapes(shapes, NAME)
    patches = found.of(f"{ENCODER}.patch_embed.proj.weight", 4)
    dim, depth = patches[0], found.depth(f"{ENCODER}.blocks")
    if dim % HEAD_DIM or depth != TAPS[-1] + 1:
        raise ModelError(
            f"not {NAME}: {depth} blocks of width {dim}, expected {TAPS[-1] + 1} of a multiple of {HEAD_DIM}"
        )
    hidden_dim = found.of(f"{ENCODER}.blocks.0.mlp.fc1.weight", 2)[0]
    return DepthAnything3Sizes(
        encoder=StackSizes(dim, depth, dim // HEAD_DIM, hidden_dim, gated=False),
        patch_px=patches[-1],
        position_grid=found.position_grid(f"{ENCODER}.pos_embed"),
        layer_dims=found.four_widths("head.projects.{}.weight"),
        feature_dim=found.of("head.scratch.refinenet1.out_conv.weight", 4)[0],
    )

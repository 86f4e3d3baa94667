"""The numbers that fix a MASt3R network; read from the shapes of a checkpoint, never from its text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from geocorrect.errors import ModelError

PATCH_PX = 16
DESCRIPTOR_HEAD = "downstream_head1.head_local_features"
DPT_HEAD = "downstream_head1.dpt"
Shapes = Mapping[str, Sequence[int]]

RELEASED_HEAD_DIMS = (64, 64)
"""Channels per attention head of encoder and decoder in every released model."""


@dataclass(frozen=True)
class Mast3rSizes:
    """Widths and depths of encoder, decoders and heads.

    The defaults are `MASt3R_ViTLarge_BaseDecoder_512_catmlpdpt_metric`: 688,638,856 parameters.
    """

    encoder_dim: int = 1024
    encoder_depth: int = 24
    encoder_heads: int = 16
    decoder_dim: int = 768
    decoder_depth: int = 12
    decoder_heads: int = 12
    dpt_layer_dims: tuple[int, int, int, int] = (96, 192, 384, 768)
    dpt_feature_dim: int = 256
    dpt_last_dim: int = 128
    descriptor_dim: int = 24
    descriptor_hidden_dim: int = 7168

    @property
    def hooks(self) -> tuple[int, int, int, int]:
        """Which token sets the DPT heads read: 0 is the encoder's output, i the output of decoder layer i."""
        depth = self.decoder_depth
        return (0, depth // 2, depth * 3 // 4, depth)


def sizes_from_shapes(shapes: Shapes, encoder_head_dim: int = 64, decoder_head_dim: int = 64) -> Mast3rSizes:
    """Sizes of the network that a state dict with these shapes belongs to.

    The number of attention heads leaves no trace in the shapes; every released model has 64 channels per head.

    Raises:
        ModelError: a key is missing or has an impossible shape; names the first one.
    """
    encoder_dim = _shape(shapes, "patch_embed.proj.weight", 4)[0]
    decoder_dim = _shape(shapes, "decoder_embed.weight", 2)[0]
    hidden_dim = _shape(shapes, f"{DESCRIPTOR_HEAD}.fc1.weight", 2)[0]
    layer_dims = [_shape(shapes, f"{DPT_HEAD}.act_postprocess.{i}.0.weight", 4)[0] for i in range(4)]
    return Mast3rSizes(
        encoder_dim=encoder_dim,
        encoder_depth=_depth(shapes, "enc_blocks"),
        encoder_heads=_heads("encoder", encoder_dim, encoder_head_dim),
        decoder_dim=decoder_dim,
        decoder_depth=_depth(shapes, "dec_blocks"),
        decoder_heads=_heads("decoder", decoder_dim, decoder_head_dim),
        dpt_layer_dims=(layer_dims[0], layer_dims[1], layer_dims[2], layer_dims[3]),
        dpt_feature_dim=_shape(shapes, f"{DPT_HEAD}.scratch.refinenet1.out_conv.weight", 4)[0],
        dpt_last_dim=_shape(shapes, f"{DPT_HEAD}.head.0.weight", 4)[0],
        descriptor_dim=_shape(shapes, f"{DESCRIPTOR_HEAD}.fc2.weight", 2)[0] // PATCH_PX**2 - 1,
        descriptor_hidden_dim=hidden_dim,
    )


def _shape(shapes: Shapes, key: str, dimensions: int) -> Sequence[int]:
    if key not in shapes:
        raise ModelError(f"not a MASt3R checkpoint: it has no tensor `{key}`")
    shape = shapes[key]
    if len(shape) != dimensions or min(shape) < 1:
        raise ModelError(f"not a MASt3R checkpoint: `{key}` has the shape {tuple(shape)}")
    return shape


def _depth(shapes: Shapes, stack: str) -> int:
    numbers = {
        int(number)
        for number in (key.split(".")[1] for key in shapes if key.startswith(f"{stack}."))
        if number.isdecimal()
    }
    if not numbers or numbers != set(range(len(numbers))):
        raise ModelError(f"not a MASt3R checkpoint: the blocks of `{stack}` are not numbered 0, 1, 2 …")
    return len(numbers)


def _heads(part: str, dim: int, head_dim: int) -> int:
    if dim % head_dim or head_dim % 4:
        raise ModelError(f"not a MASt3R checkpoint: {part} width {dim} cannot be cut into heads of {head_dim}")
    return dim // head_dim

"""The numbers that fix a MASt3R network; read from the shapes of a checkpoint, never from its text."""

from __future__ import annotations

from dataclasses import dataclass

from geocorrect.errors import ModelError
from geocorrect.networks.shapes import CheckpointShapes, Shapes

PATCH_PX = 16
DESCRIPTOR_HEAD = "downstream_head1.head_local_features"
DPT_HEAD = "downstream_head1.dpt"

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
    found = CheckpointShapes(shapes, "a MASt3R checkpoint")
    encoder_dim = found.of("patch_embed.proj.weight", 4)[0]
    decoder_dim = found.of("decoder_embed.weight", 2)[0]
    return Mast3rSizes(
        encoder_dim=encoder_dim,
        encoder_depth=found.depth("enc_blocks"),
        encoder_heads=_heads("encoder", encoder_dim, encoder_head_dim),
        decoder_dim=decoder_dim,
        decoder_depth=found.depth("dec_blocks"),
        decoder_heads=_heads("decoder", decoder_dim, decoder_head_dim),
        dpt_layer_dims=found.four_widths(f"{DPT_HEAD}.act_postprocess.{{}}.0.weight"),
        dpt_feature_dim=found.of(f"{DPT_HEAD}.scratch.refinenet1.out_conv.weight", 4)[0],
        dpt_last_dim=found.of(f"{DPT_HEAD}.head.0.weight", 4)[0],
        descriptor_dim=found.of(f"{DESCRIPTOR_HEAD}.fc2.weight", 2)[0] // PATCH_PX**2 - 1,
        descriptor_hidden_dim=found.of(f"{DESCRIPTOR_HEAD}.fc1.weight", 2)[0],
    )


def _heads(part: str, dim: int, head_dim: int) -> int:
    if dim % head_dim or head_dim % 4:
        raise ModelError(f"not a MASt3R checkpoint: {part} width {dim} cannot be cut into heads of {head_dim}")
    return dim // head_dim

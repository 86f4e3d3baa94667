"""A tiny MicKey: the published architecture at a size for tests, with weights from a rule or a seed."""

from __future__ import annotations

import zlib

import numpy as np
import torch
from torch import Tensor

from geocorrect.networks.mickey.engine import MickeyEngine
from geocorrect.networks.mickey.loading import assemble
from geocorrect.networks.mickey.model import Mickey
from geocorrect.networks.mickey.sizes import BACKBONE, MickeySizes
from geocorrect.networks.store import TensorStore
from support.mast3r_world import random_photo as random_photo

TINY_HEAD_DIM = 16
TINY = MickeySizes(
    backbone_dim=48,
    backbone_depth=3,
    backbone_heads=3,
    position_grid=5,
    block_dims=(40, 24, 128, 16),
    descriptor_dim=20,
)
CONSTANTS = {"eps": 1e-16, "offset_par1": 0.5, "offset_par2": 2.0, "ones_kernel": 1.0, "num_batches_tracked": 0}


def rule_tensors() -> dict[str, Tensor]:
    """Weights of the tiny network by the rule that the stored outputs were made with: seeded by the tensor's name."""
    with torch.device("meta"):
        expected = Mickey(TINY).state_dict()
    return {key: _by_rule(key, tensor) for key, tensor in expected.items()}


def _by_rule(key: str, like: Tensor) -> Tensor:
    named = key.replace(f"{BACKBONE}.", "dino.")
    last = key.split(".")[-1]
    shape = tuple(like.shape)
    if last in CONSTANTS:
        return torch.full(shape, CONSTANTS[last], dtype=like.dtype)
    normal = np.asarray(np.random.RandomState(zlib.crc32(named.encode())).standard_normal(shape))
    special = {
        "running_var": 0.5 + np.abs(normal),
        "running_mean": 0.2 * normal,
        "gamma": 0.5 + 0.2 * normal,
        "cls_token": 0.3 * normal,
        "mask_token": 0.3 * normal,
        "pos_embed": 0.3 * normal,
        "dustbin_score": np.asarray(1.7),
        "bias": 0.1 * normal,
    }
    if last in special:
        values = special[last]
    elif "norm" in named or ".bn" in named:
        values = 1.0 + 0.2 * normal
    else:
        values = 1.5 * normal / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(np.array(values, np.float32))


def rule_model() -> Mickey:
    return assemble(rule_tensors(), TINY_HEAD_DIM)


def seeded_model(seed: int = 4) -> Mickey:
    """The tiny architecture with seeded weights and trained-looking positions: needs no data."""
    torch.manual_seed(seed)
    model = Mickey(TINY)
    with torch.no_grad():
        model.extractor.dinov2_vitl14.pos_embed.normal_(std=0.3)
        model.extractor.depth_head.depth.weight.abs_()  # positive depths, as a trained network has
    return model.eval().requires_grad_(False)


def seeded_engine(store: TensorStore | None = None, long_side_px: int = 140) -> MickeyEngine:
    return MickeyEngine(seeded_model(), "seeded", store or TensorStore(), long_side_px)

"""What the shapes of a checkpoint do not tell: read from the `config.json` beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from geocorrect.errors import ModelError

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

"""The table of `geocorrect models list`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from geocorrect.errors import ModelError
from geocorrect.networks.cards import ModelCard, size_text
from geocorrect.networks.weights import ModelAccess, locate, model_folder


def model_rows(cards: Iterable[ModelCard], folder: Path | None = None) -> list[dict[str, Any]]:
    """One row per model; `state` is ready, partial (files missing or not accepted) or absent."""
    access = ModelAccess(folder)
    return [
        {
            "name": card.name,
            "title": card.title,
            "task": card.task.value,
            "size": size_text(card.size_mb),
            "size_mb": card.size_mb,
            "memory_mb": card.memory_mb,
            "licence": card.licence.name,
            "licence_short": card.licence.short or card.licence.name,
            "licence_url": card.licence.url,
            "commercial": card.licence.commercial,
            "alternative": card.alternative,
            "depth_alternative": card.depth_alternative,
            "source": card.hub_id or ", ".join(file.url or "" for file in card.files),
            "valid_range_m": card.valid_range_m,
            "relative_depth_sigma": card.relative_depth_sigma,
            "state": _state(card, access),
        }
        for card in cards
    ]


def _state(card: ModelCard, access: ModelAccess) -> str:
    try:
        locate(card.name, access)
    except ModelError:
        folder = model_folder(card.name, access)
        return "partial" if any((folder / file.name).exists() for file in card.files) else "absent"
    return "ready"

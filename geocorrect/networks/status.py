"""The table of `geocorrect models list`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from geocorrect.errors import ModelError
from geocorrect.networks.cards import ModelCard, size_text
from geocorrect.networks.weights import ModelAccess, locate, model_folder


def model_rows(cards: Iterable[ModelCard], folder: Path | None = None) -> list[dict[str, Any]]:
    """One row per model as plain values; `state` is ready, partial (files missing or not accepted) or absent."""
    access = ModelAccess(folder)
    as_stated = ("name", "title", "size_mb", "memory_mb", "alternative", "depth_alternative")
    return [
        {
            **{key: getattr(card, key) for key in (*as_stated, "valid_range_m", "relative_depth_sigma")},
            "task": card.task.value,
            "size": size_text(card.size_mb),
            "licence": card.licence.name,
            "licence_short": card.licence.short or card.licence.name,
            "licence_url": card.licence.url,
            "commercial": card.licence.commercial,
            "source": card.hub_id or ", ".join(str(file.wheel or file.url) for file in card.files),
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

"""The table of `geocorrect models list`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from geocorrect.errors import ModelError
from geocorrect.networks.cards import ModelCard, size_text
from geocorrect.networks.weights import ModelAccess, locate, model_folder

COLUMNS = {"name": "name", "size": "size", "licence_short": "licence", "commercial": "business", "state": "state"}
"""Key of a row and heading; whatever the terminal, names are whole, for they are what is typed."""


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


def print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """The rows for people, on stdout."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for key, heading in COLUMNS.items():
        table.add_column(heading, no_wrap=key != "licence_short", justify="right" if key == "size" else "left")
    for row in rows:
        table.add_row(*("yes" if row[c] is True else "no" if row[c] is False else str(row[c]) for c in COLUMNS))
    Console().print(table)


def _state(card: ModelCard, access: ModelAccess) -> str:
    try:
        locate(card.name, access)
    except ModelError:
        folder = model_folder(card.name, access)
        return "partial" if any((folder / file.name).exists() for file in card.files) else "absent"
    return "ready"

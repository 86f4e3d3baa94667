"""What the configured networks and depth sources are, without their weights: for lists, reports and stored runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from geocorrect.config import DepthName, DepthSection, Settings, with_depth
from geocorrect.depth.base import DepthDeclaration
from geocorrect.depth.scaled import ScaleOptions
from geocorrect.networks.cards import CARDS, Licence

COLUMNS = {
    "source": "source", "range": "metres", "errors": "error", "licence": "licence", "commercial": "business",
    "needs": "needs",
}  # fmt: skip
"""Key of a row and heading of `geocorrect depth list`."""


def declare_depth(section: DepthSection) -> DepthDeclaration:
    """The declaration of the source that `build_depth` would build; nothing needs to be there."""
    declared, scale = _declare_source(section), section.scale
    if scale.heuristic is not None:
        from geocorrect.depth.lidar import LidarDepth
        from geocorrect.depth.scaled import declare_measured_scale

        declared = declare_measured_scale(declared, LidarDepth().declaration)
    elif scale != ScaleOptions():
        from geocorrect.depth.scaled import declare_stated_scale, stated_scale

        declared = declare_stated_scale(declared, stated_scale(scale.factor, scale.common_log_sigma))
    if section.calibrate:
        from geocorrect.depth.triangulated import declare_calibrated

        declared = declare_calibrated(declared)
    return declared


def _declare_source(section: DepthSection) -> DepthDeclaration:
    match section.source:
        case "lidar":
            from geocorrect.depth.lidar import LidarDepth

            return LidarDepth().declaration
        case "triangulated":
            from geocorrect.depth.triangulated import declare_triangulated

            return declare_triangulated(section.triangulated)
        case "files":
            from geocorrect.depth.files import declare_files

            return declare_files(section.files)
        case "mast3r":
            from geocorrect.depth.mast3r import declare_mast3r

            return declare_mast3r()
        case "depth_anything_v2" | "depth_pro" | "zoedepth":
            from geocorrect.depth.monocular import DEPTH_PRO, declare_network, depth_anything_card, zoedepth_card

            cards = {
                "depth_anything_v2": depth_anything_card(section.depth_anything_v2),
                "depth_pro": CARDS[DEPTH_PRO],
                "zoedepth": zoedepth_card(section.zoedepth),
            }
            return declare_network(cards[section.source])


def weights_used(settings: Settings) -> list[dict[str, Any]]:
    """Networks behind the results, with the licences that bind them; empty when none is at work. Plain JSON values."""
    used = []
    card = CARDS.get(settings.match.matcher)
    if card is not None:
        used.append(_use("matching", card.name, card.licence))
    declared = declare_depth(settings.depth)
    if declared.licence is not None:
        used.append(_use("depth", declared.weights, declared.licence))
    return used


def run_record(settings: Settings) -> dict[str, Any]:
    """What is stored with a run: its settings, and the licences that its results are bound by."""
    return settings.as_json() | {"weights": weights_used(settings)}


def depth_rows(settings: Settings) -> list[dict[str, Any]]:
    """One row per depth source under these settings, for people and for --json."""
    return [_row(name, with_depth(settings, name)) for name in get_args(DepthName)]


def print_depth_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """The rows for people, on stdout."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for key, heading in COLUMNS.items():
        # Long cells are broken, never dropped, on a terminal of 80 columns too.
        table.add_column(heading, no_wrap=key not in ("needs", "licence"), min_width=16 if key == "needs" else None)
    for row in rows:
        table.add_row(*(str(row[key]) for key in COLUMNS))
    Console().print(table)


def _row(name: str, settings: Settings) -> dict[str, Any]:
    declared = declare_depth(settings.depth)
    licence = declared.licence
    nearest, farthest = declared.valid_range_m
    return {
        "source": name,
        "needs": "; ".join(declared.needs).replace("`", ""),
        "range": f"{nearest:g}–{farthest:g}" if math.isfinite(farthest) else "any",
        "errors": f"{_share(declared.log_sigma)}/{_share(declared.common_log_sigma)}",
        "licence": "–" if licence is None else licence.short or licence.name,
        "commercial": "yes" if licence is None or licence.commercial else "no",
        "weights": declared.weights,
        "valid_range_m": [nearest, farthest if math.isfinite(farthest) else None],
        "log_sigma": _known(declared.log_sigma),
        "common_log_sigma": _known(declared.common_log_sigma),
        "is_oracle": declared.is_oracle,
    }


def _share(sigma: float) -> str:
    """A standard deviation of log depth for people; 0.2 reads 20 %, unknown reads map: each map tells it."""
    return "map" if math.isnan(sigma) else f"{100 * sigma:.0f} %"


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _use(purpose: str, name: str, licence: Licence) -> dict[str, Any]:
    return {
        "purpose": purpose,
        "name": name,
        "licence": licence.name,
        "url": licence.url,
        "commercial": licence.commercial,
    }

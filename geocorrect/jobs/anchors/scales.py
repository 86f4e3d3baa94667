"""What a depth source is wrong by on a catalog's anchors: the thesis' scales from their LiDAR, and the medians."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np

from geocorrect.api.anchor_cache import read_anchor
from geocorrect.api.backends import build_depth
from geocorrect.api.scene import AnchorSource
from geocorrect.config import Settings
from geocorrect.depth.base import DepthSource
from geocorrect.depth.lidar import LidarDepth
from geocorrect.depth.scale import (
    DepthScale,
    ScaleError,
    ScaleHeuristic,
    ScaleOptions,
    scale_from_lidar,
    train_set_scale,
)
from geocorrect.errors import ConfigError, ExitCode, InputError
from geocorrect.records import Anchor

Scales = Mapping[ScaleHeuristic, DepthScale]


@dataclass
class ScaleSurvey:
    """Scales of every anchor by heuristic, in order of ids; anchors without a scan; a message per failed anchor."""

    depth: str
    rows: dict[str, Scales] = field(default_factory=dict)
    without_scan: list[str] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)

    def quartiles(self, heuristic: ScaleHeuristic) -> tuple[float, float]:
        """Quartiles of the anchors' z factors."""
        low, high = np.quantile([row[heuristic].factors[2] for row in self.rows.values()], [0.25, 0.75])
        return float(low), float(high)

    @property
    def medians(self) -> dict[ScaleHeuristic, DepthScale]:
        """What the anchors teach as a training set; empty when none has a scale."""
        if not self.rows:
            return {}
        return {chosen: train_set_scale([row[chosen] for row in self.rows.values()]) for chosen in ScaleHeuristic}

    @property
    def exit_code(self) -> ExitCode:
        """3 when an anchor with a scan could not be used, or none has one."""
        return ExitCode.INPUT if self.unusable or not self.rows else ExitCode.OK

    def as_json(self) -> dict[str, Any]:
        """Plain values for --json."""
        return {
            "depth": self.depth,
            "anchors": {anchor_id: _plain(row) for anchor_id, row in self.rows.items()},
            "train_set": _plain(self.medians),
            "without_scan": self.without_scan,
            "unusable": self.unusable,
            "exit_code": int(self.exit_code),
        }


def measure_scales(
    settings: Settings, anchors: AnchorSource, on_progress: Callable[[int, int], None], drives: tuple[str, ...] = ()
) -> ScaleSurvey:
    """Compare the configured depth source, neither scaled nor calibrated, with the LiDAR of every anchor.

    drives: only anchors of these; empty: all. ConfigError when the configured source predicts nothing.
    """
    if not settings.depth.is_predicted:
        raise ConfigError(
            f'[depth] source = "{settings.depth.source}" is measured and has no scale to correct; configure a network '
            "or files, or name one with --depth"
        )
    raw = replace(settings.depth.alone(), scale=ScaleOptions())
    source = build_depth(settings.model_copy(update={"depth": raw}))
    survey, total = ScaleSurvey(source.fingerprint), len(anchors.index.ids)
    for done, anchor in enumerate(chain.from_iterable(anchors.chunks()), 1):
        if not drives or anchor.drive_id in drives:
            _measure(survey, anchor, source)
        on_progress(done, total)
    return survey


def _measure(survey: ScaleSurvey, anchor: Anchor, source: DepthSource) -> None:
    if anchor.lidar is None:
        survey.without_scan.append(anchor.id)
        return
    try:
        pixels = read_anchor(anchor).pixels
        predicted, measured = source.depth(anchor, pixels), LidarDepth().depth(anchor, pixels)
        scales = {chosen: scale_from_lidar(predicted, measured, anchor.camera, chosen) for chosen in ScaleHeuristic}
    except (InputError, ScaleError) as error:
        survey.unusable.append(f"anchor {anchor.id}: {error}")
    else:
        survey.rows[anchor.id] = scales


def _plain(scales: Scales) -> dict[str, Any]:
    return {
        str(heuristic): {
            "factors_xyz": [float(factor) for factor in scale.factors],
            "n": scale.n,
            "common_log_sigma": None if np.isnan(scale.common_log_sigma) else scale.common_log_sigma,
            "is_oracle": scale.is_oracle,
        }
        for heuristic, scale in scales.items()
    }

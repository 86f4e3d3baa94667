"""What a georeference tells: the alignment, every click's residual, how it moves without each image, what is weak."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geocorrect.anchors.alignment import Alignment
from geocorrect.georeference.build import ClickedDrive
from geocorrect.georeference.problem import Problem

Float = NDArray[np.float64]


@dataclass(frozen=True)
class ClickResidual:
    """One click's verdict. residual_m: in plan between the map and where the pixel's ray meets the ground, nan above
    the horizon; residual_px: in the image, nan when the mark is out of view. mark_m, reached_m: in the alignment's
    frame.
    """

    image: str
    index: int
    u_px: float
    v_px: float
    residual_px: float
    residual_m: float
    mahalanobis: float
    outlier: bool
    mark_m: tuple[float, float]
    reached_m: tuple[float, float]


@dataclass(frozen=True)
class Finding:
    """Something weak about the solution. code: short and stable; text: what, and how to mend it; fatal: refuse."""

    code: str
    text: str
    fatal: bool = False


@dataclass(frozen=True, eq=False)
class Georeference:
    """The result of one method on one set of clicks. problem is None for GNSS."""

    method: str
    alignment: Alignment
    clicks: tuple[ClickResidual, ...]
    leave_one_out_m: Mapping[str, float]
    findings: tuple[Finding, ...]
    drives: Sequence[ClickedDrive]
    problem: Problem | None = None
    base_height_m: float = float("nan")
    base_height_sigma_m: float = float("nan")
    reduced_chi2: float = float("nan")
    track_sigma_m: float = float("nan")
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def yaw_deg(self) -> float:
        """Turn of the local x axis counter-clockwise from east, degrees."""
        turn = self.alignment.world_from_local.rotation.as_matrix()
        return float(np.degrees(np.arctan2(turn[1, 0], turn[0, 0])))

    @property
    def camera_position_shift_m(self) -> float:
        """Largest move of any clicked camera when one image is left out; nan when that was not possible."""
        return max(self.leave_one_out_m.values(), default=float("nan"))

    def median_residual_m(self) -> float:
        """Median over the clicks that are not outliers."""
        values = [c.residual_m for c in self.clicks if not c.outlier and np.isfinite(c.residual_m)]
        return float(np.median(values)) if values else float("nan")

    def as_json(self) -> dict[str, Any]:
        """Plain values; also a file that `anchors add --alignment` reads."""
        return {
            **self.alignment.as_json(),
            "method": self.method,
            "scale": self.alignment.world_from_local.scale,
            "yaw_deg": self.yaw_deg,
            "clicks": [
                {
                    "image": click.image,
                    "index": click.index,
                    "residual_px": _number(click.residual_px),
                    "residual_m": _number(click.residual_m),
                    "outlier": click.outlier,
                }
                for click in self.clicks
            ],
            "leave_one_out_m": {image: _number(shift) for image, shift in self.leave_one_out_m.items()},
            "camera_position_shift_m": _number(self.camera_position_shift_m),
            "median_residual_m": _number(self.median_residual_m()),
            "base_height_m": _number(self.base_height_m),
            "base_height_sigma_m": _number(self.base_height_sigma_m),
            "reduced_chi2": _number(self.reduced_chi2),
            "track_sigma_m": _number(self.track_sigma_m),
            "findings": [{"code": f.code, "text": f.text} for f in self.findings],
            **self.facts,
        }

    def table(self) -> list[tuple[str, ...]]:
        """Rows of text: image, click, pixel, residual px, residual m, verdict."""
        return [
            (
                click.image,
                str(click.index),
                f"{click.u_px:.0f}, {click.v_px:.0f}",
                f"{click.residual_px:.1f}",
                f"{click.residual_m:.2f}",
                "OUTLIER" if click.outlier else "",
            )
            for click in self.clicks
        ]


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None

"""What a georeference reports: the alignment, every click's residual, how it moves without each image, what is weak."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from geocorrect.anchors.alignment import Alignment
from geocorrect.georeference.build import ClickedDrive, track_of
from geocorrect.georeference.problem import Float, Problem

NUMBERS = (
    "camera_position_shift_m", "median_residual_m", "base_height_m", "base_height_sigma_m", "reduced_chi2",
    "track_sigma_m",
)  # fmt: skip
"""Attributes of a georeference that go into its JSON under their own names."""


@dataclass(frozen=True, eq=False)
class ClickResidual:
    """How one click agrees with the alignment."""

    image: str
    index: int
    """Number of the click in its image."""
    u_px: float
    v_px: float
    residual_px: float
    """In the image; nan when the mark is out of view."""
    residual_m: float
    """In plan between the map and where the pixel's ray meets the ground; nan above the horizon."""
    outlier: bool
    mark_m: Float
    """(2,) the mark in the alignment's frame."""
    reached_m: Float
    """(2,) where the ray meets the ground, likewise."""
    mahalanobis: float = float("nan")
    """Distance of the click from the alignment in sigmas of its own errors; inf above the horizon, nan where the
    method has none."""


@dataclass(frozen=True)
class Finding:
    """Something weak about the solution."""

    code: str
    """Short and stable."""
    text: str
    """What, and how to fix it."""
    fatal: bool = False
    """Refuse the solution."""


@dataclass(frozen=True, eq=False)
class Georeference:
    """The result of one method; the attributes after the alignment are empty or nan for GNSS."""

    alignment: Alignment
    clicks: tuple[ClickResidual, ...] = ()
    leave_one_out_m: Mapping[str, float] = field(default_factory=dict)
    """Per image: how far the cameras move in plan without its clicks; nan where that cannot be solved."""
    findings: tuple[Finding, ...] = ()
    drives: Sequence[ClickedDrive] = ()
    problem: Problem | None = None
    base_height_m: float = float("nan")
    base_height_sigma_m: float = float("nan")
    reduced_chi2: float = float("nan")
    track_sigma_m: float = float("nan")
    """Largest predicted 1-sigma plan error along the drives."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Further plain values for JSON."""

    @property
    def method(self) -> str:
        """joint, umeyama or gnss."""
        return self.alignment.method

    @property
    def yaw_deg(self) -> float:
        """Rotation of the local x axis counter-clockwise from east, degrees."""
        turn = self.alignment.world_from_local.rotation.as_matrix()
        return float(np.degrees(np.arctan2(turn[1, 0], turn[0, 0])))

    @property
    def camera_position_shift_m(self) -> float:
        """Largest move of any clicked camera when one image is left out; nan when that was not possible."""
        return max(self.leave_one_out_m.values(), default=float("nan"))

    @property
    def n_outliers(self) -> int:
        """Clicks that the alignment contradicts."""
        return sum(click.outlier for click in self.clicks)

    @property
    def median_residual_m(self) -> float:
        """Median over the clicks that are not outliers."""
        values = [c.residual_m for c in self.clicks if not c.outlier and np.isfinite(c.residual_m)]
        return float(np.median(values)) if values else float("nan")

    def as_json(self) -> dict[str, Any]:
        """Plain values; also a file that `anchors add --alignment` reads."""
        return {
            **self.alignment.as_json(),
            "yaw_deg": self.yaw_deg,
            "clicks": [
                {
                    "image": c.image, "index": c.index, "residual_px": _number(c.residual_px),
                    "residual_m": _number(c.residual_m), "outlier": c.outlier,
                }
                for c in self.clicks
            ],
            "leave_one_out_m": {image: _number(shift) for image, shift in self.leave_one_out_m.items()},
            **{name: _number(getattr(self, name)) for name in NUMBERS},
            "findings": [{"code": f.code, "text": f.text} for f in self.findings],
            **self.facts,
        }  # fmt: skip

    def track(self, count: int) -> tuple[Float, Float]:
        """((K, 3) some `count` positions along the drives in the alignment's frame, (K,) their predicted plan error).

        The error is 1 sigma in metres.
        """
        local = track_of(self.drives)
        local = local[:: max(1, len(local) // count)]
        return self.alignment.world_from_local.apply(local), self.alignment.plan_sigma_m(local)

    def table(self) -> list[tuple[str, ...]]:
        """Rows of text: image, click, pixel, residual px, residual m, verdict."""
        return [
            (
                c.image, str(c.index), f"{c.u_px:.0f}, {c.v_px:.0f}", f"{c.residual_px:.1f}",
                f"{c.residual_m:.2f}", "OUTLIER" if c.outlier else "",
            )
            for c in self.clicks
        ]  # fmt: skip

    def summary(self) -> dict[str, str]:
        """The main numbers, human-readable."""
        frame, placed = self.alignment.frame, self.alignment.world_from_local
        middle = placed.apply(track_of(self.drives)).mean(axis=0) if self.drives else placed.translation_m
        lon, lat, height_m = map(float, frame.wgs84_from_enu(middle))
        away_m, up_m = (self.facts.get(f"gnss_{name}_m") for name in ("distance", "height_difference"))
        distance = {} if away_m is None else {"distance of its own GNSS": f"{away_m:.1f} m, {up_m:+.1f} m in height"}
        return {
            "middle of the drive": f"{_degrees(lat, 'NS')} {_degrees(lon, 'EW')}",
            "height above the ellipsoid": f"{height_m:.1f} m",
            **distance,
            "median of accepted clicks": f"{self.median_residual_m:.2f} m",
            "outliers": f"{self.n_outliers} of {len(self.clicks)}",
            "largest shift without one image": f"{self.camera_position_shift_m:.2f} m",
            "scale": f"{self.alignment.world_from_local.scale:.5f}",
            "yaw": f"{self.yaw_deg:.3f}°",
            "base above ground": f"{self.base_height_m:.2f} m",
            "predicted error along the drive (1 sigma)": f"≤ {self.track_sigma_m:.2f} m",
        }


def _degrees(value: float, letters: str) -> str:
    return f"{abs(value):.5f}° {letters[int(value < 0)]}"


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None

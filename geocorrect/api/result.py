"""What a user gets for one photo: the pose in plain numbers or the reason why there is none, and a picture of both."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from geocorrect.api.photo import Localization
from geocorrect.catalog.rows.pose_columns import error_ellipses
from geocorrect.errors import OutputError, Reason, Status
from geocorrect.geometry.frame import Frame, pitch_roll_deg
from geocorrect.geometry.pose import Pose
from geocorrect.records import NAN, AnchorView, Correction, Evidence, Float, Query, Result


@dataclass(frozen=True)
class AnchorMatches:
    """Verified matches of the photo with one anchor."""

    anchor_id: str
    photo_px: Float
    """(N, 2) in the photo; the centre of the top-left pixel is (0, 0)."""
    anchor_px: Float
    """(N, 2) in the anchor's image."""
    is_inlier: np.ndarray[Any, np.dtype[np.bool_]]
    """(N,) which of them support the pose; none where there is no pose."""


@dataclass(frozen=True)
class Ellipse:
    """Where the camera stands with 95 % probability, horizontally."""

    semi_major_m: float
    semi_minor_m: float
    azimuth_deg: float
    """Of the major axis, clockwise from true north."""


@dataclass(frozen=True, eq=False)
class LocalizationResult:
    """A photo's pose, or the reason why there is none. Without a pose its numbers are nan."""

    frame: Frame
    """Local east-north-up frame of `pose`."""
    localization: Localization
    """What led to the result."""
    _pictures: Callable[[], tuple[Query, tuple[AnchorView, ...]]] = field(repr=False)
    """Reads photo and anchors again: a result holds no pixels, but those of a photo that was given as an array."""

    @property
    def result(self) -> Result:
        """As the catalog stores it: `Correction` or `Rejection`."""
        return self.localization.found.result

    @property
    def photo_id(self) -> str:
        """Id of the photo."""
        return self.result.image_id

    @property
    def status(self) -> Status:
        """ACCEPTED, REVIEW (a pose that a person should look at first) or REJECTED."""
        return self.result.status if isinstance(self.result, Correction) else Status.REJECTED

    @property
    def reason(self) -> Reason | None:
        """Why the photo was rejected; None when it has a pose."""
        return None if isinstance(self.result, Correction) else self.result.reason

    @property
    def detail(self) -> str:
        """The reason in a sentence with its figures; empty when there is a pose."""
        return "" if isinstance(self.result, Correction) else self.result.detail

    @property
    def pose(self) -> Pose | None:
        """`world_from_cam` in `frame`: camera (x right, y down, z forward) → east, north, up in metres."""
        return self.result.world_from_cam if isinstance(self.result, Correction) else None

    @property
    def covariance(self) -> Float:
        """(6, 6) of translation (m) and rotation (rad), on the world's side; nan without a pose."""
        covariance = None if self.pose is None else self.pose.covariance
        return np.full((6, 6), NAN) if covariance is None else covariance

    @property
    def lon_deg(self) -> float:
        """Longitude of the camera, WGS84."""
        return self._wgs84()[0]

    @property
    def lat_deg(self) -> float:
        """Latitude of the camera, WGS84."""
        return self._wgs84()[1]

    @property
    def height_m(self) -> float:
        """Height of the camera above the ellipsoid."""
        return self._wgs84()[2]

    @property
    def heading_deg(self) -> float:
        """Where the camera looks, clockwise from true north."""
        return NAN if self.pose is None else self.frame.heading_deg(self.pose)

    @property
    def pitch_deg(self) -> float:
        """Up is positive."""
        return NAN if self.pose is None else pitch_roll_deg(self.pose)[0]

    @property
    def roll_deg(self) -> float:
        """Clockwise is positive."""
        return NAN if self.pose is None else pitch_roll_deg(self.pose)[1]

    @property
    def expected_error_m(self) -> float:
        """Predicted horizontal error, 68 %."""
        return self.result.expected_error_m if isinstance(self.result, Correction) else NAN

    @property
    def expected_heading_error_deg(self) -> float:
        """Predicted standard deviation of the heading."""
        return self.result.expected_heading_error_deg if isinstance(self.result, Correction) else NAN

    @property
    def ellipse_95(self) -> Ellipse:
        """Error ellipse of the position."""
        if self.pose is None:
            return Ellipse(NAN, NAN, NAN)
        turn_deg = self.frame.true_north_turn_deg(self.pose.translation_m[None])
        return Ellipse(*(float(v[0]) for v in error_ellipses(self.covariance[None], turn_deg)))

    @property
    def evidence(self) -> Evidence:
        """Counts of matches and inliers, anchor by anchor; matcher and depth."""
        return self.result.evidence

    @property
    def unusable_anchors(self) -> tuple[str, ...]:
        """Messages about anchors whose files could not be read."""
        return self.localization.unusable_anchors

    @property
    def matches(self) -> tuple[AnchorMatches, ...]:
        """Verified matches, anchor by anchor."""
        found = self.localization.found
        fits = [None] * len(found.observations) if found.solution is None else found.solution.fits
        return tuple(
            AnchorMatches(o.anchor.id, o.query_px, o.anchor_px, np.zeros(len(o), bool) if fit is None else fit.inliers)
            for o, fit in zip(found.observations, fits, strict=True)
        )

    def plot(self, path: str | Path) -> Path:
        """Draw matches, residuals and a map with the error ellipse.

        Args:
            path: A .png file; a former one is replaced.

        Returns:
            The file.

        Raises:
            OutputError: it is no .png file or cannot be written.
            InputError: the photo could not be read.
        """
        from geocorrect.report.pictures.localize_picture import PictureFacts, draw_localization

        path = Path(path)
        if path.suffix.lower() != ".png":
            raise OutputError(f"{path}: name a .png file")
        query, views = self._pictures()
        draw_localization(PictureFacts(query, self.localization.found, views, tuple(self.lines())), path)
        return path

    def as_json(self) -> dict[str, Any]:
        """Plain values; a rejected photo has no pose. Angles in degrees, WGS84, ellipsoidal height."""
        answer: dict[str, Any] = {"image_id": self.photo_id, "status": self.status.value}
        if self.pose is not None:
            names = ("lon_deg", "lat_deg", "height_m", "heading_deg", "pitch_deg", "roll_deg")
            answer |= {name: getattr(self, name) for name in names}
            answer |= {
                "expected_error_m": self.expected_error_m,
                "expected_heading_error_deg": self.expected_heading_error_deg,
                "ellipse_95": vars(self.ellipse_95),
                "enu_from_cam": self.pose.matrix.tolist(),
                "covariance": self.covariance.tolist(),
            }
        elif self.reason is not None:
            answer |= {"reason": self.reason.value, "detail": self.detail}
        return answer | _evidence(self.evidence) | {"unusable_anchors": list(self.unusable_anchors)}

    def lines(self) -> list[str]:
        """Human-readable: where, which way, how sure, by what evidence."""
        if self.reason is None:
            ellipse = self.ellipse_95
            text = [
                f"{self.lat_deg:.8f}°, {self.lon_deg:.8f}° (latitude, longitude, WGS84), "
                f"{self.height_m:.2f} m above the ellipsoid",
                f"heading {self.heading_deg:.2f}° from true north, pitch {self.pitch_deg:.2f}°, "
                f"roll {self.roll_deg:.2f}°",
                f"expected error {_metres(self.expected_error_m)}, heading "
                f"{self.expected_heading_error_deg:.2f}° (68 %); "
                f"95 % ellipse {_metres(ellipse.semi_major_m)} × {_metres(ellipse.semi_minor_m)}",
                f"{self.status.value}" + ("" if self.status is Status.ACCEPTED else ": have a person look at it"),
            ]
            if np.isfinite(self.evidence.displacement_m):
                text.append(f"{self.evidence.displacement_m:.2f} m from the reported position")
        else:
            text = [f"rejected, {self.reason.value}: {self.reason.text}", *filter(None, [self.detail])]
        evidence = self.evidence
        if evidence.depth:
            used = [a for a in evidence.anchors if a.n_verified]
            oracle = " (measured: an oracle)" if evidence.depth_is_oracle else ""
            text.append(
                f"{evidence.n_inliers} inliers of {evidence.n_matches} matches with {len(used)} of "
                f"{len(evidence.anchors)} anchors; depth: {evidence.depth}{oracle}"
            )
        text += _shutter_lines(evidence.rolling_shutter)
        return text + [f"unusable {message}" for message in self.unusable_anchors]

    def __str__(self) -> str:
        return "\n".join([f"{self.photo_id}:", *self.lines()])

    def _wgs84(self) -> tuple[float, float, float]:
        if self.pose is None:
            return NAN, NAN, NAN
        lon_deg, lat_deg, height_m = self.frame.wgs84_from_enu(self.pose.translation_m)
        return float(lon_deg), float(lat_deg), float(height_m)


def _evidence(evidence: Evidence) -> dict[str, Any]:
    counts = ("anchor_id", "n_matches", "n_verified", "n_inliers")
    names = ("matcher", "depth", "depth_is_oracle", "scale_source", "displacement_m", "n_matches", "n_inliers")
    anchors = [{name: getattr(anchor, name) for name in counts} for anchor in evidence.anchors]
    shutter = {"rolling_shutter": dict(evidence.rolling_shutter)} if evidence.rolling_shutter else {}
    return {name: getattr(evidence, name) for name in names} | {"anchors": anchors} | shutter


def _shutter_lines(shutter: Mapping[str, float]) -> list[str]:
    """What was done about rolling shutters; nothing where none is known."""
    if not shutter:
        return []
    parts = []
    if shutter["readout_s"]:  # 0: global
        speed = f"{shutter['speed_m_s']:.1f} ± {shutter['speed_sigma_m_s']:.1f} m/s"
        moving = f"at {speed}" if math.isfinite(shutter["speed_m_s"]) else "at an unknown speed, not corrected"
        parts += [f"{1e3 * shutter['readout_s']:.0f} ms {moving}"] if math.isfinite(shutter["readout_s"]) else []
    is_corrected = math.isfinite(shutter["moved_m"])  # not where there was no pose to begin with
    known = "corrected" if is_corrected else "at a known speed"
    parts += [f"{shutter['n_anchors']:.0f} anchors {known}"] if shutter["n_anchors"] else []
    parts += [f"{shutter['n_unknown']:.0f} anchors at an unknown speed, not corrected"] if shutter["n_unknown"] else []
    parts += [f"the pose moved by {_metres(shutter['moved_m'])}"] if is_corrected else []
    return [f"rolling shutter: {'; '.join(parts)}"]


def _metres(value_m: float) -> str:
    if not math.isfinite(value_m):
        return "unknown"
    return f"{100 * value_m:.1f} cm" if value_m < 1 else f"{value_m:.1f} m"

"""Results as columns of the table `correction`: whole batches at once, a nightly run stores a hundred thousand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from geocorrect.catalog.rows.codec import checked_texts
from geocorrect.catalog.rows.pose_columns import error_ellipses, pose_columns
from geocorrect.errors import Status
from geocorrect.geometry.frame import Frame, angle_difference_deg
from geocorrect.records import Correction, Evidence, Rejection, Result

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ImageFacts:
    """What storing results needs to know of their photos, (N,) each; nan where the provider said nothing."""

    content_hash: Sequence[str]
    lon_deg: Float
    lat_deg: Float
    heading_deg: Float
    horizontal_fov_deg: Float

    def part(self, rows: slice | NDArray[np.intp]) -> ImageFacts:
        """The facts of some photos."""
        hashes = np.array(self.content_hash, dtype=object)[rows].tolist()
        numbers = (self.lon_deg, self.lat_deg, self.heading_deg, self.horizontal_fov_deg)
        return ImageFacts(hashes, *(values[rows] for values in numbers))


def result_columns(results: Sequence[Result], frame: Frame, facts: ImageFacts) -> dict[str, Any]:
    """Columns of `correction` without fid, run_id, recorded_at and input_hash, in the order of results and facts.

    Numbers are arrays with nan for unknown, `geom` is (N, 3), `covariance` (N, 36), `evidence` written JSON.
    """
    columns = _decisions(results) | _evidence([result.evidence for result in results])
    columns["content_hash"] = facts.content_hash
    for name in ("detail", "matcher", "depth"):
        _check(columns[name], name, results)
    return columns | _placed(results, frame, facts)


def _decisions(results: Sequence[Result]) -> dict[str, Any]:
    rejected = [result if isinstance(result, Rejection) else None for result in results]
    return {
        "image_id": [result.image_id for result in results],
        "status": [Status.REJECTED.value if isinstance(r, Rejection) else r.status.value for r in results],
        "reason": [None if rejection is None else rejection.reason.value for rejection in rejected],
        "detail": ["" if rejection is None else rejection.detail for rejection in rejected],
    }


def _check(texts: Sequence[str], name: str, results: Sequence[Result]) -> None:
    for text, result in zip(texts, results, strict=True):
        if not text.isascii() or "\0" in text:
            checked_texts({name: text}, f"result of image {result.image_id[:60]}")


# --- evidence -------------------------------------------------------------------------------------------

_EVIDENCE_NUMBERS = ("n_matches", "n_inliers", "inlier_coverage", "median_residual_px", "anchor_spread_m")
_EVIDENCE_TEXTS = ("matcher", "depth", "depth_is_oracle")


def _evidence(found: Sequence[Evidence]) -> dict[str, Any]:
    texts = {name: [getattr(evidence, name) for evidence in found] for name in _EVIDENCE_TEXTS}
    numbers = {name: np.array([getattr(e, name) for e in found], dtype=np.float64) for name in _EVIDENCE_NUMBERS}
    counts = {name: numbers[name].astype(np.int64) for name in ("n_matches", "n_inliers")}
    return texts | numbers | counts | {
        "depth_is_oracle": [bool(value) for value in texts["depth_is_oracle"]],
        "scale_source": [None if e.scale_source is None else e.scale_source.value for e in found],
        "n_anchors": [sum(anchor.n_inliers > 0 for anchor in evidence.anchors) for evidence in found],
        "evidence": [evidence_json(evidence) for evidence in found],
    }  # fmt: skip


def evidence_json(evidence: Evidence) -> bytes:
    """The evidence as JSON, field by field; nan and infinity as null."""
    options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_SORT_KEYS
    return orjson.dumps(evidence, default=_plain, option=options)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


# --- places ---------------------------------------------------------------------------------------------

_NUMBERS = (
    "lon_deg", "lat_deg", "height_m", "enu_x_m", "enu_y_m", "enu_z_m", "qx", "qy", "qz", "qw",
    "heading_deg", "pitch_deg", "roll_deg",
    "semi_major_m", "semi_minor_m", "ellipse_azimuth_deg", "sigma_height_m",
    "expected_error_m", "expected_heading_error_deg",
    "displacement_m", "displacement_east_m", "displacement_north_m", "heading_change_deg",
)  # fmt: skip
_WIDTHS = {"covariance": 36, "geom": 3}


def _placed(results: Sequence[Result], frame: Frame, facts: ImageFacts) -> dict[str, Any]:
    """Columns of poses; nan for rejections."""
    rows = np.array([k for k, result in enumerate(results) if isinstance(result, Correction)], dtype=np.intp)
    columns = {name: np.full(len(results), np.nan) for name in _NUMBERS}
    columns |= {name: np.full((len(results), width), np.nan) for name, width in _WIDTHS.items()}
    if len(rows):
        corrections = [result for result in results if isinstance(result, Correction)]
        for name, values in _pose_values(corrections, frame, facts.part(rows)).items():
            columns[name][rows] = values
    return columns


def _pose_values(corrections: Sequence[Correction], frame: Frame, facts: ImageFacts) -> dict[str, Float]:
    names = [f"result of image {c.image_id[:60]}" for c in corrections]
    columns, turn = pose_columns([c.world_from_cam for c in corrections], frame, names)
    covariances = columns["covariance"].reshape(-1, 6, 6)
    semi_major, semi_minor, azimuth = error_ellipses(covariances, turn)
    enu = np.stack([columns[f"enu_{axis}_m"] for axis in "xyz"], axis=1)
    east, north = _displacement(frame, enu, columns["height_m"], turn, facts)
    return columns | {
        "semi_major_m": semi_major, "semi_minor_m": semi_minor, "ellipse_azimuth_deg": azimuth,
        "sigma_height_m": np.sqrt(covariances[:, 2, 2]),
        "expected_error_m": np.array([c.expected_error_m for c in corrections]),
        "expected_heading_error_deg": np.array([c.expected_heading_error_deg for c in corrections]),
        "displacement_m": np.hypot(east, north), "displacement_east_m": east, "displacement_north_m": north,
        "heading_change_deg": angle_difference_deg(columns["heading_deg"], facts.heading_deg),
    }  # fmt: skip


def _displacement(frame: Frame, enu: Float, height_m: Float, turn_deg: Float, facts: ImageFacts) -> tuple[Float, Float]:
    """Corrected minus reported position, metres true east and true north; nan where nothing was reported."""
    # The reported height is not trusted: the reported place is lifted to the corrected height.
    shift = enu - frame.enu_from_wgs84(facts.lon_deg, facts.lat_deg, height_m)
    turn = np.radians(turn_deg)
    east = shift[:, 0] * np.cos(turn) - shift[:, 1] * np.sin(turn)
    north = shift[:, 0] * np.sin(turn) + shift[:, 1] * np.cos(turn)
    return east, north

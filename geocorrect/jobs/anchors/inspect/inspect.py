"""One verdict on the anchors of a catalog or of files: what was checked, what is wrong, and what cannot be known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from typing import Any

import numpy as np
from scipy.stats import trim_mean

from geocorrect.api.anchor_cache import read_anchor
from geocorrect.api.backends import build_matcher
from geocorrect.api.scene import AnchorSource
from geocorrect.config import Settings
from geocorrect.errors import ExitCode
from geocorrect.geometry.pose import rotation_angle_deg
from geocorrect.io.bounded_cache import BoundedCache
from geocorrect.jobs.anchors.inspect.conventions import readings
from geocorrect.jobs.anchors.inspect.heights import height_findings
from geocorrect.jobs.anchors.inspect.scans import scan_findings
from geocorrect.jobs.anchors.inspect.views import BEHIND_PX, MatchedPair, Placed, matched_pairs
from geocorrect.match.cascade import first_stage
from geocorrect.records import Anchor, AnchorView, Float

MIN_PAIRS = 3
FITS_RATIO, FITS_PX = 2.0, 1.0
"""Poses fit where their error is at most so many times that of the pictures alone, or so many pixels (of a picture 1000
pixels long) above it."""
BETTER_RATIO, BETTER_PX = 0.6, 0.15
"""Another reading explains the pictures where its error is below this share of the declared one's, and lower by this
(of a picture 1000 pixels long)."""


class Severity(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    UNKNOWN = "unknown"
    """Nothing there to check it by."""
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """What one check says."""

    check: str
    severity: Severity
    text: str


@dataclass(frozen=True)
class Noise:
    """How far declared relative poses of neighbours are from what their pictures say; medians, nan when unknown."""

    rotation_deg: float = float("nan")
    across_m: float = float("nan")
    """Across the line between the two: along it pictures say nothing."""


@dataclass(frozen=True, eq=False)
class Inspection:
    """All of it."""

    anchors: tuple[Anchor, ...]
    findings: tuple[Finding, ...]
    pairs: tuple[MatchedPair, ...]
    errors_px: Float
    """(P,) of each pair under the declared poses."""
    noise: Noise

    @property
    def verdict(self) -> str:
        """One sentence."""
        wrong = [finding for finding in self.findings if finding.severity is Severity.WRONG]
        if wrong:
            return f"Do not trust these anchors: {wrong[0].text}"
        unknown = [finding.check for finding in self.findings if finding.severity is Severity.UNKNOWN]
        return "The anchors fit their pictures" + (f"; not checked: {', '.join(unknown)}" if unknown else "")

    @property
    def exit_code(self) -> ExitCode:
        """3 when something is wrong."""
        return ExitCode.INPUT if any(f.severity is Severity.WRONG for f in self.findings) else ExitCode.OK

    def as_json(self) -> dict[str, Any]:
        """Plain values for --json."""
        noise = {key: None if np.isnan(value) else value for key, value in vars(self.noise).items()}
        return {
            "verdict": self.verdict,
            "exit_code": int(self.exit_code),
            "n_anchors": len(self.anchors),
            "n_pairs": len(self.pairs),
            "findings": [{"check": f.check, "severity": f.severity.value, "text": f.text} for f in self.findings],
            "median_error_px": float(np.median(self.errors_px)) if len(self.errors_px) else None,
            "noise": noise,
        }


def inspect_anchors(
    settings: Settings,
    source: AnchorSource,
    n_pairs: int = 40,
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> Inspection:
    """Look at all anchors of a source; pictures of at most n_pairs pairs are read.

    Raises:
        InputError: the source has no anchors.
    """
    anchors = tuple(chain.from_iterable(source.chunks()))
    pixels: BoundedCache[str, AnchorView] = BoundedCache(6)
    matcher = first_stage(build_matcher(settings))

    def view(anchor: Anchor) -> AnchorView:
        return pixels.get_or_make(anchor.id, lambda: read_anchor(anchor))

    pairs, unusable = matched_pairs(anchors, matcher, view, n_pairs, on_progress)
    declared = Placed.of(anchors)
    errors_px = np.array([pair.error_px(declared) for pair in pairs])
    findings = [Finding("files", Severity.WRONG, message) for message in unusable]
    findings.append(_poses(anchors, pairs, errors_px))
    findings += [
        Finding(check, Severity(severity), text)
        for check, severity, text in scan_findings(anchors, pairs, declared, view)
    ]
    findings += [
        Finding(check, Severity(severity), text)
        for check, severity, text in height_findings(settings, source.frame, anchors)
    ]
    return Inspection(anchors, tuple(findings), tuple(pairs), errors_px, _noise(pairs, declared))


def _poses(anchors: Sequence[Anchor], pairs: Sequence[MatchedPair], errors_px: Float) -> Finding:
    """Whether neighbours agree under the declared poses; else which other reading makes them."""
    if len(pairs) < MIN_PAIRS:
        text = f"{len(pairs)} pairs of neighbours match, {MIN_PAIRS} are needed; stand anchors closer, or look at fewer"
        return Finding("poses", Severity.UNKNOWN, text)
    error, free = _typical_px(errors_px), _typical_px([pair.free_px for pair in pairs])
    size = float(np.median([max(anchors[p.first].camera.width, anchors[p.first].camera.height) for p in pairs])) / 1000
    best_error, best, kind = error, "", ""
    for reading in readings(anchors):
        other = _typical_px([pair.error_px(reading.poses) for pair in pairs])
        # Another kind of mistake must be clearly more likely than a plainer one.
        if other < (1.0 if reading.kind == kind else 0.9) * best_error:
            best_error, best, kind = other, reading.what, reading.kind
    said = f"{error:.2f} px" if error < BEHIND_PX else "points lie behind the cameras"
    if best and best_error <= min(BETTER_RATIO * error, error - BETTER_PX * size):
        text = f"{best} ({best_error:.2f} px instead of {said}, {len(pairs)} pairs)"
        return Finding("poses", Severity.WRONG, text)
    if error <= max(FITS_RATIO * free, free + FITS_PX * size):
        text = f"neighbours agree to {said} ({free:.2f} px by the pictures alone, {len(pairs)} pairs)"
        return Finding("poses", Severity.OK, text)
    text = f"neighbours disagree ({said}; {free:.2f} px by the pictures alone), and no usual mistake explains it"
    return Finding("poses", Severity.WRONG, text)


def _typical_px(errors_px: Sequence[float] | Float) -> float:
    """Mean of the middle half: robust against a quarter of bad pairs, and telling offsets apart finer than a median."""
    return float(trim_mean(np.asarray(errors_px), 0.25))


def _noise(pairs: Sequence[MatchedPair], declared: Placed) -> Noise:
    """Of one pose: half the variance of a pair."""
    if not pairs:
        return Noise()
    turned, across = [], []
    for pair in pairs:
        rotation, direction = declared.first_from_second(pair.first, pair.second)
        relative = type(pair.free.rotation).from_matrix(rotation)
        turned.append(rotation_angle_deg(relative, pair.free.rotation))
        free = pair.free.translation_m / np.linalg.norm(pair.free.translation_m)
        across.append(float(np.linalg.norm(direction - (direction @ free) * free)))
    return Noise(float(np.median(turned) / 2**0.5), float(np.median(across) / 2**0.5))

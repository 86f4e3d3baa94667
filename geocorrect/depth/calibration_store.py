"""Depth calibrations on disk: one file per anchor, named by everything it depends on, so that a killed run
resumes.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from geocorrect.depth.calibrate import CalibrateOptions, DepthCalibration
from geocorrect.depth.triangulated import CalibratedDepth
from geocorrect.errors import InputError, OutputError
from geocorrect.records import NAN, Anchor, AnchorView

ARRAYS = ("coefficients", "coefficient_covariance", "points", "factor", "alpha")
NUMBERS = (
    "amplitude",
    "scale_before",
    "scale_after",
    "spread_before",
    "spread_after",
    "n_tracks",
    "good_share",
    "common_log_sigma",
)


@dataclass(frozen=True)
class CalibrationReport:
    """One line of `geocorrect anchors calibrate`: predicted over triangulated depth and the spread of its
    logarithm, before and after; n_tracks 0 where the neighbours did not suffice and the depth stays raw.
    reused: found on disk.
    """

    anchor_id: str
    n_tracks: int
    scale_before: float = NAN
    scale_after: float = NAN
    spread_before: float = NAN
    spread_after: float = NAN
    reused: bool = False


class CalibrationStore:
    """Calibrations of one folder; a missing file means not calibrated yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, anchor: Anchor, fingerprint: str) -> Path:
        """File of an anchor under one alignment, depth source, matcher and set of options."""
        key = f"{anchor.dataset}\n{anchor.id}\n{anchor.alignment_id}\n{anchor.sha256}\n{fingerprint}"
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.npz"

    def save(self, anchor: Anchor, fingerprint: str, calibration: DepthCalibration) -> None:
        """Write atomically; OutputError naming the folder when it cannot be written."""
        arrays = {name: getattr(calibration, name) for name in ARRAYS}
        arrays["numbers"] = np.array([getattr(calibration, name) for name in NUMBERS], float)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.folder, suffix=".part")
            with os.fdopen(handle, "wb") as stream:
                np.savez(stream, **arrays)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(name, self.path(anchor, fingerprint))
        except OSError as error:
            raise OutputError(f"{self.folder}: calibrations cannot be written ({error.strerror})") from None

    def load(self, anchor: Anchor, fingerprint: str, options: CalibrateOptions) -> DepthCalibration | None:
        """The stored calibration or None; InputError naming a damaged file."""
        path = self.path(anchor, fingerprint)
        if not path.exists():
            return None
        try:
            with np.load(path, allow_pickle=False) as data:
                arrays = {name: np.asarray(data[name], np.float64) for name in ARRAYS}
                numbers = dict(zip(NUMBERS, (float(v) for v in data["numbers"]), strict=True))
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise InputError(f"{path}: damaged depth calibration ({error}); delete it and calibrate again") from None
        return DepthCalibration(
            camera=anchor.camera,
            options=options,
            coefficients=arrays["coefficients"],
            coefficient_covariance=arrays["coefficient_covariance"],
            points=arrays["points"],
            factor=arrays["factor"],
            alpha=arrays["alpha"],
            amplitude=numbers["amplitude"],
            scale_before=numbers["scale_before"],
            scale_after=numbers["scale_after"],
            spread_before=numbers["spread_before"],
            spread_after=numbers["spread_after"],
            n_tracks=int(numbers["n_tracks"]),
            good_share=numbers["good_share"],
            common_log_sigma=numbers["common_log_sigma"],
        )


def calibrate_anchors(
    views: Iterable[AnchorView], source: CalibratedDepth, store: CalibrationStore
) -> Iterator[CalibrationReport]:
    """Calibrate anchor after anchor, storing each at once; what is stored already is only read (resumable)."""
    for view in views:
        anchor = view.anchor
        stored = store.load(anchor, source.fingerprint, source.options)
        calibration = stored
        if calibration is None:
            calibration = source.calibrate(anchor, view.pixels, source.base.depth(anchor, view.pixels))
            if calibration is not None:
                store.save(anchor, source.fingerprint, calibration)
        source.remember(anchor, calibration)
        yield _report(anchor, calibration, stored is not None)


def _report(anchor: Anchor, calibration: DepthCalibration | None, reused: bool) -> CalibrationReport:
    if calibration is None:
        return CalibrationReport(anchor.id, 0)
    c = calibration
    return CalibrationReport(
        anchor.id, c.n_tracks, c.scale_before, c.scale_after, c.spread_before, c.spread_after, reused
    )

"""From the options of a command to the files of anchors. Light to import."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from geocorrect.errors import UsageError

if TYPE_CHECKING:
    from geocorrect.anchors.add import AnchorFiles, VbrSource


class AnchorFormat(StrEnum):
    """On-disk formats of anchors."""

    VBR = "vbr"
    KITTI_RAW = "kitti-raw"
    TABLE = "table"


@dataclass(frozen=True)
class AnchorChoice:
    """A path, its format, and the options of all formats, as `geocorrect anchors add --help` describes them."""

    path: Path
    layout: AnchorFormat
    calibration: Path | None = None
    ground_truth: Path | None = None
    alignment: Path | None = None
    spacing_m: float = 1.0
    scans: str = "required"
    uncovered: str = "refuse"
    crs: str | None = None
    height_reference: str = "unknown"
    geoid_undulation_m: float | None = None
    dataset: str = "table"

    def source(self) -> AnchorFiles:
        """The files, not read yet; UsageError when an option is missing or unknown."""
        from geocorrect.anchors.add import KittiSource, TableSource
        from geocorrect.anchors.readers.kitti import KittiOptions
        from geocorrect.anchors.readers.table import TableOptions

        if self.layout is AnchorFormat.VBR:
            return self._vbr()
        if self.layout is AnchorFormat.KITTI_RAW:
            return KittiSource(self.path, KittiOptions(geoid_undulation_m=self.geoid_undulation_m or 0.0))
        undulation_m = float("nan") if self.geoid_undulation_m is None else self.geoid_undulation_m
        return TableSource(self.path, TableOptions(self.crs, self.height_reference, undulation_m, dataset=self.dataset))

    def _vbr(self) -> VbrSource:
        from geocorrect.anchors.add import VbrSource
        from geocorrect.anchors.alignment import read_alignment
        from geocorrect.anchors.readers.vbr import VbrOptions

        if self.ground_truth is None or self.alignment is None:
            raise UsageError("--format vbr needs --ground-truth SEQ_gt.txt and --alignment FILE.json")
        for name, value, known in (
            ("--scans", self.scans, ("required", "if_present", "none")),
            ("--uncovered", self.uncovered, ("refuse", "skip")),
        ):
            if value not in known:
                raise UsageError(f"{name} {value!r}: use {', '.join(known)}")
        inside, beside = self.path / "vbr_calib.yaml", self.path.parent / "vbr_calib.yaml"
        calibration = self.calibration or (beside if beside.exists() and not inside.exists() else inside)
        options = VbrOptions(spacing_m=self.spacing_m, scans=self.scans, uncovered=self.uncovered)  # type: ignore[arg-type]
        return VbrSource(self.path, calibration, self.ground_truth, read_alignment(self.alignment), options)

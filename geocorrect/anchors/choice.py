"""The options of every format of anchors in one record, as a command line gives them. Light to import."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geocorrect.anchors.add import AnchorFiles

AUTO = "auto"
"""Instead of a format's name: find out from the files."""


@dataclass(frozen=True)
class AnchorOptions:
    """What `geocorrect anchors add` can say about files of anchors; each format takes what concerns it."""

    calibration: Path | None = None
    """vbr: vbr_calib.yaml; default: beside or in the folder."""
    ground_truth: Path | None = None
    """vbr: SEQ_gt.txt (TUM order)."""
    alignment: Path | None = None
    """JSON that places the local frame, as `geocorrect georeference --json` writes it."""
    spacing_m: float = 1.0
    """vbr: metres between anchors; 0 takes all."""
    scans: str = "required"
    """vbr: required, if_present or none."""
    uncovered: str = "refuse"
    """vbr: images outside the trajectory's time: refuse or skip."""
    crs: str | None = None
    """Of the coordinates, e.g. EPSG:4326."""
    height_reference: str = "unknown"
    """What heights are measured from: ellipsoid, orthometric or a vertical CRS."""
    geoid_undulation_m: float | None = None
    """From the ellipsoid up to the geoid."""
    heading_reference: str = "true"
    """table: headings and quaternions are from true north, or from the grid north of the CRS (grid)."""
    drive: str | None = None
    """kitti-raw: name of the drive, where the folder holds several."""
    cameras: tuple[str, ...] = ()
    """kitti-raw, kitti-odometry: which cameras of the rig; by default the colour ones."""
    frames: str | None = None
    """kitti-raw, kitti-odometry: which frame numbers, START:STOP:STEP as Python slices them."""
    dataset: str | None = None
    """Name of the dataset; None takes that of the format."""


def anchor_files(path: Path, layout: str = AUTO, options: AnchorOptions | None = None) -> AnchorFiles:
    """The anchors in files, not read yet.

    Args:
        path: A folder or file, as the format wants it.
        layout: Name of a format, or "auto".
        options: What the files do not say themselves.

    Raises:
        InputError: layout is "auto" and no format, or more than one, knows the files.
        UsageError: there is no such format.
    """
    from geocorrect.anchors.readers.registry import ChosenFiles, find_format, format_named

    chosen = find_format(path) if layout == AUTO else format_named(layout)
    return ChosenFiles(path, chosen, options or AnchorOptions())

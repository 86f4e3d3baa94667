"""The options of every format of anchors in one record, as a command line gives them. Light to import."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from pathlib import Path

AUTO = "auto"
"""Instead of a format's name: find out from the files."""


@dataclass(frozen=True)
class AnchorOptions:
    """What `geocorrect anchors add` can say about files of anchors; each format takes what concerns it."""

    calibration: Path | None = None
    """vbr: vbr_calib.yaml; default: beside or in the folder. positions: YAML of the camera."""
    ground_truth: Path | None = None
    """vbr: SEQ_gt.txt (TUM order); kitti-odometry: poses/NN.txt, by default that beside the sequences."""
    alignment: Path | None = None
    """vbr, kitti-odometry, waymo, zod, reconstructions: JSON that places the frame (`georeference --json`)."""
    spacing_m: float = 1.0
    """vbr, positions: metres between anchors; 0 takes all."""
    scans: str = "required"
    """vbr, kitti-odometry, kitti360, waymo, zod: required, if_present or none."""
    uncovered: str = "refuse"
    """vbr: images outside the trajectory's time; positions: photos that cannot be placed: refuse or skip."""
    crs: str | None = None
    """Of the coordinates, e.g. EPSG:4326."""
    height_reference: str = "unknown"
    """What heights are measured from: ellipsoid, orthometric or a vertical CRS."""
    geoid_undulation_m: float | None = None
    """From the ellipsoid up to the geoid."""
    heading_reference: str = "true"
    """table: headings and quaternions are from true north, or from the grid north of the CRS (grid)."""
    images: Path | None = None
    """Reconstructions: folder of the pictures; default: where the program leaves them. waymo, zod: where to unpack."""
    control_points: Path | None = None
    """Reconstructions: CSV or GeoJSON with image, u_px, v_px, landmark and place."""
    positions: Path | None = None
    """Reconstructions: CSV or GeoJSON with file, place and sigma_position_m; or "exif": the tags of the pictures.
    positions: a track .gpx, .nmea or .pos; or "exif"."""
    position_sigma_m: float | None = None
    """Of positions that state none."""
    level_cameras: bool = False
    """Reconstructions, positions: the cameras stand upright, as on a vehicle; fixes the roll on a straight street."""
    drive: str | None = None
    """Where a folder holds several: name of the drive (kitti-raw, kitti360), scene (nuscenes) or segment (waymo)."""
    cameras: tuple[str, ...] = ()
    """kitti-…, nuscenes, argoverse2, waymo, zod: which cameras; by default KITTI's colour ones, KITTI-360's 00, ZOD's
    first, else all."""
    frames: str | None = None
    """kitti-raw, kitti-odometry, kitti360: which frame numbers, START:STOP:STEP as Python slices them."""
    clock_offset_s: float | None = None
    """positions: what is added to the camera's clock to give the track's; None: estimated."""
    dataset: str | None = None
    """Name of the dataset; None takes that of the format."""

    @property
    def undulation_m(self) -> float:
        """`geoid_undulation_m`, nan where it is not given."""
        return nan if self.geoid_undulation_m is None else self.geoid_undulation_m

"""The configuration section `[depth.pointcloud]`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PointCloudOptions:
    """Where the index is, and how far and how well its points describe what a camera saw."""

    folder: Path = Path("pointcloud")
    """Written by `geocorrect depth pointcloud`."""
    max_range_m: float = 60.0
    """Points farther from the camera are not used."""
    noise_m: float = 0.03
    """Standard deviation of the cloud against the anchors: both have errors of their own."""
    noise_ratio: float = 0.003
    """Relative error beside it, as of a scan; combined as the root of squares."""
    cache_mib: int = 256
    """Points used last stay in a worker's memory, up to so many MiB."""

    def __post_init__(self) -> None:
        if not (self.max_range_m > 1 and self.noise_m > 0 and self.noise_ratio >= 0 and self.cache_mib >= 1):
            raise ValueError("pointcloud: max_range_m > 1, noise_m > 0, noise_ratio ≥ 0 and cache_mib ≥ 1 are needed")

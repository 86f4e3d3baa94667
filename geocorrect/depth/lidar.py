"""The oracle: depth of an anchor measured by its own laser scan.

Always labelled `is_oracle`: what a scan measures is not what a camera-only system could know.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from geocorrect.anchors.scan import read_scan
from geocorrect.anchors.scan_projection import MIN_DEPTH_M, ProjectionOptions, project_scan
from geocorrect.depth.base import DepthDeclaration, options_digest
from geocorrect.errors import InputError
from geocorrect.records import Anchor, DepthMap, Float32, ImageArray


@dataclass(frozen=True)
class LidarDepth:
    """DepthSource that projects the anchor's scan into its image."""

    projection: ProjectionOptions = field(default_factory=ProjectionOptions)
    noise_m: float = 0.02
    """Range noise of the sensor."""
    noise_ratio: float = 0.003
    """Relative error that calibration and motion add, combined with the noise as the root of squares."""

    @property
    def fingerprint(self) -> str:
        """Back-end and parameters in one line; part of the run key."""
        return f"lidar-{options_digest(self.projection, self.noise_m, self.noise_ratio)}"

    @property
    def declaration(self) -> DepthDeclaration:
        """See `depth.base.DepthSource.declaration`; every sample has its own error, all of it."""
        return DepthDeclaration(
            needs=("a laser scan of each anchor",),
            valid_range_m=(MIN_DEPTH_M, self.projection.max_range_m),
            log_sigma=float(np.hypot(self.noise_m / MIN_DEPTH_M, self.noise_ratio)),
            common_log_sigma=0.0,
            is_oracle=True,
        )

    def depth(self, anchor: Anchor, image: ImageArray) -> DepthMap:
        """Sparse samples of measured depth; of the image only the size is checked.

        Raises:
            InputError: the anchor has no scan, the scan is damaged, or the image's size is not the camera's.
        """
        if anchor.lidar is None:
            raise InputError(f'anchor {anchor.id}: it has no laser scan; [depth] source = "triangulated" needs none')
        if image.shape[:2] != (anchor.camera.height, anchor.camera.width):
            raise InputError(
                f"{anchor.path}: the image is {image.shape[1]}×{image.shape[0]} pixels, its camera is "
                f"{anchor.camera.width}×{anchor.camera.height}; fix the calibration's resolution"
            )
        options = replace(self.projection, max_range_m=min(self.projection.max_range_m, anchor.lidar.max_range_m))
        scan = read_scan(anchor.lidar.path, anchor.lidar.format)
        px, z_m = project_scan(scan.points_lidar_m, anchor.lidar.cam_from_lidar, anchor.camera, options)
        log_sigma: Float32 = np.hypot(self.noise_m / z_m, self.noise_ratio).astype(np.float32)
        return DepthMap("lidar", is_oracle=True, samples_px=px, samples_z_m=z_m, log_sigma=log_sigma)

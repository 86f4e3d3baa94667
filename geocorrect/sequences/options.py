"""Options of the sequence step: noise of the relative motion, and what is published. Stdlib only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SequenceOptions:
    """`[sequence]` of the configuration.

    Noise figures are the start; every sequence re-estimates common factors of its own from how well the motion between
    its results fits.
    """

    enabled: bool = True
    """Whether `geocorrect run` does the step after correcting."""
    cluster_rotation_deg: float = 0.15
    cluster_share: float = 0.02
    cluster_floor_m: float = 0.02
    """Noise per step of the provider's relative poses (`sfm_cluster`), root mean square over all three axes: angle of
    the rotation, share of the length, floor."""
    computed_rotation_deg: float = 0.3
    computed_share: float = 0.03
    computed_floor_m: float = 0.15
    """The same for poses composed of `computed_geometry` and `computed_rotation`."""
    gps_floor_m: float = 1.0
    gps_share: float = 0.1
    gps_height_m: float = 0.5
    gps_tilt_deg: float = 40.0
    compass_deg: float = 20.0
    no_compass_deg: float = 60.0
    """Noise of the difference of two reported positions (horizontal), of the height between them, of the tilt between
    two photos, and of the rotation about the vertical with and without a compass."""
    scale_walk_per_100_m: float = 0.02
    scale_sigma: float = 0.05
    """Random walk of the log-scale of a reconstruction, and how far a long one may be from metric at its start."""
    robust_distance: float = 4.0
    """Mahalanobis distance (6 degrees of freedom) at which a result loses three quarters of its weight."""
    outlier_distance: float = 5.5
    outlier_m: float = 0.5
    outlier_deg: float = 2.0
    """A result is flagged when it is further than this from what the others predict: as a Mahalanobis distance,
    and in metres or degrees (exact results contradict each other by millimetres, which is no reason)."""
    min_results: int = 3
    max_outlier_share: float = 0.34
    """Fewer results that agree, or more that do not, and nothing is said about the sequence."""
    accept_error_m: float = 0.5
    review_error_m: float = 2.0
    accept_rotation_deg: float = 3.0
    review_rotation_deg: float = 10.0
    """Predicted 68 % horizontal error, and rotation error about the worst axis, of a photo without a result of its own:
    accepted up to the first, for review up to the second, left alone beyond."""
    min_gain: float = 0.1
    """A result is replaced by its sharpened version when its predicted error shrinks by at least this share."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name != "enabled" and not value > 0:
                raise ValueError(f"sequence.{name} must be above 0, got {value}")
        if self.min_results < 2:
            raise ValueError(f"sequence.min_results must be at least 2, got {self.min_results}")

"""Every number of the estimator and its gate, with its unit and where it comes from.

Pixel tolerances are for an image 512 px long (the size learned matchers work at) and grow with the square root of the
image's length: a feature in a larger photo is located more coarsely in its own pixels (lens blur, demosaicing,
compression), but not in proportion. This suits KITTI (1242 px, SIFT) and the simulator (512 px) alike.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from geocorrect.geometry.camera import Camera
from geocorrect.localize.estimators.options import (
    EstimatorName,
    MapAnythingPoseOptions,
    MickeyPoseOptions,
    OpenCvOptions,
)

REFERENCE_LONG_SIDE_PX = 512.0


def pixel_scale(camera: Camera) -> float:
    """Factor on every pixel tolerance for this camera's image, 1 at 512 px, 1.6 at 1242 px, 2.8 at 4000 px."""
    return float((max(camera.width, camera.height) / REFERENCE_LONG_SIDE_PX) ** 0.5)


@dataclass(frozen=True)
class VerifyOptions:
    """Epipolar verification of one query–anchor pair (calibrated, on bearings)."""

    min_matches: int = 12
    """Fewer raw matches than this say nothing about a relative pose (5 fix it; twice that to trust it)."""
    max_epipolar_px: float = 3.0
    """Sampson error of an inlier. Wide enough for a 2 % focal error over a third of the image (measured on
    the simulator: tighter values lose matches of badly calibrated photos)."""
    max_iterations: int = 5_000
    """RANSAC draws; 5-point samples at 30 % inliers need 1,900 for 99 %."""
    masks: str = ""
    """Name of a set of masks beside the pictures (`photo.NAME.png`, see `io.masks`); empty: none are read."""


@dataclass(frozen=True)
class LiftOptions:
    """Matches to 3-D points."""

    sample_radius_px: float = 2.0
    """A sparse depth sample further than this from the match belongs to another surface."""
    edge_radius_px: float = 3.0
    """Samples within this radius decide whether the match sits on a depth edge."""
    max_edge_ratio: float = 1.12
    """Depths that differ by more than this factor within the edge radius make the match ambiguous."""
    max_bend: float = 0.12
    """Bend of inverse depth within the edge radius of a dense map, relative to it, above which there is an edge.
    On a real network's depth (ETH3D pair, 386 matches) the 34 above 0.03 err 4 times as much as the others, but
    leaving them out moved no pose by more than 2 cm and 0.1°: only clear edges are refused."""
    max_depth_m: float = 120.0
    """Farther points carry no translation and mostly noise."""
    min_depth_m: float = 0.5
    """Nearer points lie on the car that carries the camera."""


@dataclass(frozen=True)
class PnpOptions:
    """Robust absolute pose from 2D–3D matches (PoseLib LO-RANSAC, then refinement)."""

    max_reprojection_px: float = 2.5
    """RANSAC tolerance; pooled anchors with LiDAR on KITTI: median inlier residual 0.5 px."""
    refine_loss_px: float = 1.0
    """Cauchy scale of the refinement: about the noise of a good match."""
    min_iterations: int = 200
    """RANSAC draws, whatever the inliers; and at most."""
    max_iterations: int = 10_000
    min_points: int = 10
    """Fewer points with depth, or fewer inliers, and there is no pose."""


MIN_REPORTED_SIGMA_M = 3.0
"""A reported position that is believed more than this would pull poses: the answer would be the prior in disguise."""


@dataclass(frozen=True)
class PosePriorOptions:
    """Weak knowledge about the photo's pose beside the matches, each by its sigma; None: not used.

    For phones in streets reported_m = 10, height_m = 1, roll_deg = 3 and pitch_deg = 8 are cautious.
    """

    reported_m: float | None = None
    """Error of the reported position, per horizontal axis, its constant bias included."""
    height_m: float | None = None
    """Height of the camera against the mean of the anchors' cameras."""
    roll_deg: float | None = None
    pitch_deg: float | None = None
    """Deviation from a level camera (gravity)."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not value > 0:
                raise ValueError(f"{name} = {value}: a sigma must be positive; leave it out not to use this prior")
        if self.reported_m is not None and self.reported_m < MIN_REPORTED_SIGMA_M:
            raise ValueError(
                f"reported_m = {self.reported_m}: below {MIN_REPORTED_SIGMA_M:g} m the reported position would pull "
                "the corrected one; state its real error, or leave it out"
            )


ANCHOR_POSITION_M, ANCHOR_ROTATION_DEG = 0.02, 0.05
"""Noise of the anchors of a drive relative to each other that nobody stated or checked."""


@dataclass(frozen=True)
class JointOptions:
    """Initialisation and ray bundle adjustment (`docs/method.md`)."""

    sigma_px: float = 1.3
    """Noise of a match in the anchor image at the start; re-estimated from the residuals within sigma_range."""
    sigma_range: tuple[float, float] = (0.25, 1.5)
    robust_px: float = 3.0
    """Geman–McClure scale, in sigmas."""
    robust_depth: float = 2.0
    """Cauchy scale of the depth residual, in sigmas."""
    graduation: tuple[float, ...] = (6.0, 3.0, 1.5, 1.0)
    """Inflation of the robust scales, level by level."""
    final_graduation: tuple[float, ...] = (1.5, 1.0)
    """The same once more with all matches, from the adjusted hypothesis."""
    iterations_per_level: int = 2
    final_iterations: int = 4
    """Iterations of the very last level; hypotheses that compete need no more than the others (they move < 0.5 mm)."""
    converged_m: float = 2e-4
    """A step that moves the camera by less (metres plus radians) ends a level; results are good to centimetres."""
    min_anchor_support: float = 0.15
    """Mean weight below which an anchor is switched off as a whole."""
    max_matches: int = 1_000
    """Matches per anchor in the final solve; beyond it accuracy is set by the smooth errors (KITTI raw, 8 anchors: 500
    0.53 cm, 1,000 and 2,000 0.44 cm; docs/accuracy.md)."""
    max_trial_matches: int = 150
    """Matches per anchor when hypotheses compete."""
    max_hypotheses: int = 2
    hypothesis_min_iterations: int = 50
    hypothesis_iterations: int = 1_000
    """RANSAC draws per hypothesis: 3-point samples at 15 % inliers need 900 for 95 %."""
    single_px: float = 8.0
    pooled_px: float = 12.0
    """PnP tolerances of the hypotheses: predicted depth is wrong by more than pixels are."""
    distinct_m: float = 0.7
    """Hypotheses closer than this are one."""
    support_half: float = 50.0
    """Supported matches at which an anchor counts half: no single anchor may outvote several."""
    focal_sigma: float = 0.03
    """Prior of the relative focal error where the camera does not state its own (crowd metadata)."""
    principal_px: float = 1.5
    """Prior of the principal point of a camera not calibrated with a target: a guess (OpenSfM does not estimate it)."""
    bend_sigma: float = 0.001
    """Prior of distortion that the stated lens does not have, as a share of the radius at half of the longer side; a
    focal length that is known better says that the distortion is, too."""
    calibrated_focal_sigma: float = 1e-3
    """Relative focal error up to which a camera counts as calibrated with a target (KITTI 0.03 %, VBR 0.1 %); its
    principal point is then known to as many pixels as its focal length."""
    anchor_position_m: float | None = None
    anchor_rotation_deg: float | None = None
    """Noise of the anchors' poses relative to each other (local trajectory). None of the two stated: what `geocorrect
    anchors check` found of a drive, 0.02 and 0.05 before."""
    shared_rotation: float = 0.7
    """Part of that rotation which all anchors of a drive have in common (mounting, clock), so that no number of them
    averages it away. KITTI raw 0002: the photos of one camera share 0.04° against the anchors of the other."""
    min_depth_scale_sigma: float = 0.002
    """Prior of the depth offset of a source that has no common error (LiDAR: range bias and calibration)."""
    prior: PosePriorOptions = field(default_factory=PosePriorOptions)

    @property
    def is_noise_stated(self) -> bool:
        """Whether the configuration says how noisy the anchors are, so that nothing that was found counts."""
        return self.anchor_position_m is not None or self.anchor_rotation_deg is not None

    @property
    def anchor_noise(self) -> tuple[float, float]:
        """Metres and degrees, as stated or as usual."""
        position_m, rotation_deg = self.anchor_position_m, self.anchor_rotation_deg
        return (
            ANCHOR_POSITION_M if position_m is None else position_m,
            ANCHOR_ROTATION_DEG if rotation_deg is None else rotation_deg,
        )


@dataclass(frozen=True)
class CovarianceOptions:
    """Errors that are smooth over an image, as standard deviations at 512 px (`docs/method.md`)."""

    white_px: float = 0.8
    """White part of a match's error; the joint estimator finds it from the residuals."""
    query_field_px: float = 0.6
    """Smooth shift of the query's pixels, the same for all anchors; of this and of the anchor's a matcher may have a
    share only (`Observations.smooth_noise`)."""
    principal_point_px: float = 1.5
    """Its constant part; the joint estimator has `JointOptions.principal_px`."""
    anchor_field_px: float = 0.9
    """Smooth shift of one anchor's pixels."""
    depth_field_share: float = 0.8
    """Part of a point's depth sigma that is smooth over the image."""
    depth_shared: float = 0.7
    """Part of the smooth depth error's variance that neighbouring anchors have in common."""
    anchor_position_m: float = ANCHOR_POSITION_M
    anchor_rotation_deg: float = ANCHOR_ROTATION_DEG
    """Local trajectory noise between anchors; the joint estimator has its own in `JointOptions`."""


@dataclass(frozen=True)
class GateOptions:
    """Accept, review or reject. The reported position may be tens of metres off: its limit is generous."""

    min_inliers: int = 30
    """Over all anchors."""
    min_coverage: float = 0.06
    """Share of the cells of a 16×12 grid over the photo that hold an inlier."""
    min_lone_coverage: float = 0.3
    """The same for a pose that one anchor alone supports: with less it is left for a review. Right ones have 0.35 and
    more (18 on KITTI raw, 60 simulated), such as fit an anchor by chance up to 0.18 (simulator)."""
    min_inlier_share: float = 0.15
    """Inliers among the lifted matches of the anchors in use."""
    max_displacement_m: float = 60.0
    """Consumer GNSS in streets: p90 7 m, urban canyon outliers 25 m; beyond this the match is with another place."""
    reported_sigma_m: float = 8.0
    """Bias model of the reported position, per axis: what a distance from it is measured in (`reported_sigmas`)."""
    max_scale_sigmas: float = 10.0
    """Scale from depth against scale from the anchors' baselines, in sigmas of their difference: 1.5 times what 99 % of
    the simulator's right solutions stay below."""
    max_height_difference_m: float = 6.0
    """Camera above or below the anchors' cameras nearby; street photos are taken within a few metres."""
    max_alternative_share: float = 0.6
    """Support of the best distant other pose, relative to the winner's."""
    review_alternative_share: float = 0.5
    """The same, above which a pose is left for a review: a copy of a façade explains nearly as much."""
    distant_m: float = 1.0
    """Two poses further apart than this are different answers."""
    max_anchor_spread_m: float = 1.0
    """Median distance of single-anchor poses from the joint pose."""
    min_support_share: float = 0.51
    """Anchors that could judge and support the pose: a majority."""
    min_independent_anchors: int = 2
    """Anchors that can contradict each other; with fewer, a pose is left for a review until the sequence confirms it.
    1: one anchor is believed."""
    max_principal_shift_px: float = 16.0
    """At 512 px. Matches that move the principal point further mean an error of another kind, unmodelled distortion:
    the pose is left for a review."""
    max_other_place_share: float = 1.0
    """Matches with the most alike anchor of another place, over those of the best supporting one (`other_place_share`),
    above which the pose is left for a review. Rendered streets whose houses repeat: right photos up to 0.95
    (n = 127), of those on another copy all but 3 of 43 above 1."""
    reject_probability: float = 0.9
    """P(error > 1 m) of the fitted error model above which a pose is not even offered for review."""
    accept_error_m: float = 0.5
    reject_error_m: float = 2.0
    """Predicted 68 % horizontal error: accept below the first, review up to the second, reject above."""


@dataclass(frozen=True)
class LocalizeOptions:
    """Everything that `localize` can be configured with."""

    verify: VerifyOptions = field(default_factory=VerifyOptions)
    lift: LiftOptions = field(default_factory=LiftOptions)
    pnp: PnpOptions = field(default_factory=PnpOptions)
    joint: JointOptions = field(default_factory=JointOptions)
    covariance: CovarianceOptions = field(default_factory=CovarianceOptions)
    gate: GateOptions = field(default_factory=GateOptions)
    estimator: EstimatorName = "joint"
    """What finds the pose. `poselib` and `opencv`: PnP on the lifted matches, depth taken as it is. Networks:
    `mapanything` starts the joint estimator with its own pose, `mickey` solves every anchor alone."""
    opencv: OpenCvOptions = field(default_factory=OpenCvOptions)
    mapanything: MapAnythingPoseOptions = field(default_factory=MapAnythingPoseOptions)
    mickey: MickeyPoseOptions = field(default_factory=MickeyPoseOptions)

    @property
    def estimator_variant(self) -> str:
        """The estimator's name for tables: OpenCV's says which of its two settings."""
        return self.opencv.variant if self.estimator == "opencv" else self.estimator

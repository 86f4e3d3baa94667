"""How a multi-view prediction fits what was given to the network: measured depths, and the poses of the views.

What is given is a hint to such a network, not a constraint, so its answer is held against it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geocorrect.geometry.similarity import fit_pose_similarity
from geocorrect.networks.mapanything.photo_view import DensePrediction, DepthHints, PhotoView, ScenePoses
from geocorrect.records import Float32

MIN_HINTS = 10
"""Fewer measured depths say nothing about the scale."""

MEASURED_SCALE_FLOOR = 0.02
"""No measurement knows the scale of a picture better than this: scanner, calibration and time offset are in it."""

BASELINE_SCALE_FLOOR = 0.05
"""Assumed error of a depth scale that the distances between anchors fixed; not measured with real weights."""


@dataclass(frozen=True)
class ScaleCheck:
    """What predicted depth must be multiplied by, and how well that is known."""

    factor: float
    """Given over predicted lengths."""
    common_log_sigma: float
    """Standard deviation of the log scale after the correction."""


def z_depth(dense: DensePrediction, view: PhotoView) -> Float32:
    """(h, w) z-depth of the predicted distances along the rays of the photo's own lens."""
    from geocorrect.networks.mapanything.preprocess import network_rays

    assert view.camera is not None
    z_m: Float32 = dense.distance_m * network_rays(view.camera, dense.placement)[..., 2]
    return z_m


def agreement_of_first(predictions: Sequence[DensePrediction], poses: ScenePoses) -> NDArray[np.float64]:
    """(h, w) share of the other views that see the first view's points where it says."""
    from geocorrect.networks.mapanything.intrinsics import fit_intrinsics

    views = [
        ViewDepth(
            (dense.distance_m * dense.rays[..., 2]).astype(float), dense.believed, fit_intrinsics(dense.rays).matrix,
            pose.matrix,
        )
        for dense, pose in zip(predictions, poses.first_from_view, strict=True)
    ]  # fmt: skip
    if not all(np.isfinite(view.intrinsics).all() for view in views):
        return np.zeros(views[0].z_m.shape)  # rays of no pinhole confirm nothing
    return agreement(views)[0]


def scale_from_hints(z_m: Float32, hints: DepthHints | None, dense: DensePrediction) -> ScaleCheck | None:
    """Median ratio of measured over predicted depth at the measured pixels; None with fewer than ten of them."""
    if hints is None or not len(hints.px):
        return None
    height, width = z_m.shape
    column, row = np.rint(dense.placement.to_network(hints.px)).astype(int).T
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height) & (hints.z_m > 0)
    column, row, measured_m = column[inside], row[inside], hints.z_m[inside]
    predicted_m = np.where(dense.believed[row, column], z_m[row, column], np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        log_ratio = np.log(measured_m / predicted_m)
    log_ratio = log_ratio[np.isfinite(log_ratio)]
    if len(log_ratio) < MIN_HINTS:
        return None
    middle = float(np.median(log_ratio))
    spread = 1.4826 * float(np.median(np.abs(log_ratio - middle)))
    # Errors of neighbouring pixels go together: a thousand samples are not worth more than thirty.
    sigma = float(np.hypot(spread / np.sqrt(min(len(log_ratio), 30)), MEASURED_SCALE_FLOOR))
    return ScaleCheck(float(np.exp(middle)), sigma)


def scale_from_baselines(views: Sequence[PhotoView], poses: ScenePoses, prior_sigma: float) -> ScaleCheck | None:
    """Known over predicted distances between the anchors; None where they are at one place."""
    known = [view.world_from_cam for view in views if view.world_from_cam is not None]
    if len(known) < len(views) or len(views) < 2:
        return None
    fit = fit_pose_similarity(known, poses.first_from_view)
    if not fit.is_scale_known:
        return None
    left_over = float(np.sqrt(np.mean(fit.centre_residual_m**2))) / fit.spread_m
    sigma = min(float(np.hypot(left_over, BASELINE_SCALE_FLOOR)), prior_sigma)
    return ScaleCheck(fit.target_from_source.scale, sigma)


Float = NDArray[np.float64]
Mask = NDArray[np.bool_]

DEFAULT_RANGE_M = (0.1, 100.0)
"""Range of the field of view of a view without any depth."""


@dataclass(frozen=True)
class AgreementRules:
    """When two depths of a point agree. The defaults are the published model's."""

    tolerance_m: float = 0.02
    """Difference allowed at depth zero."""
    tolerance_ratio: float = 0.02
    """Part of the depth that is allowed beside it."""
    nearest_m: float = 0.04
    """A point nearer to the other camera than this is not compared."""


@dataclass(frozen=True, eq=False)
class ViewDepth:
    """Depth of one view with its pinhole and pose."""

    z_m: Float
    """(H, W) z-depth, not positive where unknown."""
    mask: Mask
    """(H, W) pixels to be judged; as witnesses all pixels serve."""
    intrinsics: Float
    """(3, 3) K in pixels with integer centres."""
    world_from_cam: Float
    """(4, 4)."""


def agreement(views: Sequence[ViewDepth], rules: AgreementRules | None = None) -> list[Float]:
    """(H, W) per view: share of the comparisons with other views in which the depths agree.

    0 where nothing can be compared, or the pixel is not to be judged; 1 everywhere for a view that no other overlaps.
    """
    rules = rules or AgreementRules()
    corners = [_frustum(view) for view in views]
    shares = []
    for index, view in enumerate(views):
        others = [k for k in range(len(views)) if k != index and _convex_overlap(corners[index], corners[k])]
        if not others:
            shares.append(np.ones(view.z_m.shape))
            continue
        agreeing, compared = np.zeros(view.z_m.shape), np.zeros(view.z_m.shape)
        rows, columns = np.nonzero((view.z_m > 0) & view.mask)
        pixels = np.column_stack([columns, rows, np.ones(len(rows))])
        rays: Float = np.asarray(pixels @ np.linalg.inv(view.intrinsics).T, np.float64)
        points: Float = _moved(view.world_from_cam, np.asarray(rays * view.z_m[rows, columns, None], np.float64))
        for other in others:
            usable, agrees = _compare(points, views[other], rules)
            compared[rows, columns] += usable
            agreeing[rows, columns] += usable & agrees
        shares.append(agreeing / (compared + 1e-10))
    return shares


def _compare(points_m: Float, other: ViewDepth, rules: AgreementRules) -> tuple[Mask, Mask]:
    """(N,) whether the other view can judge the point, and whether it agrees.

    A pixel reaches half a pixel around its centre. One whose own depth is unknown says nothing: it is no contradiction.
    """
    height, width = other.z_m.shape
    projected = _moved(np.asarray(np.linalg.inv(other.world_from_cam), np.float64), points_m) @ other.intrinsics.T
    expected_m = projected[:, 2]
    u, v = projected[:, :2].T / np.maximum(expected_m, 1e-6)
    usable = (u >= -0.5) & (u < width - 0.5) & (v >= -0.5) & (v < height - 0.5) & (expected_m > rules.nearest_m)
    column = np.clip(np.rint(np.where(usable, u, 0)).astype(int), 0, width - 1)
    row = np.clip(np.rint(np.where(usable, v, 0)).astype(int), 0, height - 1)
    limit, witnessed_m = rules.tolerance_m + rules.tolerance_ratio * expected_m, other.z_m[row, column]
    return usable & (witnessed_m > 0), np.abs(expected_m - witnessed_m) < limit


def _frustum(view: ViewDepth) -> Float:
    """(8, 3) corners of the seen space between the nearest and the farthest depth, in the world."""
    known = view.z_m[view.z_m > 0]
    limits = (known.min(), known.max()) if known.size else DEFAULT_RANGE_M
    half_x = view.intrinsics[0, 2] / view.intrinsics[0, 0]
    half_y = view.intrinsics[1, 2] / view.intrinsics[1, 1]
    corners = [(x * half_x * z, y * half_y * z, z) for z in limits for y in (-1, 1) for x in (-1, 1)]
    return _moved(view.world_from_cam, np.array(corners))


def _convex_overlap(first: Float, second: Float) -> bool:
    """Whether two frusta (8, 3) touch: no direction separates them (separating axes of convex bodies)."""
    edges_a, edges_b = _edges(first), _edges(second)
    normals = [np.cross(edges[i], edges[j]) for edges in (edges_a, edges_b) for i in range(6) for j in range(i)]
    crossed = [np.cross(a, b) for a in edges_a for b in edges_b]
    axes = np.array([*normals, *crossed])
    axes = axes[np.linalg.norm(axes, axis=1) > 1e-12]
    along_a, along_b = first @ axes.T, second @ axes.T
    apart = (along_a.max(axis=0) < along_b.min(axis=0)) | (along_b.max(axis=0) < along_a.min(axis=0))
    return not bool(apart.any())


def _edges(corners: Float) -> Float:
    """(6, 3) directions of a frustum's edges: two of the near plane, four to the far plane."""
    directions: Float = np.array(
        [corners[1] - corners[0], corners[2] - corners[0], *(corners[4 + i] - corners[i] for i in range(4))]
    )
    return directions


def _moved(matrix: Float, points: Float) -> Float:
    moved: Float = points @ matrix[:3, :3].T + matrix[:3, 3]
    return moved

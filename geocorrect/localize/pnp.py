"""Robust camera poses from correspondences: the only file that knows PoseLib and OpenCV's PnP.

Input are rays of the query, free of lens distortion, and world points that the caller has shifted to a local origin:
OpenCV computes in float32 inside, and UTM magnitudes would cost decimetres to metres. Poses are `world_from_cam`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import poselib
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from geocorrect.geometry.pose import Pose
from geocorrect.localize.estimators.options import OpenCvArguments
from geocorrect.localize.options import PnpOptions

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

MIN_FORWARD = 0.05
"""Rays with a smaller z (of a unit vector) are > 87° off axis: outside the normalised image plane."""


@dataclass(frozen=True, eq=False)
class RobustPose:
    """A pose and its support."""

    world_from_cam: Pose
    """In the shifted world."""
    inliers: Bool
    """(N,) which correspondences agree with it."""


def normalised(rays: Float) -> Float:
    """(N, 2) coordinates on the plane z = 1; nan for rays that do not look forward."""
    forward = rays[:, 2] > MIN_FORWARD * np.linalg.norm(rays, axis=1)
    plane = np.full((len(rays), 2), np.nan)
    plane[forward] = rays[forward, :2] / rays[forward, 2:]
    return plane


def absolute_pose(
    query_rays: Float, points_m: Float, focal_px: float, tolerance_px: float, options: PnpOptions, seed: int
) -> RobustPose | None:
    """LO-RANSAC (P3P) and Cauchy refinement over all points, by PoseLib; None when no finite pose was found.

    Args:
        query_rays: (N, 3) rays in the query's camera frame, nan where there is none.
        points_m: (N, 3) world points near the origin, nan where unknown.
        focal_px: turns the tolerance into an angle.
        tolerance_px: largest reprojection error of an inlier.
        options: iterations, smallest number of points, scale of the refinement's loss.
        seed: of the RANSAC.
    """
    usable = np.isfinite(query_rays).all(axis=1) & np.isfinite(points_m).all(axis=1)
    everywhere = looks_everywhere(query_rays[usable])
    if not everywhere:
        usable &= np.isfinite(normalised(query_rays)).all(axis=1)
    if usable.sum() < max(4, options.min_points):
        return None
    iterations = {"min_iterations": options.min_iterations, "max_iterations": options.max_iterations}
    ransac = {"max_reproj_error": tolerance_px, "seed": seed} | iterations
    loss = {"loss_type": "CAUCHY", "loss_scale": options.refine_loss_px * tolerance_px / options.max_reprojection_px}
    if everywhere:
        found, report = _rig_pose(query_rays[usable], points_m[usable], focal_px, ransac, loss)
    else:
        plane = normalised(query_rays[usable]) * focal_px
        found, report = poselib.estimate_absolute_pose(plane, points_m[usable], _pinhole(focal_px), ransac, loss)
    cam_from_world = _pose_of(found)
    if cam_from_world is None or report["num_inliers"] < options.min_points:
        return None
    pose = cam_from_world.inverse()
    inliers = reprojection_px(pose, query_rays, points_m, focal_px) < tolerance_px
    # A refinement that diverged has lost the inliers that RANSAC had: such a pose is never kept.
    return RobustPose(pose, inliers) if inliers.sum() >= max(options.min_points, report["num_inliers"] // 2) else None


def looks_everywhere(rays: Float) -> bool:
    """Whether some rays do not look forward: a panorama, or a fisheye that sees behind itself."""
    return bool(np.isnan(normalised(rays)).any())


def _rig_pose(
    rays: Float, points_m: Float, focal_px: float, ransac: dict[str, float], loss: dict[str, object]
) -> tuple[poselib.CameraPose, dict[str, int]]:
    """The same for rays in every direction: generalised pose of a rig of cube faces, by PoseLib."""
    faces = Faces.of(rays)
    plane = normalised(faces.in_face) * focal_px
    planes, points, extrinsics = [], [], []
    for face in np.unique(faces.index):
        planes.append(plane[faces.index == face])
        points.append(points_m[faces.index == face])
        extrinsics.append(poselib.CameraPose())
        extrinsics[-1].R = CUBE[int(face)].as_matrix()
    cameras = [_pinhole(focal_px)] * len(planes)
    found, report = poselib.estimate_generalized_absolute_pose(planes, points, extrinsics, cameras, ransac, loss)
    return found, report


def reprojection_px(world_from_cam: Pose, query_rays: Float, points_m: Float, focal_px: float) -> Float:
    """(N,) distance on the plane z = 1 (of the ray's cube face, for rays in every direction) times focal_px.

    inf behind the camera and where a point is unknown.
    """
    in_cam = world_from_cam.inverse().apply(points_m)
    if looks_everywhere(query_rays[np.isfinite(query_rays).all(axis=1)]):
        faces = Faces.of(query_rays)
        query_rays, in_cam = faces.in_face, faces.turned(in_cam)
    plane = normalised(query_rays)
    ahead = in_cam[:, 2] > 1e-6
    residual = np.full(len(points_m), np.inf)
    seen = in_cam[ahead, :2] / in_cam[ahead, 2:]
    residual[ahead] = np.linalg.norm(seen - plane[ahead], axis=1) * focal_px
    residual[np.isnan(residual)] = np.inf
    return residual


def relative_pose(
    query_rays: Float, anchor_rays: Float, focal_px: float, tolerance_px: float, iterations: int, seed: int
) -> tuple[Pose, Bool] | None:
    """(query_from_anchor with unit translation, inliers (N,)) from rays alone, by PoseLib's 5-point LO-RANSAC.

    None when there is none.

    Args:
        query_rays: (N, 3) rays in the query's camera frame, nan where there is none.
        anchor_rays: (N, 3) the same in the anchor's; only those that look forward are used.
        focal_px: turns the tolerance into an angle.
        tolerance_px: largest Sampson error of an inlier.
        iterations: at most so many draws.
        seed: of the RANSAC.
    """
    ahead = ahead_from_cam(query_rays) if looks_everywhere(query_rays) else Rotation.identity()
    query = normalised(query_rays @ ahead.as_matrix().T) * focal_px
    anchor = normalised(anchor_rays) * focal_px
    usable = np.isfinite(query).all(axis=1) & np.isfinite(anchor).all(axis=1)
    if usable.sum() < 6:
        return None
    camera = _pinhole(focal_px)
    ransac = {"max_epipolar_error": tolerance_px, "max_iterations": iterations, "min_iterations": 100, "seed": seed}
    found, report = poselib.estimate_relative_pose(anchor[usable], query[usable], camera, camera, ransac, {})
    turned_from_anchor = _pose_of(found)
    if turned_from_anchor is None or report["num_inliers"] < 6:
        return None
    inliers = np.zeros(len(query), bool)
    inliers[usable] = np.asarray(report["inliers"], bool)
    return Pose(ahead.inv(), np.zeros(3)) @ turned_from_anchor, inliers


def opencv_pose(
    query_rays: Float, points_m: Float, focal_px: float, tolerance_px: float, arguments: OpenCvArguments, seed: int
) -> RobustPose | None:
    """A pose by OpenCV's `solvePnPRansac`, seeded; None when it finds none. Other arguments as `absolute_pose`.

    Args:
        query_rays: (N, 3); those that do not look forward are left out.
        points_m: (N, 3) near the origin: OpenCV computes in float32 inside.
        focal_px: turns the tolerance into an angle.
        tolerance_px: largest reprojection error of an inlier, at this focal length.
        arguments: solver, draws, confidence.
        seed: of OpenCV's random numbers.
    """
    plane = normalised(query_rays) * focal_px
    usable = np.isfinite(plane).all(axis=1) & np.isfinite(points_m).all(axis=1)
    if usable.sum() < 6:
        return None
    matrix = np.diag([focal_px, focal_px, 1.0])
    cv2.setRNGSeed(seed)
    try:
        found, turn, shift, _ = cv2.solvePnPRansac(
            points_m[usable],
            plane[usable],
            matrix,
            None,
            iterationsCount=arguments.iterations,
            reprojectionError=tolerance_px,
            confidence=arguments.confidence,
            flags=getattr(cv2, f"SOLVEPNP_{arguments.flags.upper()}"),
        )
    except cv2.error:
        return None  # OpenCV raises on degenerate samples; a failed query is a failed query
    if not found or not (np.isfinite(turn).all() and np.isfinite(shift).all()):
        return None
    pose = Pose(Rotation.from_rotvec(np.ravel(turn)), np.ravel(shift)).inverse()
    return RobustPose(pose, reprojection_px(pose, query_rays, points_m, focal_px) < tolerance_px)


def _pinhole(focal_px: float) -> dict[str, Any]:
    """PoseLib's camera for coordinates on the plane z = 1 times focal_px."""
    return {"model": "SIMPLE_PINHOLE", "width": 1, "height": 1, "params": [focal_px, 0.0, 0.0]}


def _pose_of(found: poselib.CameraPose) -> Pose | None:
    """PoseLib's transform (cam_from_world, second_from_first); None unless finite."""
    matrix = np.asarray(found.Rt, float)
    return Pose(Rotation.from_matrix(matrix[:, :3]), matrix[:, 3]) if np.isfinite(matrix).all() else None


CUBE = Rotation.from_euler("yx", [[0, 0], [-90, 0], [180, 0], [90, 0], [0, -90], [0, 90]], degrees=True)
"""face_from_cam of the six faces: ahead, right, behind, left, and the two along the vertical axis."""
NEAR_DIRECTION_COS = np.cos(np.radians(60.0))
"""Rays within 60° of a direction count as near it."""


@dataclass(frozen=True, eq=False)
class Faces:
    """Rays, each in the face of the cube that sees it most directly."""

    index: NDArray[np.intp]
    """(N,) face of each ray, an index of `CUBE`."""
    in_face: Float
    """(N, 3) the rays in the axes of their faces."""

    @classmethod
    def of(cls, rays: Float) -> Faces:
        """The faces of unit rays (N, 3) of the camera frame."""
        turned = np.einsum("fij,nj->fni", CUBE.as_matrix(), rays)
        index = np.argmax(turned[:, :, 2], axis=0)
        return cls(index, turned[index, np.arange(len(rays))])

    def turned(self, vectors: Float) -> Float:
        """(N, 3) other vectors of the camera frame, each in the axes of the same ray's face."""
        return np.asarray(np.einsum("nij,nj->ni", CUBE.as_matrix()[self.index], vectors))


def ahead_from_cam(rays: Float) -> Rotation:
    """The rotation that brings the direction where most of the rays (N, 3) point to the optical axis."""
    known = rays[np.isfinite(rays).all(axis=1)]
    if not len(known):
        return Rotation.identity()
    counts = np.bincount(Faces.of(known).index, minlength=len(CUBE))
    main = CUBE[int(np.argmax(counts))].inv().apply([0.0, 0.0, 1.0])
    near = known[known @ main > NEAR_DIRECTION_COS]
    direction = near.mean(axis=0) if len(near) else main
    turn, _ = Rotation.align_vectors([[0.0, 0.0, 1.0]], [direction / np.linalg.norm(direction)])
    return turn

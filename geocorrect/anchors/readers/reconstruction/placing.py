"""Where a reconstruction lies on the map: from an alignment file, from control points, or from positions of its images.

    p_world = t + R · s · p_local

Control points are seen in two images at least; their places in the reconstruction are triangulated from its own poses.
Whatever the ties are, they are fitted by one robust similarity, whose covariance goes into every anchor. Ties that
do not fix the turn or the scale are refused: positions alone leave open how a straight street is rolled about itself,
unless its cameras are said to stand level.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from geocorrect.anchors.alignment import Alignment, covariance_at_origin, point_jacobian, read_alignment
from geocorrect.anchors.choice import AnchorOptions
from geocorrect.anchors.readers.place import PLACE_OPTIONS, declared_height_reference, place_of, stated_crs
from geocorrect.anchors.readers.reconstruction.exif_ties import EXIF, exif_ties
from geocorrect.anchors.readers.reconstruction.model import Reconstruction, Ties
from geocorrect.anchors.readers.rows import Row, read_rows
from geocorrect.errors import InputError, UsageError
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Float
from geocorrect.geometry.similarity import DegenerateError, Similarity, umeyama
from geocorrect.io.unicode_names import plain

CAUCHY_SCALE = 2.4
ITERATIONS = 50
LEVEL_SIGMA_DEG = 2.0
"""How level the cameras of a drive stand on average, where nothing else fixes the roll about a straight street."""
MAX_TURN_SIGMA_DEG = 3.0
MAX_SCALE_SIGMA = 0.05
CONTROL_POINT_SIGMA_M = 0.05
"""Of a control point whose row states none."""

PLACING_OPTIONS = (
    *PLACE_OPTIONS, "alignment", "control_points", "positions", "position_sigma_m", "level_cameras", "images",
)  # fmt: skip
"""Of AnchorOptions, those that say where a reconstruction and its pictures are."""


def place(model: Reconstruction, options: AnchorOptions, folders: list[Path]) -> Alignment:
    """The alignment that the options name; UsageError when they name none or several, InputError when it fails.

    folders: where the pictures may lie, for the tags in them.
    """
    given = [
        name for name, value in (
            ("--alignment", options.alignment), ("--control-points", options.control_points),
            ("--positions", options.positions),
        ) if value is not None
    ]  # fmt: skip
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)}: give one of them")
    if options.alignment is not None:
        return read_alignment(options.alignment)
    if options.control_points is not None:
        return fit(
            _control_points(model, options.control_points, options),
            model,
            "control-points",
            is_level=options.level_cameras,
        )
    if options.positions is not None:
        is_exif = str(options.positions) == EXIF
        ties = exif_ties(model, folders, options) if is_exif else _image_positions(model, options.positions, options)
        return fit(ties, model, "positions", is_level=options.level_cameras)
    if model.frame is not None:
        return Alignment(model.frame, model.frame_from_local, method="known")
    raise UsageError(
        f"{model.source}: a reconstruction has no place on earth; add --alignment FILE.json, --control-points FILE.csv "
        "(image, u_px, v_px, landmark, place), --positions FILE.csv (file, place) or --positions exif"
    )


def fit(ties: Ties, model: Reconstruction, method: str, *, is_level: bool = False) -> Alignment:
    """Robust similarity from reconstruction to map, its covariance scaled by how well the ties agree.

    Args:
        ties: What is known in both.
        model: Of its images, when they are level, the axes count.
        method: Name of the alignment's method.
        is_level: The cameras stand upright on average, within `LEVEL_SIGMA_DEG`.

    Raises:
        InputError: too few ties, or they do not fix turn and scale.
    """
    found = fit_unjudged(ties, model, method, is_level=is_level)
    assert found.covariance is not None
    turn_deg = float(np.degrees(np.sqrt(np.linalg.eigvalsh(found.covariance[3:6, 3:6])[-1])))
    scale_sigma = float(np.sqrt(found.covariance[6, 6]))
    if turn_deg > MAX_TURN_SIGMA_DEG or scale_sigma > MAX_SCALE_SIGMA:
        raise InputError(
            f"{ties.source}: its {len(ties.local)} ties leave the turn uncertain by {turn_deg:.1f}° and the scale by "
            f"{100 * scale_sigma:.1f} %; add ties off the line, further apart or more precise, or say "
            "--level-cameras where they stand upright"
        )
    return found


def fit_unjudged(ties: Ties, model: Reconstruction, method: str, *, is_level: bool) -> Alignment:
    """As `fit`, however uncertain the result is; InputError where there is none."""
    frame = Frame(Path(ties.source).stem, *np.median(ties.wgs84, axis=0).tolist())
    world = frame.enu_from_wgs84(*ties.wgs84.T)
    middle = ties.local.mean(axis=0)
    right = np.array([image.local_from_cam.rotation.as_matrix()[:, 0] for image in model.images])
    first = _first(ties, world, model, is_level)
    start = Similarity(first.scale, first.rotation, first.apply(middle))
    level_sigma_deg = LEVEL_SIGMA_DEG if is_level else np.inf
    state, covariance, residual_m = _solve(ties, world, middle, start, right, level_sigma_deg)
    arm = state.scale * state.rotation.apply(middle)
    moved = Similarity(state.scale, state.rotation, state.translation_m - arm)
    return Alignment(
        frame, moved, covariance_at_origin(covariance, arm), method, residual_m=float(np.median(residual_m))
    )


def _first(ties: Ties, world: Float, model: Reconstruction, is_level: bool) -> Similarity:
    """Without outliers in mind; the roll about a straight street by the cameras' own up."""
    weights = 1 / ties.sigma_m**2
    try:
        return umeyama(world, ties.local, "similarity", weights=weights)
    except DegenerateError as error:
        spread, spread_local = (float(np.linalg.norm(np.ptp(points, axis=0))) for points in (world, ties.local))
        if not is_level or len(world) < 3 or min(spread, spread_local) < 1e-9:
            hint = "" if is_level else "; or say --level-cameras, where they stand upright on a vehicle"
            raise InputError(f"{ties.source}: {error}{hint}") from None
    up = -np.mean([image.local_from_cam.rotation.as_matrix()[:, 1] for image in model.images], axis=0)
    above = world.mean(axis=0) + np.array([0.0, 0.0, spread])
    above_local = ties.local.mean(axis=0) + spread_local * up / np.linalg.norm(up)
    target, source = np.vstack([world, above]), np.vstack([ties.local, above_local])
    try:
        return umeyama(target, source, "similarity", weights=np.append(weights, weights.mean()))
    except DegenerateError as error:
        raise InputError(f"{ties.source}: {error}") from None


def _solve(
    ties: Ties, world: Float, middle: Float, state: Similarity, right: Float, level_sigma_deg: float
) -> tuple[Similarity, Float, Float]:
    """(transform of points about the middle, (7, 7) covariance, (N,) residuals in metres)."""
    level = 1.0 / np.radians(level_sigma_deg) ** 2 / max(1, len(right))
    for _ in range(ITERATIONS):
        arm = state.scale * state.rotation.apply(ties.local - middle)
        residual = arm + state.translation_m - world
        d2 = np.sum((residual / ties.sigma_m[:, None]) ** 2, axis=1)
        weight = 1.0 / (1.0 + d2 / CAUCHY_SCALE**2)
        rows = point_jacobian(arm) / ties.sigma_m[:, None, None]
        information = np.einsum("n,nki,nkj->ij", weight, rows, rows)
        gradient = np.einsum("n,nki,nk->i", weight, rows, residual / ties.sigma_m[:, None])
        if np.isfinite(level_sigma_deg):
            turned = state.rotation.apply(right)
            lean = np.cross(turned, [0.0, 0.0, 1.0])
            information[3:6, 3:6] += level * lean.T @ lean
            gradient[3:6] += level * lean.T @ turned[:, 2]
        step = -np.linalg.solve(information + 1e-12 * np.eye(7), gradient)
        scale = state.scale * float(np.exp(np.clip(step[6], -1, 1)))
        state = Similarity(scale, Rotation.from_rotvec(step[3:6]) * state.rotation, state.translation_m + step[:3])
        if float(np.abs(step).max()) < 1e-13:
            break
    freedom = max(1.0, 3.0 * float(weight.sum()) - 7.0)
    agreement = max(1.0, float(weight @ d2) / freedom)
    covariance: Float = agreement * np.linalg.inv(information + 1e-12 * np.eye(7))
    return state, covariance, np.linalg.norm(residual, axis=1)


def _control_points(model: Reconstruction, path: Path, options: AnchorOptions) -> Ties:
    """CSV or GeoJSON rows: image, u_px, v_px, landmark, place [, sigma_m]; a landmark is seen in two images or more."""
    by_name = {plain(image.name): image for image in model.images}
    seen: dict[str, list[tuple[Float, Float]]] = defaultdict(list)
    places: dict[str, tuple[float, ...]] = {}
    for row in read_rows(path):
        name = plain(row.text("image"))
        if name not in by_name:
            raise InputError(f"{row.where}: image {name!r} is not in {model.source}")
        image, landmark = by_name[name], row.text("landmark")
        px = np.array([[row.number("u_px"), row.number("v_px")]])
        if not image.camera.contains(px).all():
            raise InputError(f"{row.where}: pixel {px[0].tolist()} is outside {name}")
        ray = image.local_from_cam.rotation.apply(image.camera.unproject(px)[0])
        found = (*_place(row, options), row.sigma_or("sigma_m", CONTROL_POINT_SIGMA_M))
        if places.setdefault(landmark, found) != found:
            raise InputError(f"{row.where}: landmark {landmark!r} stood elsewhere in a row before")
        seen[landmark].append((image.local_from_cam.translation_m, ray))
    used = [landmark for landmark, rays in seen.items() if len(rays) > 1]
    if len(used) < 3:
        raise InputError(f"{path}: {len(used)} landmarks are seen in two images; 3 are needed")
    values = np.array([places[landmark] for landmark in used])
    return Ties(str(path), np.array([_meeting(seen[name]) for name in used]), values[:, :3], values[:, 3])


def _meeting(rays: Sequence[tuple[Float, Float]]) -> Float:
    """The point nearest to all rays (centre, direction)."""
    projections = [np.eye(3) - np.outer(ray, ray) for _, ray in rays]
    targets = [projection @ centre for projection, (centre, _) in zip(projections, rays, strict=True)]
    point: Float = np.linalg.lstsq(np.sum(projections, axis=0), np.sum(targets, axis=0), rcond=None)[0]
    return point


def _image_positions(model: Reconstruction, path: Path, options: AnchorOptions) -> Ties:
    """CSV or GeoJSON rows: file (name of an image in the reconstruction), place [, sigma_position_m]."""
    by_name = {plain(image.name): image for image in model.images}
    local, values = [], []
    for row in read_rows(path):
        image = by_name.get(plain(row.text("file")))
        if image is None:
            continue
        if not row.has("sigma_position_m") and options.position_sigma_m is None:
            raise InputError(f"{row.where}: column 'sigma_position_m' is missing; or say --position-sigma for all")
        sigma_m = row.sigma("sigma_position_m") if row.has("sigma_position_m") else options.position_sigma_m
        local.append(image.local_from_cam.translation_m)
        values.append([*_place(row, options), sigma_m])
    if len(local) < 3:
        raise InputError(f"{path}: positions of {len(local)} images of {model.source}; at least 3 are needed")
    rows = np.array(values, float)
    return Ties(str(path), np.array(local), rows[:, :3], rows[:, 3])


def _place(row: Row, options: AnchorOptions) -> tuple[float, float, float]:
    """(lon deg, lat deg, ellipsoidal height m) of a row."""
    crs = stated_crs(row.where, row.crs, options.crs)
    reference = declared_height_reference(row.where, crs, options.height_reference)
    return place_of(row, crs, reference, options.undulation_m)

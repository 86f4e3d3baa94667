"""How noisy a real matcher is: white and smooth part of its errors, in the units of `CovarianceOptions`.

    python benchmarks/fit_noise.py KITTI_RAW [--matcher aliked_lightglue]

KITTI raw, anchors 0, 4, 8 of camera 02 against all other images. What is looked at is the distance of each
match from its epipolar line under the *true* poses, which needs no depth. Each pair's relative rotation is fitted away
first (three parameters): the truth's own rotation noise, 0.05° or half a pixel, would otherwise count as matcher error.
Residuals close together in the photo tell the smooth part by their covariance: a² exp(−d²/2L²); what they do not share
is white. Residuals of different anchors at one place of the photo tell which part of the smooth errors is its own.
Figures are given at 512 px image length (`pixel_scale`), per axis; intervals are bootstraps over photos.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from geocorrect.anchors.readers.kitti.raw import read_kitti_raw
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.tangent import unit_rays
from geocorrect.io.pixels import read_image
from geocorrect.localize.observations import focal_px
from geocorrect.localize.options import CovarianceOptions, LocalizeOptions, pixel_scale
from geocorrect.localize.verify import verify
from geocorrect.match.base import Matcher
from geocorrect.match.options import MatchSection
from geocorrect.match.registry import build_matcher
from geocorrect.match.sift import SiftOptions
from geocorrect.networks.runtime import Runtime
from geocorrect.records import Matches

Float = NDArray[np.float64]

CUT_PX = 3.0
"""Residuals beyond this (at 512 px) are mismatches that the verification let through."""
BINS_PX = np.arange(0.0, 200.0, 8.0)
LENGTHS_PX = np.arange(15.0, 150.0, 5.0)


@dataclass(frozen=True, eq=False)
class PairResiduals:
    """Epipolar residuals (N,) of one photo with one anchor at pixels (N, 2) of the photo, all at 512 px."""

    photo: str
    anchor: str
    px: Float
    residual: Float


def epipolar_residuals(query_rays: Float, anchor_rays: Float, query_from_anchor: Pose, focal: float) -> Float:
    """(N,) signed distance from the epipolar line in pixels of the query, a small relative turn fitted away."""
    t = query_from_anchor.translation_m / np.linalg.norm(query_from_anchor.translation_m)
    turned = query_from_anchor.rotation.apply(anchor_rays)
    normal = np.cross(t, turned)
    length = np.maximum(np.linalg.norm(normal, axis=1), 1e-9)
    residual = focal * np.einsum("ni,ni->n", query_rays, normal) / length
    # A turn δ of the anchor's rays changes q·(t × Ra) by δ·(Ra × (q × t)).
    by_turn = focal * np.cross(turned, np.cross(query_rays, t)) / length[:, None]
    kept = np.abs(residual - np.median(residual)) < 3 * CUT_PX
    for _ in range(5):
        turn = np.linalg.lstsq(by_turn[kept], residual[kept], rcond=None)[0]
        rest = residual - by_turn @ turn
        kept = np.abs(rest) < max(2.5 * 1.4826 * float(np.median(np.abs(rest[kept]))), 0.3)
    return rest


def collect(folder: Path, matcher: Matcher) -> list[PairResiduals]:
    """Residuals of every photo with every anchor."""
    drive, options = read_kitti_raw(folder), LocalizeOptions()
    anchors = list(drive.anchors({"02"}, {0, 4, 8}))
    pixels = [read_image(a.path) for a in anchors]
    found = []
    for image in drive.images:
        if image.id in {a.id for a in anchors}:
            continue
        for anchor, matches in zip(anchors, matcher.match(read_image(image.path), pixels), strict=True):
            kept = matches.subset(np.flatnonzero(verify(matches, image.camera, anchor.camera, options.verify, 0)))
            query_from_anchor = image.world_from_cam.inverse() @ anchor.world_from_cam
            found.append(_pair(image.id, anchor.id, kept, image.camera, anchor.camera, query_from_anchor))
    return found


def _pair(
    photo: str, anchor: str, matches: Matches, query: Camera, anchor_camera: Camera, query_from_anchor: Pose
) -> PairResiduals:
    rays = unit_rays(query, matches.query_px), unit_rays(anchor_camera, matches.anchor_px)
    scale = pixel_scale(query)
    residual = epipolar_residuals(*rays, query_from_anchor, focal_px(query)) / scale
    kept = np.abs(residual) < CUT_PX
    # Positions in units of a 512 px long image, so that lengths compare.
    px = matches.query_px[kept] * 512.0 / max(query.width, query.height)
    return PairResiduals(photo, anchor, np.asarray(px, float), residual[kept])


def products(first: PairResiduals, second: PairResiduals) -> tuple[Float, Float]:
    """(sum of residual products, number of them) per distance bin; a residual is not paired with itself."""
    distance = np.linalg.norm(first.px[:, None] - second.px[None], axis=2)
    product = first.residual[:, None] * second.residual[None]
    if first is second:
        np.fill_diagonal(distance, np.inf)
    place = np.digitize(distance, BINS_PX) - 1
    inside = (place >= 0) & (place < len(BINS_PX) - 1)
    sums = np.bincount(place[inside], product[inside], len(BINS_PX) - 1)
    return sums, np.bincount(place[inside], minlength=len(BINS_PX) - 1).astype(float)


@dataclass(frozen=True, eq=False)
class PhotoSums:
    """What one photo adds: per distance bin the sum of residual products and their number, within each pair and
    between its pairs; and the sum of squared residuals and their number.
    """

    own: tuple[Float, Float]
    crossed: tuple[Float, Float]
    squares: tuple[float, int]


def photo_sums(group: Sequence[PairResiduals]) -> PhotoSums:
    """All products of one photo's residuals."""
    nothing = (np.zeros(len(BINS_PX) - 1), np.zeros(len(BINS_PX) - 1))
    own = [products(p, p) for p in group]
    crossed = [products(a, b) for i, a in enumerate(group) for b in group[i + 1 :]] or [nothing]
    every = np.concatenate([p.residual for p in group])
    return PhotoSums(_added(own), _added(crossed), (float(every @ every), len(every)))


def _added(parts: Sequence[tuple[Float, Float]]) -> tuple[Float, Float]:
    return np.sum([p[0] for p in parts], axis=0), np.sum([p[1] for p in parts], axis=0)


def fit(photos: Sequence[PhotoSums]) -> Float:
    """(white, smooth of the pair, its length, smooth shared by different anchors) in px at 512 px."""
    own_sum, own_count = _added([p.own for p in photos])
    shared_sum, shared_count = _added([p.crossed for p in photos])
    centre = (BINS_PX[1:] + BINS_PX[:-1]) / 2
    near = centre < 120.0
    covariance = own_sum / np.maximum(own_count, 1)

    def loss(length: float) -> float:
        return _amplitude(centre, covariance, own_count, near, length)[1]

    length = float(minimize_scalar(loss, bounds=(LENGTHS_PX[0], LENGTHS_PX[-1]), method="bounded").x)
    smooth2 = _amplitude(centre, covariance, own_count, near, length)[0]
    shared2 = _amplitude(centre, shared_sum / np.maximum(shared_count, 1), shared_count, near, length)[0]
    total2 = sum(p.squares[0] for p in photos) / sum(p.squares[1] for p in photos)
    return np.sqrt(np.maximum([total2 - smooth2, smooth2, length**2, shared2], 0.0))


def _amplitude(
    centre: Float, covariance: Float, count: Float, near: NDArray[np.bool_], length: float
) -> tuple[float, float]:
    """(a², weighted squared misfit) of a² exp(−d²/2L²) at the bins that are near."""
    shape = np.exp(-0.5 * (centre / length) ** 2)
    weight = count * near
    a2 = float((weight * shape * covariance).sum() / (weight * shape**2).sum())
    return a2, float((weight * (covariance - a2 * shape) ** 2).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("data/kitti_raw"))
    parser.add_argument("--matcher", default="sift", help="of [match]; SIFT by default")
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="fewer features and draws")
    arguments = parser.parse_args()
    sift, draws = (SiftOptions(max_features=1500), 20) if arguments.quick else (SiftOptions(), arguments.draws)
    if not arguments.folder.is_dir():
        print(f"no KITTI raw drive at {arguments.folder}: nothing to measure (see data/README.md)")
        return
    pairs = collect(arguments.folder, build_matcher(MatchSection(matcher=arguments.matcher, sift=sift), Runtime()))
    photos = [photo_sums([p for p in pairs if p.photo == name]) for name in sorted({p.photo for p in pairs})]
    rng = np.random.default_rng(0)
    spread = [fit([photos[k] for k in rng.integers(0, len(photos), len(photos))]) for _ in range(draws)]
    low, high = np.percentile(spread, [2.5, 97.5], axis=0)
    used = CovarianceOptions()
    field = float(np.hypot(used.query_field_px, used.anchor_field_px))
    print(f"{len(photos)} photos, {len(pairs)} pairs, {sum(len(p.residual) for p in pairs)} matches")
    print("| part of a match's error, px at 512 px | measured [95 %] | assumed |\n|---|---|---|")
    names = ("white", "smooth, photo and anchor together", "its correlation length", "smooth, shared by all anchors")
    expected = (used.white_px, field, 512 * 0.12, used.query_field_px)
    for name, value, a, b, assumed in zip(names, fit(photos), low, high, expected, strict=True):
        print(f"| {name} | {value:.2f} [{a:.2f}–{b:.2f}] | {assumed:.2f} |")


if __name__ == "__main__":
    main()

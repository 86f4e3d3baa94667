"""PoseLib and OpenCV behind the estimator protocol: right poses, honest errors, the thesis' verification of pairs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.known_world import BLANK, CAMERA, KnownWorld, world

from geocorrect.api.backends import build_estimator
from geocorrect.config import Settings, load_settings
from geocorrect.errors import ConfigError, Reason
from geocorrect.geometry.camera import Camera
from geocorrect.localize import pnp
from geocorrect.localize.correct import localize, observe
from geocorrect.localize.estimators.options import OPENCV_VARIANTS, EstimatorName, OpenCvArguments, OpenCvOptions
from geocorrect.localize.estimators.pooled import OpenCvEstimator, PoseLibEstimator
from geocorrect.localize.options import LocalizeOptions
from geocorrect.localize.verify import verify
from geocorrect.match.verify import PairVerifyOptions, fundamental_inliers
from geocorrect.records import Correction, Matches, Query, Rejection

ESTIMATORS = {
    "poselib": PoseLibEstimator(),
    "opencv-default": OpenCvEstimator(OpenCvOptions()),
    "opencv-sqpnp": OpenCvEstimator(OpenCvOptions("opencv-sqpnp")),
}
FUNDAMENTAL = PairVerifyOptions("fundamental", px=1.0, min_inliers=200)


def solved(name: str, known: KnownWorld, query: Query, views: list, pair: PairVerifyOptions) -> Correction | Rejection:
    return localize(query, views, known, known, LocalizeOptions(), 1, ESTIMATORS[name], pair).result


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_pose_is_right_and_its_stated_error_covers_it(name: str) -> None:
    """20 % mismatches; one anchor, as in the thesis, and three."""
    for count in (1, 3):
        known, query, views = world(count)
        found = localize(query, views[:count], known, known, LocalizeOptions(), 1, ESTIMATORS[name]).result
        assert isinstance(found, Correction)
        error_m = np.linalg.norm((found.world_from_cam.translation_m - known.truth.translation_m)[:2])
        assert error_m < min(0.15, 3 * found.expected_error_m)
        assert np.linalg.eigvalsh(found.world_from_cam.covariance).min() > 0


@pytest.mark.parametrize("name", ESTIMATORS)
def test_map_magnitude_coordinates_do_not_move_the_camera(name: str) -> None:
    """OpenCV computes in float32 inside: at 4.6e6 m its coordinates have steps of half a metre."""
    near, far = (world(2, offset_m=m) for m in (0.0, 4.6e6))
    here, there = (localize(q, v, k, k, LocalizeOptions(), 0, ESTIMATORS[name]).result for k, q, v in (near, far))
    assert isinstance(here, Correction)
    assert isinstance(there, Correction)
    np.testing.assert_allclose(there.world_from_cam.translation_m - here.world_from_cam.translation_m, 4.6e6, atol=1e-2)


def test_the_variants_are_those_of_the_thesis_and_keys_override_them(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict] = []

    def refuse(*positional: object, **named: object) -> tuple:
        seen.append(named)
        return False, np.zeros(3), np.zeros(3), None

    monkeypatch.setattr(pnp.cv2, "solvePnPRansac", refuse)
    known, query, views = world(0)
    for options in (OpenCvOptions(), OpenCvOptions("opencv-sqpnp"), OpenCvOptions(iterations=7, flags="epnp")):
        localize(query, views[:1], known, known, LocalizeOptions(), 0, OpenCvEstimator(options))
    # CAMERA is 1024 px long: twice the tolerance that is stated for 512 px.
    wanted = [(pnp.cv2.SOLVEPNP_ITERATIVE, 100, 16.0, 0.99), (pnp.cv2.SOLVEPNP_SQPNP, 10_000, 6.0, 0.9999)]
    wanted.append((pnp.cv2.SOLVEPNP_EPNP, 7, 16.0, 0.99))
    names = ("flags", "iterationsCount", "reprojectionError", "confidence")
    assert [tuple(call[name] for name in names) for call in seen] == wanted
    assert OpenCvOptions(confidence=0.5).resolved() == OpenCvArguments("iterative", 100, 8.0, 0.5)


@pytest.mark.parametrize(
    "wrong", [{"iterations": 0}, {"reprojection_px": 0.0}, {"confidence": 1.0}, {"reprojection_px": float("nan")}]
)
def test_impossible_arguments_are_named(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        OpenCvOptions(**wrong)


def test_rays_that_look_back_have_no_image_plane() -> None:
    """Their covariance would be that of x/z and y/z, far too small near the horizon of the plane."""
    known, query, views = world(0)
    (matches, *_), options = known.match(BLANK, [BLANK]), LocalizeOptions()
    seen = observe(query, views[0], matches, known.depth(views[0].anchor, BLANK), options, 0, known)
    turned = seen.query_rays * np.where(np.arange(len(seen)) % 2, 1.0, -1.0)[:, None]
    found = PoseLibEstimator().solve([replace(seen, query_rays=turned)], query, options, 0)
    assert found is Reason.CAMERA_UNSUPPORTED


def test_a_panorama_has_no_image_plane_for_opencv() -> None:
    _known, query, _views = world(0)
    panorama = replace(query, camera=Camera.spherical(1024, 512))
    assert OpenCvEstimator(OpenCvOptions()).solve([], panorama, LocalizeOptions(), 0) is Reason.CAMERA_UNSUPPORTED


def test_settings_choose_the_estimator(tmp_path: Path) -> None:
    path = tmp_path / "geocorrect.toml"

    def fingerprint(text: str) -> str:
        path.write_text(text)
        return build_estimator(load_settings(path, {}).settings, lambda anchor: pytest.fail("no pixels")).fingerprint

    names: tuple[EstimatorName, ...] = ("joint", "poselib", "opencv")
    prints = [fingerprint(f'[localize]\nestimator = "{name}"') for name in names]
    prints.append(fingerprint('[localize]\nestimator = "opencv"\n[localize.opencv]\nvariant = "opencv-sqpnp"'))
    assert len(set(prints)) == 4
    assert str(OPENCV_VARIANTS["opencv-sqpnp"]) in prints[3]
    path.write_text('[localize.opencv]\nvariant = "opencv-magic"')
    with pytest.raises(ConfigError, match=r"localize\.opencv\.variant"):
        load_settings(path, {})


def two_views(n: int, wrong: int, seed: int = 0) -> tuple[Matches, np.ndarray]:
    """Matches of a random cloud in two poses, the first `wrong` of them at random places; True: a right one."""
    rng = np.random.default_rng(seed)
    cloud = rng.uniform([-8, -4, 6], [8, 4, 40], (n, 3))
    query_px, _ = CAMERA.project(cloud)
    anchor_px, _ = CAMERA.project(cloud + np.array([1.0, 0.1, 0.4]))
    query_px[:wrong] = rng.uniform(0, 760, (wrong, 2))
    return Matches(query_px, anchor_px, np.ones(n)), np.arange(n) >= wrong


def test_a_fundamental_matrix_needs_no_intrinsics() -> None:
    """The right matches are found whatever camera is claimed; the essential test fails with a wrong one."""
    matches, right = two_views(400, 120)
    size = (CAMERA.width, CAMERA.height)
    inliers = fundamental_inliers(matches.query_px, matches.anchor_px, size, size, px=1.0, seed=0)
    assert inliers[right].mean() > 0.95
    assert inliers[~right].mean() < 0.1
    assert not fundamental_inliers(matches.query_px[:7], matches.anchor_px[:7], size, size).any()
    claimed = Camera.pinhole(1024, 768, 300.0, 2400.0, 100.0, 700.0)
    options = LocalizeOptions().verify
    pair = PairVerifyOptions("fundamental")
    same = verify(matches, claimed, CAMERA, options, 0, pair)
    assert same.sum() == pytest.approx(inliers.sum(), rel=0.02)
    assert verify(matches, claimed, CAMERA, options, 0).sum() < 0.6 * right.sum()


def test_the_tolerance_is_that_of_images_resized_to_512_px() -> None:
    """The same picture at twice the size has the same inliers; a tenth of the tolerance has fewer."""
    matches, _ = two_views(300, 60)
    noise = np.random.default_rng(1).normal(0, 0.8, (300, 2))
    first, second, size = (
        matches.query_px + noise,
        np.asarray(matches.anchor_px),
        np.array([CAMERA.width, CAMERA.height]),
    )
    small, large = (fundamental_inliers(first * k, second * k, tuple(size * k), tuple(size * k)) for k in (1, 2))
    np.testing.assert_array_equal(small, large)
    assert fundamental_inliers(first, second, tuple(size), tuple(size), px=0.1).sum() < 0.7 * small.sum()


def test_a_pair_with_too_few_inliers_is_not_used() -> None:
    matches, _right = two_views(400, 120)
    for model in ("essential", "fundamental"):
        for least, used in ((150, True), (350, False)):
            pair = PairVerifyOptions(model, min_inliers=least)
            assert verify(matches, CAMERA, CAMERA, LocalizeOptions().verify, 0, pair).any() == used
    known, query, views = world(0)
    strict = PairVerifyOptions("fundamental", min_inliers=100_000)
    found = solved("opencv-default", known, query, views[:1], strict)
    assert isinstance(found, Rejection)
    assert found.reason is Reason.TOO_FEW_MATCHES
    assert isinstance(solved("opencv-default", known, query, views[:1], FUNDAMENTAL), Correction)


def test_verification_is_configured_in_match_verify(tmp_path: Path) -> None:
    path = tmp_path / "geocorrect.toml"
    path.write_text('[match.verify]\nmodel = "fundamental"\npx = 1.5\nmin_inliers = 200')
    assert load_settings(path, {}).settings.match.verify == PairVerifyOptions("fundamental", 1.5, 200)
    assert Settings().match.verify == PairVerifyOptions()
    path.write_text("[match.verify]\npx = -1.0")
    with pytest.raises(ConfigError, match="px must be positive"):
        load_settings(path, {})

"""RootSIFT against images whose true correspondence is known."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest

from geocorrect.io.file_cache import FileCache
from geocorrect.match import sift
from geocorrect.match.base import Matcher
from geocorrect.match.sift import SiftFeatures, SiftMatcher, SiftOptions
from geocorrect.networks.runtime import Runtime


def textured_image(seed: int, height: int = 240, width: int = 320) -> np.ndarray:
    random = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3), np.float32)
    for cells in (8, 16, 32, 64):
        coarse = random.uniform(0, 255, (cells * height // width, cells, 3)).astype(np.float32)
        picture += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) / 4
    return np.clip(picture, 0, 255).astype(np.uint8)


@pytest.fixture
def matcher() -> SiftMatcher:
    return SiftMatcher(SiftOptions(max_features=2000))


def test_is_a_matcher(matcher: SiftMatcher) -> None:
    assert isinstance(matcher, Matcher)
    assert matcher.fingerprint.startswith("sift-")


def test_finds_the_known_homography_to_sub_pixel(matcher: SiftMatcher) -> None:
    query = textured_image(1)
    turn = cv2.getRotationMatrix2D((160, 120), 12.0, 0.9)
    anchor = cv2.warpAffine(query, turn, (320, 240))
    (found,) = matcher.match(query, [anchor])
    error = np.linalg.norm(found.query_px @ turn[:, :2].T + turn[:, 2] - found.anchor_px, axis=1)
    assert len(found) > 60
    assert np.median(error) < 0.3
    assert np.mean(error < 2.0) > 0.95


@pytest.mark.parametrize("at", [(100.0, 100.0), (80.3, 120.6)])
def test_a_spot_is_found_where_it_is(matcher: SiftMatcher, at: tuple[float, float]) -> None:
    """OpenCV's own default puts it a quarter of a pixel to the right and down: photos turned by 90° then disagree."""
    y, x = np.mgrid[:200, :200]
    spot = 30 + 200 * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / 32)
    found_px = matcher.features(np.dstack([spot.round().astype(np.uint8)] * 3)).keypoints_px
    assert len(found_px) > 0
    assert np.abs(found_px - at).max() < 0.1


def test_unrelated_images_hardly_match(matcher: SiftMatcher) -> None:
    (found,) = matcher.match(textured_image(1), [textured_image(2)])
    assert len(found) < 12


def test_blank_image_gives_no_match(matcher: SiftMatcher) -> None:
    blank = np.full((240, 320, 3), 127, np.uint8)
    results = matcher.match(textured_image(1), [blank, textured_image(1)])
    assert len(results[0]) == 0
    assert len(results[1]) > 100


def test_same_input_gives_the_same_bytes_and_no_pixel_pair_twice(matcher: SiftMatcher) -> None:
    query, anchor = textured_image(3), np.roll(textured_image(3), 7, axis=1)
    (first,) = matcher.match(query, [anchor])
    (second,) = SiftMatcher(matcher.options).match(query, [anchor])
    assert first.query_px.tobytes() == second.query_px.tobytes()
    assert first.anchor_px.tobytes() == second.anchor_px.tobytes()
    pairs = np.hstack([first.query_px, first.anchor_px])
    assert len(np.unique(pairs, axis=0)) == len(pairs)


def test_features_are_computed_once_per_content(matcher: SiftMatcher) -> None:
    image = textured_image(4)
    assert matcher.features(image) is matcher.features(image.copy())


def test_anchors_are_detected_once_for_all_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a cache folder; the photo itself, which nobody meets again, is not kept there."""
    options = SiftOptions(Runtime(cache_folder=tmp_path), max_features=500)
    query, anchor, detected = textured_image(3), np.roll(textured_image(3), 7, axis=1), []
    first = SiftMatcher(options).match(query, [anchor])
    assert len(list(tmp_path.rglob("*.sift"))) == 1
    other = SiftMatcher(options)
    monkeypatch.setattr(other, "_detector", SpyingDetector(other._detector, detected))
    second = other.match(query, [anchor])
    assert len(detected) == 1, "the photo alone"
    assert [first[0].query_px.tobytes(), first[0].score.tobytes()] == [
        second[0].query_px.tobytes(),
        second[0].score.tobytes(),
    ]
    fewer = SiftMatcher(SiftOptions(Runtime(cache_folder=tmp_path), max_features=50))
    assert len(fewer.features(anchor).keypoints_px) < len(other.features(anchor).keypoints_px)


def test_cache_is_bounded() -> None:
    matcher = SiftMatcher(SiftOptions(max_features=50, cached_images=2))
    first = matcher.features(textured_image(1))
    for seed in (2, 3):
        matcher.features(textured_image(seed))
    assert matcher.features(textured_image(1)) is not first


@pytest.mark.parametrize("bad", [{"ratio": 0.0}, {"ratio": 1.5}, {"max_features": 0}, {"cached_images": 0}])
def test_impossible_options_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="sift"):
        SiftOptions(**bad)


def plain_matches(query: np.ndarray, anchor: np.ndarray, ratio: float) -> list[tuple[int, int]]:
    """Mutual nearest neighbours that pass the ratio test both ways, as the words say it."""
    distance = np.sqrt(np.maximum(2 - 2 * query @ anchor.T, 1e-12))
    found = []
    for row in range(len(query)):
        column = int(distance[row].argmin())
        if int(distance[:, column].argmin()) != row:
            continue
        along, across = np.sort(distance[row])[:2], np.sort(distance[:, column])[:2]
        if max(along[0] / along[1], across[0] / across[1]) < ratio:
            found.append((row, column))
    return found


@pytest.mark.parametrize("seed", range(20))
def test_pairs_are_what_the_definition_says(seed: int) -> None:
    """Also where descriptors repeat: a tie is no match."""
    rng = np.random.default_rng(seed)
    pool = rng.integers(0, 4, (60, 128)).astype(np.float32)
    picked = [pool[rng.integers(0, len(pool), n)] + 0.05 * rng.integers(0, 2, (n, 128)) for n in (50, 70)]
    query, anchor = (np.sqrt(p / p.sum(axis=1, keepdims=True)).astype(np.float32) for p in picked)
    px = [np.column_stack([np.arange(n), np.zeros(n)]).astype(np.float32) for n in (50, 70)]
    matcher = SiftMatcher(SiftOptions(ratio=0.9))
    found = matcher._match_pair(SiftFeatures(px[0], query), SiftFeatures(px[1], anchor))
    pairs = list(zip(found.query_px[:, 0].astype(int), found.anchor_px[:, 0].astype(int), strict=True))
    assert sorted(pairs) == plain_matches(query, anchor, 0.9)
    assert len(pairs) > 3


@pytest.mark.parametrize("limit", [30_000, 50_000, 76_000])
def test_large_photos_are_detected_on_a_reduced_copy(
    matcher: SiftMatcher, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """Bounded memory, and positions in pixels of the full picture: no shift of half a pixel."""
    picture, detected = textured_image(3), []
    full = matcher.features(picture)
    monkeypatch.setattr(sift, "MAX_BYTES", picture.nbytes + limit * sift.DETECTOR_BYTES_PER_PIXEL)
    reduced = SiftMatcher(SiftOptions(max_features=2000))
    monkeypatch.setattr(reduced, "_detector", SpyingDetector(reduced._detector, detected))
    found = reduced.features(picture)
    assert detected[0] <= limit
    distance = np.linalg.norm(found.keypoints_px[:, None] - full.keypoints_px[None], axis=2)
    nearest = full.keypoints_px[distance.argmin(axis=1)]
    close = distance.min(axis=1) < 1.0
    assert np.mean(close) > 0.6
    assert np.median(found.keypoints_px[close] - nearest[close], axis=0) == pytest.approx(0.0, abs=0.05)


class SpyingDetector:
    """Notes how many pixels it gets."""

    def __init__(self, detector: cv2.SIFT, detected: list[int]) -> None:
        self._detector, self._detected = detector, detected

    def detectAndCompute(self, grey: np.ndarray, mask: None) -> object:  # noqa: N802
        self._detected.append(grey.size)
        return self._detector.detectAndCompute(grey, mask)


def test_the_strongest_features_are_matched_and_all_are_kept(tmp_path: Path) -> None:
    """The same ones with and without a folder; in the folder lie all, as for whoever asks for all."""
    picture = textured_image(1)
    keep = Runtime(cache_folder=tmp_path)
    plain = SiftMatcher(SiftOptions(runtime=keep)).features(picture, keep=True)
    everything = SiftMatcher()._detect(picture)
    least = np.sort(everything[2])[-100]
    strong = everything[0][everything[2] >= least]
    for runtime in (Runtime(), keep):
        found = SiftMatcher(SiftOptions(strongest=100, runtime=runtime)).features(picture)
        np.testing.assert_array_equal(found.keypoints_px, strong)
        assert len(found.descriptors) == len(strong)
    again = SiftMatcher(SiftOptions(runtime=keep)).features(picture)
    np.testing.assert_array_equal(again.keypoints_px, plain.keypoints_px)
    assert len(plain.keypoints_px) > 200
    chosen, every = SiftMatcher(SiftOptions(strongest=100)), SiftMatcher()
    assert chosen.fingerprint.endswith("/strongest-100")
    assert chosen.feature_identity != every.feature_identity, "visual words of the one are not those of the other"


def test_features_kept_without_their_responses_are_found_anew(tmp_path: Path) -> None:
    """An earlier release did not keep them; whoever matches all features needs none."""
    picture, runtime = textured_image(1), Runtime(cache_folder=tmp_path)
    wanted = SiftMatcher(SiftOptions(runtime=runtime)).features(picture, keep=True).keypoints_px
    (file,) = tmp_path.rglob("*.sift")
    kept = FileCache(tmp_path, 1 << 30, ".sift")

    def stored() -> dict[str, np.ndarray]:
        content = kept.get(file.stem)
        assert content is not None
        return dict(np.load(io.BytesIO(content)))

    without = io.BytesIO()
    np.savez(without, keypoints_px=stored()["keypoints_px"], descriptors=stored()["descriptors"])
    kept.put(file.stem, without.getvalue())
    np.testing.assert_array_equal(SiftMatcher(SiftOptions(runtime=runtime)).features(picture).keypoints_px, wanted)
    chosen = SiftMatcher(SiftOptions(runtime=runtime, strongest=100)).features(picture, keep=True)
    assert len(chosen.keypoints_px) == 100
    assert len(stored()["response"]) == len(wanted)

"""Keypoint networks: pixels there and back without a network, and the published weights on pairs with known matches."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support import weights_world
from support.local_features_reference import seeded_features
from support.mast3r_world import random_photo
from support.plane_pair import SHIFT_PX, plane_pair
from torch import Tensor

from geocorrect.errors import ModelError
from geocorrect.match import aliked_lightglue, lightglue_disk, xfeat
from geocorrect.match.aliked_lightglue import AlikedLightGlueOptions
from geocorrect.match.lightglue_disk import DiskLightGlueOptions
from geocorrect.match.xfeat import XFeatOptions
from geocorrect.networks.local_features import loading
from geocorrect.networks.local_features.loading import load_lightglue
from geocorrect.networks.local_features.matcher import Detector, FeatureMatcher, Features, Pairing
from geocorrect.networks.local_features.turned import TurningMatcher, rolled, turned_back
from geocorrect.networks.runtime import Precision, Runtime
from geocorrect.networks.weights import locate

pytestmark = pytest.mark.long

BUILDERS: dict[str, Callable[[Runtime], FeatureMatcher | TurningMatcher]] = {
    "aliked_lightglue": lambda runtime: aliked_lightglue.build(AlikedLightGlueOptions(runtime)),
    "xfeat": lambda runtime: xfeat.build(XFeatOptions(runtime)),
    "lightglue_disk": lambda runtime: lightglue_disk.build(DiskLightGlueOptions(runtime)),
}


class Found:
    """A detector that finds what it is given, and remembers what it was shown."""

    def __init__(self, keypoints: list[list[float]]) -> None:
        self.keypoints = torch.tensor(keypoints)
        self.shown: list[Tensor] = []

    def __call__(self, image: Tensor) -> tuple[Tensor, Tensor]:
        self.shown.append(image)
        return self.keypoints, torch.eye(len(self.keypoints))


def in_order(query: Features, anchor: Features) -> tuple[Tensor, Tensor]:
    count = min(len(query["keypoints"]), len(anchor["keypoints"]))
    return torch.arange(count)[:, None].expand(-1, 2), torch.ones(count)


def matcher_of(found: Found, long_side_px: int = 100, runtime: Runtime | None = None) -> FeatureMatcher:
    return FeatureMatcher(
        Detector(found, "given", long_side_px), Pairing(in_order, "in order"), runtime or Runtime(device="cpu")
    )


def test_fractions_of_pixels_find_their_way_back() -> None:
    """A photo of 250 × 130 is seen at 100 × 52, padded to 128 × 64; what lies in the padding is not the photo's."""
    found = Found([[10.25, 7.5], [99.4, 51.4], [99.6, 20.0], [20.0, 51.6]])
    (matches,) = matcher_of(found).match(random_photo(250, 130), [random_photo(100, 60)])
    assert found.shown[0].shape == (1, 3, 64, 128)
    assert torch.equal(found.shown[0][..., 52:, :], found.shown[0][..., 51:52, :].expand(-1, -1, 12, -1))
    assert found.shown[1].shape == (1, 3, 64, 128), "a small photo is not enlarged"
    np.testing.assert_allclose(
        matches.query_px, [[10.75 * 2.5 - 0.5, 8 * 2.5 - 0.5], [99.9 * 2.5 - 0.5, 51.9 * 2.5 - 0.5]]
    )
    np.testing.assert_allclose(matches.anchor_px, [[10.25, 7.5], [99.4, 51.4]])


def test_a_tiny_photo_is_enlarged_twice_and_its_pixels_come_back() -> None:
    found = Found([[10.5, 7.5]])
    (matches,) = matcher_of(found, long_side_px=1024).match(random_photo(100, 60), [random_photo(500, 300)])
    assert found.shown[0].shape == (1, 3, 128, 224), "200 × 120, padded"
    assert found.shown[1].shape == (1, 3, 320, 512), "500 × 300 is large enough"
    np.testing.assert_allclose(matches.query_px, [[11 / 2 - 0.5, 8 / 2 - 0.5]])
    np.testing.assert_allclose(matches.anchor_px, [[10.5, 7.5]])


def test_a_photo_is_looked_at_once_and_by_the_next_process_not_at_all(tmp_path: Path) -> None:
    runtime = Runtime(device="cpu", cache_folder=tmp_path / "cache")
    found, later = Found([[1.0, 2.0]]), Found([[1.0, 2.0]])
    query, anchor = random_photo(64, 48, 1), random_photo(64, 48, 2)
    first = matcher_of(found, runtime=runtime)
    first.match(query, [anchor, anchor])
    first.match(anchor, [query])
    assert len(found.shown) == 2
    (again,) = matcher_of(later, runtime=runtime).match(query, [anchor])
    assert (later.shown, len(again)) == ([], 1)
    matcher_of(later, long_side_px=40, runtime=runtime).match(query, [anchor])
    assert len(later.shown) == 2, "another size is another answer"


def test_fingerprints_name_what_changes_matches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runtime = weights_world.runtime_with(tmp_path, "aliked_lightglue", weights_world.aliked_lightglue)
    options = AlikedLightGlueOptions(runtime)
    variants = [
        options,
        replace(options, max_keypoints=512),
        replace(options, min_score=0.2),
        replace(options, long_side_px=512),
        replace(options, runtime=replace(runtime, precision=Precision.BFLOAT16)),
    ]
    names = {aliked_lightglue.build(variant).fingerprint for variant in variants}
    monkeypatch.setattr(loading, "version", lambda _: "0.8.3")
    older = aliked_lightglue.build(options)
    assert "kornia-0.8" in older.fingerprint, "it keeps other keypoints than 0.9"
    assert len(names | {older.fingerprint}) == len(variants) + 1


@pytest.mark.parametrize("name", BUILDERS)
def test_the_published_tensors_fill_the_networks(name: str, tmp_path: Path) -> None:
    """Names and shapes are those of the authors' files, nine scalars that nothing reads included."""
    runtime = weights_world.runtime_with(tmp_path, name, getattr(weights_world, name))
    assert len(BUILDERS[name](runtime).match(random_photo(64, 48), [random_photo(64, 48)])) == 1


def test_a_missing_parameter_is_named(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        weights_world.aliked_lightglue(folder)
        state = torch.load(folder / "aliked_lightglue.pth", weights_only=True)
        del state["transformers.3.cross_attn.to_out.bias"]
        torch.save(state, folder / "aliked_lightglue.pth")

    matcher = BUILDERS["aliked_lightglue"](weights_world.runtime_with(tmp_path, "aliked_lightglue", write))
    with pytest.raises(ModelError, match=r"aliked_lightglue.pth: does not fit LightGlue: 1 keys.*3.cross_attn.to_out"):
        matcher.match(random_photo(64, 48), [random_photo(64, 48)])


@pytest.mark.parametrize("name", BUILDERS)
def test_real_weights_match_a_known_pair(name: str, real_weights: Runtime) -> None:
    """To a pixel where corners are sharp; and a photo without a keypoint matches nothing."""
    matcher = BUILDERS[name](real_weights)
    first, second = plane_pair()
    (found, empty) = matcher.match(first, [second, np.full((64, 96, 3), 128, np.uint8)])
    apart = np.abs(found.query_px - found.anchor_px - SHIFT_PX).max(axis=1)
    # ALIKED tells fractions of pixels; XFeat finds half of these corners elsewhere in the moved photo.
    median_px, share = {"aliked_lightglue": (0.2, 0.95), "xfeat": (2.5, 0.4), "lightglue_disk": (0.5, 0.9)}[name]
    assert len(found) > 70
    assert np.median(apart) < median_px
    assert (apart < 2).mean() > share
    assert len(empty) == 0


EXPECTED = {
    "aliked_lightglue": (82, 146.6),
    "xfeat": (772, 141.8),
    "lightglue_disk": (351, 136.5),
}
"""Keypoints that kornia 0.9 finds in the first photo of the plane, and their mean position, both axes together."""


@pytest.mark.parametrize("name", BUILDERS)
def test_the_library_still_finds_the_same_keypoints(name: str, real_weights: Runtime) -> None:
    """If not, results under one fingerprint would differ: `loading.algorithm` must then tell the versions apart.

    Between kornia 0.8.3 and 0.9 up to a tenth of ALIKED's keypoints went.
    """
    count, mean_px = EXPECTED[name]
    matcher = BUILDERS[name](real_weights)
    inner = matcher.matcher if isinstance(matcher, TurningMatcher) else matcher
    keypoints = inner.features(plane_pair()[0])["keypoints"]
    assert len(keypoints) == pytest.approx(count, rel=0.005)
    assert float(keypoints.mean()) == pytest.approx(mean_px, abs=0.3)


@pytest.mark.parametrize(("name", "file"), [("aliked_lightglue", "aliked"), ("lightglue_disk", "disk")])
def test_lightglue_pairs_what_the_authors_code_pairs(name: str, file: str, real_weights: Runtime) -> None:
    """The same list, from equal features."""
    path = locate(name, real_weights.access).file(f"{file}_lightglue.pth")
    query, anchor = seeded_features()
    sides = [
        {"keypoints": s["keypoints"][None], "descriptors": s["descriptors"][None], "image_size": s["size"][None]}
        for s in (query, anchor)
    ]
    with torch.inference_mode():
        found = load_lightglue(path, 0.1, real_weights)({"image0": sides[0], "image1": sides[1]})
    expected = json.loads((Path(__file__).parent / "reference_matches.json").read_text())[file]
    assert found["matches"][0].tolist() == expected


def test_xfeat_pairs_what_the_authors_code_pairs() -> None:
    """The same list, from equal descriptors; all 120 that the two photos share, which is fewer than each has."""
    expected = json.loads((Path(__file__).parent / "reference_matches.json").read_text())["xfeat"]
    pairs, _ = xfeat.mutual_nearest(*seeded_features(), min_similarity=XFeatOptions().min_similarity)
    assert pairs.tolist() == expected
    assert len(expected) == 120


def test_precision_is_that_of_lightglue_and_keypoints_stay_float32(real_weights: Runtime) -> None:
    half = replace(real_weights, precision=Precision.BFLOAT16)
    first, second = plane_pair(160, 120)
    exact, rounded = (
        BUILDERS["aliked_lightglue"](runtime).match(first, [second])[0] for runtime in (real_weights, half)
    )
    common = {tuple(px) for px in exact.query_px.tolist()} & {tuple(px) for px in rounded.query_px.tolist()}
    assert len(common) > 0.7 * len(exact), "the same keypoints to the last bit"
    assert not np.array_equal(exact.score, rounded.score)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_pixels_are_turned_back_to_those_of_the_photo(turns: int) -> None:
    photo = np.arange(5 * 7).reshape(5, 7)
    turned = np.rot90(photo, turns)
    y, x = (axis.ravel() for axis in np.mgrid[: turned.shape[0], : turned.shape[1]])
    back = turned_back(np.stack([x, y], axis=1).astype(np.float32), turns, (7, 5)).astype(int)
    np.testing.assert_array_equal(photo[back[:, 1], back[:, 0]], turned.ravel())


def test_a_photo_that_lies_on_its_side_is_matched(real_weights: Runtime) -> None:
    first, second = plane_pair()
    side = np.ascontiguousarray(np.rot90(first, 1))
    (found,) = BUILDERS["aliked_lightglue"](real_weights).match(side, [second])
    assert len(found) > 60
    # A counter-clockwise quarter turn puts column x of the photo into row (width − 1 − x).
    assert np.median(np.abs(first.shape[1] - 1 - found.query_px[:, 1] - found.anchor_px[:, 0] - SHIFT_PX[0])) < 0.3
    assert np.median(np.abs(found.query_px[:, 0] - found.anchor_px[:, 1] - SHIFT_PX[1])) < 0.3


@pytest.mark.parametrize("turn_deg", [0, 30, 90, 150, 180, 240, 270, 330])
def test_the_whole_photo_is_turned_and_its_pixels_come_back(turn_deg: int) -> None:
    """Seen turned counter-clockwise: the pixel right of the middle goes up; every bright spot is where it was."""
    at = np.array([[12.0, 9.0], [50.0, 9.0], [12.0, 30.0]])
    y, x = np.mgrid[:40, :61]
    spots = [200 * np.exp(-((x - u) ** 2 + (y - v) ** 2) / 8) for u, v in at]
    photo = np.stack(spots, axis=2).round().astype(np.uint8)
    view, photo_from_view = rolled(photo, turn_deg)
    rows, columns = np.mgrid[: view.shape[0], : view.shape[1]]
    weights = view.reshape(-1, 3) / view.sum(axis=(0, 1))
    centres = np.stack([weights.T @ columns.ravel(), weights.T @ rows.ravel()], axis=1)
    np.testing.assert_allclose(centres @ photo_from_view[:, :2].T + photo_from_view[:, 2], at, atol=0.1)
    right = centres[1] - centres[0]
    assert np.degrees(np.arctan2(-right[1], right[0])) % 360 == pytest.approx(turn_deg, abs=0.3)


def test_a_rolled_photo_is_matched_where_quarter_turns_do_not_suffice(real_weights: Runtime) -> None:
    """Halfway between two of them, where 39 right matches are found without the steps between."""
    first, second = plane_pair()
    photo, plane_from_photo = rolled(first, 135)
    (found,) = BUILDERS["aliked_lightglue"](real_weights).match(photo, [second])
    there = found.query_px @ plane_from_photo[:, :2].T + plane_from_photo[:, 2]
    apart = np.abs(there - found.anchor_px - SHIFT_PX).max(axis=1)
    assert (apart < 2).sum() > 60
    assert np.median(apart) < 0.6


def test_an_upright_photo_of_another_place_costs_the_coarse_matcher_and_nothing_more() -> None:
    """Turns are told apart by the coarse one; the matcher sees the photo in a turn only when that clearly wins."""
    found, few = Found([[1.0, 2.0], [3.0, 4.0]]), Found([[1.0, 2.0]])
    turning = TurningMatcher(matcher_of(found), matcher_of(few))
    query, anchor = random_photo(64, 48, 1), random_photo(64, 48, 2)
    (matches,) = turning.match(query, [anchor])
    assert len(matches) == 2
    assert (len(found.shown), len(few.shown)) == (2, 7), "both photos; the photo in six turns, and the anchor"

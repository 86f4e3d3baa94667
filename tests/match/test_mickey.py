"""MicKey as a matcher: mutual pairs in photo pixels, metric keypoints, photos that it cannot use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support.mickey_world import random_photo, seeded_engine, seeded_model

from geocorrect.match.base import Matcher
from geocorrect.match.metric_keypoints import KeypointMatcher, KeypointPairing, MetricKeypoints
from geocorrect.match.mickey import MickeyMatcher, MickeyOptions, build
from geocorrect.networks.mickey.engine import MickeyEngine
from geocorrect.networks.mickey.model import DualSoftmax, mutual_pairs, sampling_weight
from geocorrect.networks.store import TensorStore


@pytest.fixture(scope="module")
def matcher() -> MickeyMatcher:
    return MickeyMatcher(seeded_engine(long_side_px=280))


def test_contract_and_fingerprint(matcher: MickeyMatcher) -> None:
    assert isinstance(matcher, Matcher)
    assert isinstance(matcher, KeypointMatcher)
    assert matcher.match(random_photo(280, 224), []) == []
    assert matcher.pair_keypoints(random_photo(280, 224), []) == []
    assert matcher.fingerprint == "mickey/seeded/float32/280/min_probability=0"
    assert MickeyMatcher(matcher.engine, 0.5).fingerprint != matcher.fingerprint


@pytest.mark.parametrize("size", [(280, 224), (560, 448), (501, 399)])
def test_a_photo_matches_itself_in_its_own_pixels(matcher: MickeyMatcher, size: tuple[int, int]) -> None:
    photo = random_photo(*size)
    (found,) = matcher.match(photo, [photo])
    inner = matcher.engine.keypoints([photo])[0].inner()
    assert 0.5 * inner.sum() < len(found) <= inner.sum()
    same = np.abs(found.query_px - found.anchor_px).max(axis=1) < 1e-3
    assert same.mean() > 0.9
    assert (found.query_px >= -0.5).all()
    assert (found.query_px <= np.array(size) - 0.5).all()
    assert ((found.score > 0) & (found.score <= 1)).all()


def test_the_same_scene_in_two_sizes(matcher: MickeyMatcher) -> None:
    """The network sees one image: its keypoints must land on corresponding places of both photos."""
    small = random_photo(280, 224)
    large = small.repeat(2, axis=0).repeat(2, axis=1)
    (found,) = matcher.match(large, [small])
    assert len(found) > 20
    same = np.abs((found.anchor_px + 0.5) * 2 - 0.5 - found.query_px).max(axis=1) < 0.01
    assert same.mean() > 0.9


def test_unlikely_matches_can_be_dropped(matcher: MickeyMatcher) -> None:
    query, anchor = random_photo(280, 224), random_photo(280, 224, 1)
    (everything,) = matcher.match(query, [anchor])
    limit = float(np.median(everything.score))
    (likely,) = MickeyMatcher(matcher.engine, limit).match(query, [anchor])
    np.testing.assert_array_equal(likely.score, everything.score[everything.score >= np.float32(limit)])


def test_anchors_keep_their_order_and_thin_ones_match_nothing(matcher: MickeyMatcher) -> None:
    query, thin = random_photo(280, 224), random_photo(600, 20)
    anchors = [random_photo(224, 280, 1), thin, random_photo(280, 224, 2)]
    together = matcher.match(query, anchors)
    assert len(together[1]) == 0
    for index in (0, 2):
        (alone,) = matcher.match(query, [anchors[index]])
        assert len(alone) > 0
        np.testing.assert_array_equal(together[index].anchor_px, alone.anchor_px)
    assert [len(found) for found in matcher.match(thin, anchors)] == [0, 0, 0]
    pairings = matcher.pair_keypoints(query, anchors)
    assert [pairing.weight.shape[0] for pairing in pairings] == [320, 0, 320]
    assert [len(pairing.query.px) for pairing in matcher.pair_keypoints(thin, anchors)] == [0, 0, 0]


def test_metric_keypoints_are_those_of_the_matches(matcher: MickeyMatcher) -> None:
    query, anchor = random_photo(280, 224), random_photo(300, 280, 1)
    (pairing,), (matches,) = matcher.pair_keypoints(query, [anchor]), matcher.match(query, [anchor])
    assert pairing.weight.shape == (len(pairing.anchor.px), len(pairing.query.px))
    assert len(pairing.anchor.px) != len(pairing.query.px)
    best_query, best_anchor = pairing.weight.argmax(axis=1), pairing.weight.argmax(axis=0)
    mutual = [(a, q) for a, q in enumerate(best_query) if best_anchor[q] == a and pairing.weight[a, q] > 0]
    anchors, queries = (np.array(index) for index in zip(*mutual, strict=True))
    np.testing.assert_allclose(matches.anchor_px, pairing.anchor.px[anchors], rtol=1e-6)
    np.testing.assert_allclose(matches.query_px, pairing.query.px[queries], rtol=1e-6)
    assert np.isfinite(pairing.query.depth_m).all()


def test_pairings_of_the_wrong_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="keypoints must be"):
        MetricKeypoints(np.zeros((3, 2)), np.zeros(2))
    points = MetricKeypoints(np.zeros((3, 2)), np.zeros(3))
    with pytest.raises(ValueError, match=r"weight must be \(3, 3\), got \(3, 2\)"):
        KeypointPairing(points, points, np.zeros((3, 2)))


# --- the layer by hand ---------------------------------------------------------------------------------


def test_double_softmax_by_hand() -> None:
    """One keypoint each, similarity 0.2 / 0.1 = 2, dustbin 1: (e² / (e² + e))² = sigmoid(1)²."""
    layer = DualSoftmax()
    descriptor = torch.tensor([[[1.0], [0.0]]])
    other = torch.tensor([[[0.2], [0.9797959]]])
    found = layer(descriptor, other)
    assert found.shape == (1, 1, 1)
    assert float(found.detach()) == pytest.approx(1.0 / (1.0 + np.exp(-1.0)) ** 2, rel=1e-5)


def test_the_dustbin_takes_what_matches_nothing() -> None:
    layer = DualSoftmax().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    one, two = (torch.nn.functional.normalize(torch.randn(1, 8, n, generator=generator), dim=1) for n in (5, 9))
    before = layer(one, two)
    layer.dustbin_score.fill_(50.0)
    assert float(layer(one, two).sum()) < 1e-6 * float(before.sum())
    assert (before.sum(dim=1) <= 1).all()
    assert (before.sum(dim=2) <= 1).all()


def test_mutual_pairs_by_hand() -> None:
    weight = torch.tensor([[0.9, 0.1, 0.0], [0.8, 0.2, 0.0], [0.0, 0.0, 0.0]])
    first, second = mutual_pairs(weight)
    assert (first.tolist(), second.tolist()) == ([0], [0])
    weight = sampling_weight(torch.ones(2, 3), torch.tensor([0.5, 0.5]), torch.tensor([0.2, 0.0, 0.8]))
    torch.testing.assert_close(weight, torch.tensor([[0.1, 0.0, 0.4]]).expand(2, 3))


# --- building ------------------------------------------------------------------------------------------


def test_a_file_of_your_own_needs_the_licence_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from geocorrect.errors import ModelError
    from geocorrect.networks.runtime import Runtime
    from geocorrect.networks.weights import ModelAccess

    own = tmp_path / "own.safetensors"
    own.write_bytes(b"x")
    options = MickeyOptions(Runtime(device="cpu", access=ModelAccess(tmp_path / "weights")), checkpoint=own)
    with pytest.raises(ModelError, match="was not accepted"):
        build(options)
    with pytest.raises(ValueError, match="min_probability"):
        MickeyOptions(min_probability=1.5)


def test_precision_is_part_of_the_fingerprint() -> None:
    engine = MickeyEngine(seeded_model().use_dtype(torch.bfloat16), "seeded", TensorStore(), 140)
    assert engine.fingerprint == "mickey/seeded/bfloat16/140"
    (found,) = engine.keypoints([random_photo(140, 126)])
    assert found.keypoints.depth_m.dtype is torch.float32
    (exact,) = seeded_engine().keypoints([random_photo(140, 126)])
    assert np.abs(found.photo_px() - exact.photo_px()).max() < 1.0

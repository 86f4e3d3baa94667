"""MASt3R as a matcher: pixels of the photos, agreement, borders, crops; messages of machines without weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.mast3r_world import TINY, random_photo, seeded_engine, seeded_model

from geocorrect.errors import ModelError
from geocorrect.match.base import Matcher
from geocorrect.match.mast3r import Mast3rMatcher, Mast3rOptions, build
from geocorrect.networks.mast3r import matching
from geocorrect.networks.mast3r.engine import Mast3rEngine, is_too_thin, network_image, place
from geocorrect.networks.mast3r.model import Descriptors, Mast3r
from geocorrect.networks.mast3r.reciprocal import (
    DescriptorPair,
    coarse_admissible,
    most_similar,
    most_similar_in_patches,
    reciprocal_matches,
)
from geocorrect.networks.mast3r.rules import MatchingRules, Orders
from geocorrect.networks.runtime import Runtime
from geocorrect.networks.store import TensorStore
from geocorrect.networks.weights import ModelAccess, Profile, accept
from geocorrect.records import Matches

EVERYTHING = MatchingRules(min_confidence=0.0, border_px=0, subsample_px=4)


class Fingerprints(Mast3r):
    """A stand-in network whose descriptors are a smooth unique function of the colours that it sees."""

    def __init__(self) -> None:
        super().__init__(TINY)
        torch.manual_seed(0)
        self.mix = torch.randn(3, 24) * 6.0
        self.seen: dict[int, torch.Tensor] = {}

    def encode(self, images: torch.Tensor) -> object:  # type: ignore[override]
        encoded = super().encode(images)
        for tokens, image in zip(encoded.tokens, images, strict=True):
            self.seen[_key(tokens)] = image
        return encoded

    def descriptors(self, view: object, number: int) -> Descriptors:  # type: ignore[override]
        tokens = view.encoded.tokens.expand(len(view.hooked[-1]), -1, -1)  # type: ignore[attr-defined]
        images = torch.stack([self.seen[_key(one)] for one in tokens]).permute(0, 2, 3, 1)
        field = torch.sin(images @ self.mix)
        return Descriptors(torch.nn.functional.normalize(field, dim=-1), torch.full(field.shape[:3], 2.0))


def _key(tokens: torch.Tensor) -> int:
    return hash(tokens.numpy().tobytes())


@pytest.fixture
def engine() -> Mast3rEngine:
    return Mast3rEngine(Fingerprints().eval().requires_grad_(False), "stand-in", TensorStore(), long_side_px=64)


def gradient(width: int, height: int) -> np.ndarray:
    """A photo in which every pixel has its own colour."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    return np.stack([255 * x, 255 * y, 127 + 60 * np.sin(3 * x + 2 * y)], axis=-1).astype(np.uint8)


def test_contract_and_fingerprint(engine: Mast3rEngine) -> None:
    matcher = Mast3rMatcher(engine, EVERYTHING)
    assert isinstance(matcher, Matcher)
    assert matcher.match(gradient(64, 48), []) == []
    other = Mast3rMatcher(engine, replace(EVERYTHING, subsample_px=8))
    assert matcher.fingerprint != other.fingerprint
    assert matcher.fingerprint == Mast3rMatcher(engine, replace(EVERYTHING, batch=2)).fingerprint


@pytest.mark.parametrize("size", [(200, 150), (150, 200), (64, 48), (131, 77)])
def test_a_photo_matches_itself_in_its_own_pixels(engine: Mast3rEngine, size: tuple[int, int]) -> None:
    photo = gradient(*size)
    (found,) = Mast3rMatcher(engine, EVERYTHING).match(photo, [photo])
    assert len(found) > 100
    np.testing.assert_allclose(found.query_px, found.anchor_px, atol=1e-3)
    _, placement = network_image(photo, 64)
    seeds = placement.to_network(found.anchor_px)
    np.testing.assert_allclose(seeds, np.rint(seeds), atol=1e-3)


def test_half_a_pixel_is_right_between_two_sizes(engine: Mast3rEngine) -> None:
    """The same scene at two resolutions: matched points must map onto each other by the resize rule of the photos."""
    small, large = gradient(160, 120), gradient(320, 240)
    (found,) = Mast3rMatcher(engine, EVERYTHING).match(large, [small])
    expected = (found.anchor_px + 0.5) * 2 - 0.5
    error = found.query_px - expected
    assert np.abs(np.median(error, axis=0)).max() < 0.5  # network pixels are five photo pixels wide


def test_anchors_keep_their_order_across_sizes(engine: Mast3rEngine) -> None:
    query = gradient(128, 96)
    anchors = [gradient(128, 96), random_photo(96, 128), gradient(96, 128), gradient(128, 96)[:, ::-1].copy()]
    matcher = Mast3rMatcher(engine, replace(EVERYTHING, batch=2))
    together = matcher.match(query, anchors)
    for anchor, found in zip(anchors, together, strict=True):
        (alone,) = matcher.match(query, [anchor])
        np.testing.assert_array_equal(found.query_px, alone.query_px)
        np.testing.assert_array_equal(found.anchor_px, alone.anchor_px)


def test_border_and_confidence_rules(engine: Mast3rEngine) -> None:
    photo = gradient(64, 48)
    (free,) = Mast3rMatcher(engine, replace(EVERYTHING, subsample_px=1)).match(photo, [photo])
    (inner,) = Mast3rMatcher(engine, replace(EVERYTHING, subsample_px=1, border_px=3)).match(photo, [photo])
    assert free.anchor_px.min() == 0
    for px in (inner.anchor_px, inner.query_px):
        assert px.min() == 3
        assert (px <= [60, 44]).all()
    assert set(map(tuple, inner.anchor_px)) < set(map(tuple, free.anchor_px))
    strict = replace(EVERYTHING, min_confidence=2.5)
    assert len(Mast3rMatcher(engine, strict).match(photo, [photo])[0]) == 0


def test_both_orders_keep_what_both_find(engine: Mast3rEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = gradient(64, 48)
    both = replace(EVERYTHING, orders=Orders.BOTH)
    (agreed,) = Mast3rMatcher(engine, both).match(photo, [photo])
    (single,) = Mast3rMatcher(engine, EVERYTHING).match(photo, [photo])
    np.testing.assert_array_equal(agreed.query_px, single.query_px)

    honest = engine.model.descriptors
    calls = []

    def second_order_shifted(view: object, number: int) -> Descriptors:
        calls.append(number)
        found = honest(view, number)  # type: ignore[arg-type]
        shift = 5 if len(calls) == 3 else 0  # the query, as view 2 of the second order
        return Descriptors(found.descriptor.roll(shift, dims=2), found.confidence)

    monkeypatch.setattr(engine.model, "descriptors", second_order_shifted)
    (contradicted,) = Mast3rMatcher(engine, both).match(photo, [photo])
    assert calls == [1, 2, 2, 1]
    assert len(contradicted) < 0.2 * len(agreed)


def test_random_network_gives_finite_matches_inside_both_photos() -> None:
    engine = seeded_engine()
    query, anchors = random_photo(100, 75), [random_photo(75, 100, 1), random_photo(120, 60, 2)]
    for found, anchor in zip(Mast3rMatcher(engine, EVERYTHING).match(query, anchors), anchors, strict=True):
        assert isinstance(found, Matches)
        assert len(found) > 0
        for px, photo in ((found.query_px, query), (found.anchor_px, anchor)):
            assert (px >= -0.5).all()
            assert (px <= [photo.shape[1] - 0.5, photo.shape[0] - 0.5]).all()


def test_crops_refine_large_photos(engine: Mast3rEngine) -> None:
    photo = gradient(256, 192)
    coarse_rules = replace(EVERYTHING, subsample_px=2)
    (coarse,) = Mast3rMatcher(engine, coarse_rules).match(photo, [photo])
    (fine,) = Mast3rMatcher(engine, replace(coarse_rules, fine_long_side_px=256)).match(photo, [photo])
    assert len(fine) > 2 * len(coarse)
    np.testing.assert_allclose(fine.query_px, np.rint(fine.query_px), atol=1e-3)  # crops are not resized here
    error = np.linalg.norm(fine.query_px - fine.anchor_px, axis=1)
    assert np.quantile(error, 0.9) < 3.0


def test_crops_give_each_match_once_and_leave_nothing_on_disk(engine: Mast3rEngine, tmp_path: Path) -> None:
    """Overlapping crops find the same pixels; of a repeated match the most confident copy stays."""
    engine.store = TensorStore(tmp_path)
    photo = gradient(256, 192)
    rules = replace(EVERYTHING, subsample_px=2, fine_long_side_px=256)
    (fine,) = Mast3rMatcher(engine, rules).match(photo, [photo])
    both = np.hstack([fine.query_px, fine.anchor_px]).round()
    assert len(np.unique(both, axis=0)) == len(fine)
    assert len(list(tmp_path.rglob("*.tensors"))) == 1, "the photo, not its crops"


def test_the_best_of_repeated_matches_stays_where_it_was() -> None:
    px = np.array([[10, 10], [40, 10], [10.4, 10.3], [9.9, 10]], np.float32)
    found = Matches(px, px, np.array([1.0, 2.0, 3.0, 3.0], np.float32)).best_of_each(np.rint(px))
    np.testing.assert_array_equal(found.query_px, px[1:3])
    np.testing.assert_array_equal(found.score, [2.0, 3.0])
    assert len(Matches.empty().best_of_each(np.zeros((0, 4)))) == 0
    np.testing.assert_array_equal(Matches.joined([found, found]).score, [2.0, 3.0, 2.0, 3.0])
    assert len(Matches.joined([])) == 0


def test_crops_are_not_used_for_photos_of_the_network_size(engine: Mast3rEngine) -> None:
    photo = gradient(64, 48)
    rules = replace(EVERYTHING, fine_long_side_px=256)
    found = matching.match_photos(engine, photo, [photo], rules)[0]
    np.testing.assert_array_equal(found.query_px, matching.match_photos(engine, photo, [photo], EVERYTHING)[0].query_px)


def test_very_thin_photos_are_refused() -> None:
    with pytest.raises(ValueError, match="4000×20 pixels is too thin"):
        place(4000, 20)


@pytest.mark.parametrize("size", [(1000, 30), (1000, 31), (1000, 32), (30, 1000), (32, 1000), (992, 31), (993, 31)])
@pytest.mark.parametrize("long_side_px", [512, 64])
def test_what_is_too_thin_is_known_beforehand(size: tuple[int, int], long_side_px: int) -> None:
    photo = np.zeros((size[1], size[0], 3), np.uint8)
    try:
        place(*size, long_side_px)
    except ValueError:
        assert is_too_thin(photo, long_side_px)
    else:
        assert not is_too_thin(photo, long_side_px)


def test_thin_photos_match_nothing_and_stop_nobody(engine: Mast3rEngine) -> None:
    thin, photo = random_photo(640, 10), gradient(64, 48)
    matcher = Mast3rMatcher(engine, EVERYTHING)
    assert [len(found) for found in matcher.match(thin, [photo, photo])] == [0, 0]
    first, second, third = matcher.match(photo, [photo, thin, photo])
    assert len(first) == len(third) > 0
    assert len(second) == 0


def _field(height: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, 24, height // 8, width // 8, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")
    noise = 0.1 * torch.randn(1, 24, height, width, generator=generator)
    return torch.nn.functional.normalize((smooth + noise)[0].permute(1, 2, 0), dim=-1)


@pytest.mark.parametrize("count", [1, 63, 64, 65, 2048, 5000])
def test_block_search_equals_brute_force(count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    targets = torch.nn.functional.normalize(torch.randn(count, 24, generator=generator), dim=1)
    queries = torch.nn.functional.normalize(torch.randn(300, 24, generator=generator), dim=1)
    assert torch.equal(most_similar(queries, targets), (queries @ targets.T).argmax(dim=1))


def test_the_first_of_equal_targets_wins() -> None:
    targets = torch.eye(24)[[3, 5, 3, 5] * 40]
    assert most_similar(torch.eye(24)[[5, 3]], targets).tolist() == [1, 0]
    assert len(most_similar(torch.zeros(0, 24), targets)) == 0


@pytest.mark.parametrize(("keep", "share", "recall"), [(1, 0.03, 0.95), (3, 0.04, 0.99)])
def test_coarse_restriction_finds_nearly_all_matches_with_less_work(keep: int, share: float, recall: float) -> None:
    """At the network's size, with structure of 8 pixels that a patch's mean over 16 would blur."""
    a = _field(384, 512)
    b = torch.nn.functional.normalize(a.roll((6, 10), (0, 1)) + 0.05 * _field(384, 512, 1), dim=-1)
    free = reciprocal_matches(DescriptorPair(a, b), 16)
    admissible = coarse_admissible(a, b, keep)
    assert admissible.float().mean() < share
    bound = reciprocal_matches(DescriptorPair(a, b, admissible), 16)
    wanted = set(map(tuple, torch.cat([free.a_xy, free.b_xy], 1).tolist()))
    found = set(map(tuple, torch.cat([bound.a_xy, bound.b_xy], 1).tolist()))
    assert len(wanted & found) > recall * len(wanted)


@pytest.mark.parametrize("density", [0.0, 0.05, 0.6, 1.0])
def test_restricted_search_equals_brute_force_in_the_allowed_patches(density: float) -> None:
    generator = torch.Generator().manual_seed(5)
    queries, targets = torch.randn(700, 24, generator=generator), torch.randn(40 * 256, 24, generator=generator)
    allowed = torch.rand(700, 40, generator=generator) < density * torch.rand(40, generator=generator) * 2
    similarity = (queries @ targets.T).masked_fill(~allowed.repeat_interleave(256, dim=1), -torch.inf)
    expected = torch.where(allowed.any(1), similarity.argmax(1), -1)
    assert torch.equal(most_similar_in_patches(queries, targets.unflatten(0, (40, 256)), allowed), expected)


def test_nothing_admissible_gives_no_match() -> None:
    a = _field(32, 32)
    nothing = torch.zeros(4, 4, dtype=torch.bool)
    assert len(reciprocal_matches(DescriptorPair(a, a, nothing), 4).a_xy) == 0


def test_without_weights_the_message_has_the_command(tmp_path: Path) -> None:
    options = Mast3rOptions(Runtime(device="cpu", access=ModelAccess(tmp_path)))
    with pytest.raises(ModelError) as error:
        build(options)
    for part in (
        "missing: model.safetensors in ",
        "2.8 GB",
        "CC-BY-NC-SA-4.0",
        "geocorrect models fetch mast3r --accept-licence",
    ):
        assert part in str(error.value)


def test_commercial_profile_names_the_alternative(tmp_path: Path) -> None:
    access = ModelAccess(tmp_path, Profile.COMMERCIAL)
    with pytest.raises(ModelError, match=r'profile = "commercial" does not allow; use `eloftr` instead'):
        build(Mast3rOptions(Runtime(device="cpu", access=access)))


def test_own_checkpoint_is_loaded_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors.torch import save_file

    from geocorrect.networks.mast3r import loading

    monkeypatch.setattr(loading.assemble, "__defaults__", ((32, 16),))
    monkeypatch.setattr(loading.load_mast3r, "__defaults__", ((32, 16),))
    save_file(seeded_model().state_dict(), tmp_path / "own.safetensors")
    accept("mast3r", ModelAccess(tmp_path))
    runtime = Runtime(device="cpu", access=ModelAccess(tmp_path))
    options = Mast3rOptions(runtime, EVERYTHING, long_side_px=64, checkpoint=tmp_path / "own.safetensors")
    matcher = build(options)
    assert "own.safetensors" not in matcher.fingerprint
    expected = Mast3rMatcher(seeded_engine(), EVERYTHING)
    query, anchor = random_photo(64, 48), random_photo(64, 48, 1)
    np.testing.assert_array_equal(
        matcher.match(query, [anchor])[0].query_px, expected.match(query, [anchor])[0].query_px
    )
    assert matcher.fingerprint != expected.fingerprint
    assert build(options).engine is matcher.engine


def test_describing_the_matcher_loads_no_weights(tmp_path: Path) -> None:
    """A run is described before anything is due; only the first match, or an absent file, touches the weights."""
    accept("mast3r", ModelAccess(tmp_path))
    runtime = Runtime(device="cpu", access=ModelAccess(tmp_path))
    absent = Mast3rOptions(runtime, EVERYTHING, checkpoint=tmp_path / "absent.pth")
    with pytest.raises(ModelError, match=r"absent\.pth: no such checkpoint file"):
        build(absent)
    (tmp_path / "broken.safetensors").write_bytes(b"not tensors")
    matcher = build(replace(absent, checkpoint=tmp_path / "broken.safetensors"))
    assert matcher.fingerprint.startswith("mast3r/")
    assert "/float32/512/" in matcher.fingerprint
    with pytest.raises(ModelError, match=r"broken\.safetensors: truncated or damaged"):
        matcher.match(random_photo(64, 48), [random_photo(64, 48, 1)])

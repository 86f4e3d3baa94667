"""Anchors chosen by what they show: descriptors of a tiny network that maps near-identical pictures to near tokens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage
from scipy.spatial.transform import Rotation
from support.mast3r_world import random_photo, seeded_engine

from geocorrect.api.anchor_cache import read_anchor
from geocorrect.api.backends import build_appearance
from geocorrect.config import Settings
from geocorrect.errors import ConfigError, InputError, ModelError
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.io.checksum import sha256_of
from geocorrect.io.pixels import read_image
from geocorrect.match.cascade import CascadeMatcher
from geocorrect.match.mast3r import Mast3rMatcher
from geocorrect.match.options import MatcherName, MatchSection
from geocorrect.match.registry import SymmetricMatcher, describes_photos, local_features, token_engine
from geocorrect.match.sift import SiftMatcher
from geocorrect.networks.mast3r.rules import MatchingRules
from geocorrect.records import Anchor, ImageArray, Matches, Pair, Query
from geocorrect.retrieve import by_appearance
from geocorrect.retrieve.appearance import TokenDescriber
from geocorrect.retrieve.by_appearance import AppearanceRetriever
from geocorrect.retrieve.options import AppearanceOptions, RetrieveOptions

CAMERA = Camera.pinhole(64, 48, 60.0, 60.0, 31.5, 23.5)
SPACING_M = 5.0


class Street:
    """Anchors every five metres, each with a picture of its own, and a count of the pictures that were read."""

    def __init__(self, folder: Path, count: int = 6) -> None:
        self.reads = 0
        self.folder = folder
        self.anchors = [self.anchor(number, SPACING_M * number) for number in range(count)]

    def anchor(self, number: int, east_m: float, seed: int | None = None) -> Anchor:
        path = self.folder / f"anchor{number}.png"
        PillowImage.fromarray(random_photo(64, 48, number if seed is None else seed)).save(path)
        pose = Pose(Rotation.identity(), np.array([east_m, 0.0, 0.0]))
        return Anchor(f"a{number}", "drive", path, CAMERA, pose, "alignment", sha256=sha256_of(path))

    def read(self, anchor: Anchor) -> ImageArray:
        self.reads += 1
        return read_image(anchor.path)

    def retriever(self, **appearance: object) -> AppearanceRetriever:
        settings = {"mode": "search", "folder": self.folder / "descriptors"} | appearance
        options = RetrieveOptions(max_candidates=3, appearance=AppearanceOptions(**settings))  # type: ignore[arg-type]
        describer = TokenDescriber(seeded_engine(), options.appearance.whitening)
        return AppearanceRetriever(describer, options, self.read)


@pytest.fixture
def street(tmp_path: Path) -> Street:
    return Street(tmp_path)


def photo_of(number: int) -> Query:
    """What a visitor photographs beside anchor `number`: the same picture, a little brighter."""
    pixels = np.clip(random_photo(64, 48, number).astype(int) + 2, 0, 255).astype(np.uint8)
    return Query("q", pixels, CAMERA, np.full(3, np.nan))


def pairs_of(anchors: list[Anchor]) -> list[Pair]:
    return [Pair("q", anchor.id, rank, 1.0 + rank, 0.0) for rank, anchor in enumerate(anchors)]


@pytest.mark.parametrize("number", [0, 3, 5])
def test_reranking_brings_what_looks_alike_to_the_front(street: Street, number: int) -> None:
    pairs = pairs_of(street.anchors)
    choice = street.retriever().rerank(photo_of(number), pairs, street.anchors)
    assert len(choice.pairs) == 3
    assert choice.pairs[0] == replace(pairs[number], rank=0)
    assert [pair.rank for pair in choice.pairs] == [0, 1, 2]
    assert [anchor.id for anchor in choice.anchors] == [pair.anchor_id for pair in choice.pairs]
    assert choice.unusable == ()


def test_checking_keeps_the_order_by_place_and_says_how_alike_all_candidates_are(street: Street) -> None:
    pairs = pairs_of(street.anchors)
    choice = street.retriever(mode="check").rerank(photo_of(4), pairs, street.anchors)
    assert choice.pairs == tuple(pairs[:3])
    assert set(choice.likeness) == {anchor.id for anchor in street.anchors}
    assert max(choice.likeness, key=lambda name: choice.likeness[name]) == "a4"
    assert street.retriever().rerank(photo_of(4), pairs, street.anchors).likeness == choice.likeness
    assert "a4" in street.retriever().search(photo_of(4), street.anchors).likeness


def test_a_photo_without_a_place_is_found_among_all_anchors(street: Street) -> None:
    choice = street.retriever().search(photo_of(4), street.anchors)
    assert choice.anchors[0].id == "a4"
    assert len(choice.pairs) == 3
    assert np.isnan(choice.pairs[0].distance_m)


def test_descriptors_are_kept_under_the_content_of_the_pictures(street: Street) -> None:
    first = street.retriever().search(photo_of(4), street.anchors)
    assert street.reads == len(street.anchors)
    again = street.retriever().search(photo_of(4), street.anchors)
    assert street.reads == len(street.anchors)
    assert [pair.anchor_id for pair in again.pairs] == [pair.anchor_id for pair in first.pairs]
    changed = [street.anchor(0, 0.0, seed=77), *street.anchors[1:]]
    moved = street.retriever().search(photo_of(77), changed)
    assert street.reads == len(street.anchors) + 1
    assert moved.anchors[0].id == "a0"


def test_the_network_the_whitening_and_our_own_version_are_part_of_the_key(
    street: Street, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    street.retriever().search(photo_of(1), street.anchors)
    whitening = {"prewhiten.m": torch.zeros(1, 64), "prewhiten.p": torch.eye(64)[:, :8]}
    torch.save(whitening, tmp_path / "whitening.pth")
    found = street.retriever(whitening=tmp_path / "whitening.pth").search(photo_of(1), street.anchors)
    assert found.anchors[0].id == "a1"
    assert street.reads == 2 * len(street.anchors)
    monkeypatch.setattr(by_appearance, "DESCRIPTOR_VERSION", 2)
    street.retriever().search(photo_of(1), street.anchors)
    assert street.reads == 3 * len(street.anchors)
    with pytest.raises(ModelError, match=r"absent\.pth"):
        street.retriever(whitening=tmp_path / "absent.pth")


def test_candidates_of_one_place_and_view_do_not_crowd_out_others(street: Street) -> None:
    """Three pictures of the same spot look most alike, but add nothing to each other."""
    twins = [street.anchor(10 + copy, 0.1 * copy, seed=4) for copy in range(3)]
    anchors = [*street.anchors, *twins]
    choice = street.retriever().rerank(photo_of(4), pairs_of(anchors), anchors)
    spots = [anchor.world_from_cam.translation_m[0] for anchor in choice.anchors]
    assert choice.anchors[0].id in {"a4", "a10", "a11", "a12"}
    assert len({round(spot) for spot in spots}) == 3


def test_unreadable_pictures_are_named_and_come_last(street: Street) -> None:
    broken = street.anchors[2]
    broken.path.write_bytes(b"no picture")
    retriever = street.retriever()

    def read(anchor: Anchor) -> ImageArray:
        if anchor.id == broken.id:
            raise InputError(f"{anchor.path}: not an image")
        return street.read(anchor)

    retriever = AppearanceRetriever(TokenDescriber(seeded_engine()), retriever.options, read)
    choice = retriever.search(photo_of(2), street.anchors)
    assert broken.id not in {pair.anchor_id for pair in choice.pairs}
    assert choice.unusable == (f"anchor a2: {broken.path}: not an image",)
    few = [broken, street.anchors[0]]
    assert [pair.anchor_id for pair in retriever.rerank(photo_of(2), pairs_of(few), few).pairs] == ["a0", "a2"]


def test_a_panorama_is_compared_face_by_face(street: Street) -> None:
    from geocorrect.geometry.remap import panorama_faces, pixel_map

    camera = Camera.spherical(256, 128)
    pixels = np.random.default_rng(3).integers(0, 256, (128, 256, 3), dtype=np.uint8)
    face_from_cam, face = panorama_faces(camera)[1]
    seen = pixel_map(camera, face, face_from_cam).apply(pixels)
    path = street.folder / "face.png"
    PillowImage.fromarray(seen).save(path)
    anchors = [*street.anchors, replace(street.anchors[0], id="face", path=path, sha256=sha256_of(path))]
    choice = street.retriever().search(Query("q", pixels, camera, np.full(3, np.nan)), anchors)
    assert choice.anchors[0].id == "face"


def test_place_gives_more_candidates_when_appearance_decides() -> None:
    assert RetrieveOptions(max_candidates=4).by_place.max_candidates == 4
    reranked = RetrieveOptions(max_candidates=4, appearance=AppearanceOptions("rerank", candidates=20))
    assert reranked.by_place.max_candidates == 20
    assert not reranked.searches_scene(10)
    searching = replace(reranked, appearance=AppearanceOptions("search", max_scene_anchors=10))
    assert searching.searches_scene(10)
    assert not searching.searches_scene(11)
    with pytest.raises(ValueError, match="at least 1"):
        AppearanceOptions(candidates=0)


@pytest.mark.parametrize("matcher", ["eloftr", "lightglue_superpoint", "mickey"])
def test_matchers_that_compute_nothing_of_single_photos_are_refused(matcher: MatcherName) -> None:
    assert not describes_photos(MatchSection(matcher=matcher))
    with pytest.raises(ConfigError, match=rf'"rerank" compares photos by .* "{matcher}" has none'):
        AppearanceOptions("rerank").require_descriptors(matcher, has_descriptors=False)


def test_retrieval_is_built_around_what_the_matcher_computes(street: Street) -> None:
    """The tokens of a network that has them, else the local features of the first stage that has any; none when off."""
    engine, sift = seeded_engine(), SiftMatcher()
    mast3r = SymmetricMatcher(Mast3rMatcher(engine, MatchingRules()), 1.0)
    assert token_engine(CascadeMatcher({"sift": sift, "mast3r": mast3r})) is engine
    assert token_engine(sift) is None
    assert local_features(mast3r) is None
    found = local_features(CascadeMatcher({"mast3r": mast3r, "sift": SymmetricMatcher(sift, 1.0)}))
    assert found is not None
    assert found[1] == sift.feature_identity
    photo = random_photo(64, 48)
    np.testing.assert_array_equal(found[0](photo), sift.features(photo).descriptors)
    off = Settings()
    assert build_appearance(off, sift, read_anchor) is None
    rerank = off.model_copy(
        update={"retrieve": RetrieveOptions(appearance=AppearanceOptions("rerank", folder=street.folder / "kept"))}
    )
    by_tokens, by_features = (build_appearance(rerank, matcher, read_anchor) for matcher in (mast3r, sift))
    assert by_tokens is not None
    assert by_features is not None
    assert by_tokens.is_trained
    assert not by_features.is_trained
    with pytest.raises(ConfigError, match='"rerank" .* has none'):
        build_appearance(rerank, Nothing(), read_anchor)


class Nothing:
    """A matcher that computes nothing of single photos."""

    fingerprint = "nothing"

    def match(self, query: ImageArray, anchors: list[ImageArray]) -> list[Matches]:
        return [Matches.empty() for _ in anchors]


def test_thin_pictures_change_nothing_and_stop_nobody(street: Street) -> None:
    thin = Query("q", random_photo(640, 10), Camera.pinhole(640, 10, 60.0, 60.0, 319.5, 4.5), np.full(3, np.nan))
    pairs = pairs_of(street.anchors)
    assert street.retriever().rerank(thin, pairs, street.anchors).pairs == tuple(pairs[:3])
    assert street.retriever().search(thin, street.anchors).pairs == ()
    path = street.folder / "thin.png"
    PillowImage.fromarray(random_photo(640, 10)).save(path)
    anchors = [replace(street.anchors[0], id="thin", path=path, sha256=sha256_of(path)), *street.anchors]
    retriever = street.retriever()
    choice = retriever.search(photo_of(3), anchors)
    assert choice.anchors[0].id == "a3"
    assert choice.unusable == ("anchor thin: 640×10 pixels are too thin for the network",)
    reads = street.reads
    again = retriever.search(photo_of(5), anchors)
    assert again.anchors[0].id == "a5"
    assert again.unusable == choice.unusable
    assert street.reads == reads, "the scene is not gone through again for every photo"

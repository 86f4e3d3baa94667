"""Photos in, keypoints out: pixels of the photo, the cache, sizes that the network refuses, licences."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.mickey_world import random_photo, seeded_engine, seeded_model

from geocorrect.errors import ConfigError, ModelError
from geocorrect.networks.mickey.engine import MickeyEngine, is_too_thin, network_image, place
from geocorrect.networks.mickey.loading import BACKBONE_FILE, HEADS_FILE, load_engine
from geocorrect.networks.runtime import Runtime
from geocorrect.networks.store import TensorStore
from geocorrect.networks.weights import ModelAccess, Profile


@pytest.mark.parametrize("size", [(540, 720), (720, 540), (1000, 752), (4000, 3000), (333, 251)])
def test_the_way_back_is_exact(size: tuple[int, int]) -> None:
    """The picture's corner is half a pixel outside the first pixel's centre, in the photo and in the network image."""
    placement = place(*size)
    scale = np.array(placement.resized_size) / np.array(size)
    np.testing.assert_allclose(placement.to_photo(np.array([[-0.5, -0.5]])), [[-0.5, -0.5]], atol=1e-12)
    cut = np.array([placement.size]) - 0.5
    np.testing.assert_allclose(placement.to_photo(cut), np.array([placement.size]) / scale - 0.5, rtol=1e-12)
    px = np.random.default_rng(0).uniform(0, 500, (20, 2))
    np.testing.assert_allclose(placement.to_network(placement.to_photo(px)), px, atol=1e-9)
    assert all(length % 14 == 0 for length in placement.size)
    assert all(0 <= a - b < 14 for a, b in zip(placement.resized_size, placement.size, strict=True))


def test_the_trained_size_is_left_as_it_is() -> None:
    photo = random_photo(540, 720)
    image, placement = network_image(photo)
    np.testing.assert_array_equal(image, photo[:714, :532])
    px = np.array([[3.25, 700.5]])
    np.testing.assert_array_equal(placement.to_photo(px), px)


def test_a_bright_spot_is_found_where_it_is() -> None:
    """A photo of twice the size: the centre of a spot in the network image maps back onto its centre in the photo."""
    photo = np.zeros((1440, 1080, 3), np.uint8)
    photo[600:604, 400:404] = 255  # centre at (401.5, 601.5)
    image, placement = network_image(photo)
    v, u = np.nonzero(image[..., 0])
    centre = np.average(np.stack([u, v], axis=1), axis=0, weights=image[v, u, 0])
    np.testing.assert_allclose(placement.to_photo(centre[None]), [[401.5, 601.5]], atol=1e-9)


@pytest.mark.parametrize(
    ("size", "thin"), [((720, 98), False), ((720, 97), True), ((20, 720), True), ((97, 97), False)]
)
def test_what_is_too_thin_is_known_beforehand(size: tuple[int, int], thin: bool) -> None:
    photo = np.zeros((size[1], size[0], 3), np.uint8)
    assert is_too_thin(photo) is thin
    if thin:
        with pytest.raises(ValueError, match="MicKey works on 7 to 256 per side"):
            network_image(photo)


def test_sizes_that_are_no_multiples_are_refused() -> None:
    model = seeded_model()
    with pytest.raises(ValueError, match="image size 141×140 is not a multiple of 14"):
        model.detect(torch.zeros(1, 3, 140, 141))
    with pytest.raises(ValueError, match="6×10 cells"):
        model.detect(torch.zeros(1, 3, 140, 84))


@pytest.mark.long
def test_every_photo_is_seen_once_and_batches_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = seeded_engine(TensorStore(tmp_path))
    photos = [random_photo(160, 128, seed) for seed in range(5)] + [random_photo(128, 160, 9)]
    together = engine.keypoints([*photos, photos[0]])
    alone = [seeded_engine().keypoints([photo])[0] for photo in photos]
    for one, other in zip(together, [*alone, alone[0]], strict=True):
        np.testing.assert_allclose(one.photo_px(), other.photo_px(), atol=1e-3)
        np.testing.assert_allclose(one.depth_m(), other.depth_m(), rtol=1e-3, atol=1e-4)
    monkeypatch.setattr(engine.model, "detect", lambda images: pytest.fail("seen twice"))
    again = engine.keypoints(photos)
    np.testing.assert_array_equal(again[2].photo_px(), together[2].photo_px())
    from_disk = seeded_engine(TensorStore(tmp_path))
    monkeypatch.setattr(from_disk.model, "detect", lambda images: pytest.fail("seen twice"))
    np.testing.assert_array_equal(from_disk.keypoints(photos[:1])[0].depth_m(), together[0].depth_m())


def test_keypoints_lie_in_their_cells_and_the_border_scores_nothing() -> None:
    (found,) = seeded_engine().keypoints([random_photo(280, 224)])
    network_px = found.placement.to_network(found.photo_px()).reshape(8, 10, 2)
    cells = np.stack(np.meshgrid(np.arange(10), np.arange(8)), axis=-1)
    np.testing.assert_array_equal(np.floor(network_px / 14), cells)
    inner = found.inner().reshape(8, 10)
    assert inner.sum() == 4 * 2
    assert (found.score().reshape(8, 10)[~inner] == 0).all()
    assert (found.score().reshape(8, 10)[inner] > 0).all()


def test_numbers_that_overflow_are_named() -> None:
    model = seeded_model()
    with torch.no_grad():
        model.extractor.depth_head.depth.weight.fill_(torch.inf)
    with pytest.raises(ModelError, match="mickey: the depth head gave numbers that are not finite in float32"):
        model.detect(torch.rand(1, 3, 140, 140))


@pytest.fixture
def access(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelAccess:
    """MicKey is on the list of models; its weights are not on this machine."""
    return ModelAccess(tmp_path / "weights")


def test_weights_that_are_missing_are_described(access: ModelAccess) -> None:
    with pytest.raises(ModelError) as error:
        load_engine(Runtime(device="cpu", access=access))
    text = str(error.value)
    for part in (HEADS_FILE, BACKBONE_FILE, "Niantic", "patent", "models fetch mickey --accept-licence", "eloftr"):
        assert part in text


def test_the_commercial_profile_refuses_them_wherever_they_lie(access: ModelAccess, tmp_path: Path) -> None:
    mine = tmp_path / "own.ckpt"
    mine.write_bytes(b"x")
    commercial = Runtime(device="cpu", access=replace(access, profile=Profile.COMMERCIAL))
    for checkpoint in (None, mine):
        with pytest.raises(ModelError, match="mickey: the weights of MicKey .* non-commercial"):
            load_engine(commercial, checkpoint=checkpoint)
    with pytest.raises(ModelError, match="was not accepted"):
        load_engine(Runtime(device="cpu", access=access), checkpoint=mine)


def test_an_accepted_file_of_your_own_is_loaded_when_it_is_used(access: ModelAccess, tmp_path: Path) -> None:
    from geocorrect.networks.weights import accept

    accept("mickey", access)
    mine = tmp_path / "own.ckpt"
    mine.write_bytes(b"no checkpoint")
    engine = load_engine(Runtime(device="cpu", access=access), checkpoint=mine)
    assert engine.fingerprint.startswith("mickey/")
    assert engine.fingerprint.endswith("/float32/720")
    with pytest.raises(ModelError, match=r"own.ckpt: .*damaged"):
        assert engine.model.sizes


@pytest.mark.parametrize("long_side_px", [0, 97, 3598])
def test_an_image_size_that_fits_no_photo_is_refused_at_once(long_side_px: int) -> None:
    with pytest.raises(ConfigError, match=f"long_side_px must be 98 to 3597, got {long_side_px}"):
        MickeyEngine(None, "none", TensorStore(), long_side_px, torch.float32)  # type: ignore[arg-type]

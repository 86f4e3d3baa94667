"""The depth back-ends with small random networks of the real classes: sizes, focal length, what gives no point."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support import weights_world
from support.mast3r_world import random_photo

from geocorrect.depth.base import DepthSource
from geocorrect.depth.monocular import (
    TRAINED_FOCAL,
    DepthAnythingOptions,
    MonocularDepth,
    Scene,
    Size,
    ZoeDepthOptions,
    build_depth_anything,
    build_zoedepth,
)
from geocorrect.depth.predictors import DepthAnything, DepthPro, Prediction, ZoeDepth
from geocorrect.errors import InputError, ModelError
from geocorrect.geometry.camera import Camera
from geocorrect.networks.cards import CARDS, Task
from geocorrect.networks.runtime import Runtime
from geocorrect.networks.weights import Checkpoint

OUTDOOR = CARDS["depth_anything_v2_outdoor_large"]


def pinhole(width: int, height: int, focal_px: float) -> Camera:
    return Camera.pinhole(width, height, focal_px, focal_px, (width - 1) / 2, (height - 1) / 2)


def camera_of(image: np.ndarray, focal_px: float = 60.0) -> Camera:
    return pinhole(image.shape[1], image.shape[0], focal_px)


@pytest.fixture(scope="module")
def depth_anything(tmp_path_factory: pytest.TempPathFactory) -> MonocularDepth:
    folder = tmp_path_factory.mktemp("weights")
    runtime = weights_world.runtime_with(folder, OUTDOOR.name, weights_world.depth_anything)
    return build_depth_anything(DepthAnythingOptions(runtime, short_side_px=56))


class Flat:
    """A network that sees a plane of the given depths (h, w)."""

    def __init__(self, z_m: np.ndarray) -> None:
        self.z_m = z_m.astype(np.float32)
        self.calls = 0

    def __repr__(self) -> str:
        return "Flat()"

    def needs(self, camera: Camera) -> str:
        return ""

    def predict(self, image: np.ndarray, camera: Camera) -> Prediction:
        self.calls += 1
        return Prediction(self.z_m)

    def focal_factor(self, camera: Camera) -> float:
        return 1.0


class HeadOf(Flat):
    """A network whose head for the photo ends at cap_m: a wall 4 m away on the left, 9.8 m everywhere else."""

    def __init__(self, cap_m: float) -> None:
        super().__init__(np.where(np.arange(64)[None, :] < 30, 4.0, np.full((48, 64), 9.8)))
        self.cap_m = cap_m

    def predict(self, image: np.ndarray, camera: Camera) -> Prediction:
        return Prediction(self.z_m, self.cap_m)


def source_seeing(z_m: np.ndarray) -> MonocularDepth:
    return MonocularDepth(Flat(z_m), Checkpoint(OUTDOOR, Path(), "flat"), Runtime(device="cpu"), edge_ratio=1.15)


DARK = np.full((48, 64, 3), 60, np.uint8)


def test_depth_anything_covers_the_photo_in_metres(depth_anything: MonocularDepth) -> None:
    assert isinstance(depth_anything, DepthSource)
    photo = random_photo(100, 75)
    predicted = depth_anything.predictor.predict(photo, camera_of(photo)).z_m
    assert predicted.shape == (56, 70)
    assert ((predicted > 0) & (predicted < 80)).all()
    found = depth_anything.depth_of(photo, camera_of(photo))
    assert found.z_m is not None
    assert found.z_m.shape == (75, 100)
    assert not found.is_oracle
    assert found.common_log_sigma == pytest.approx(0.20)


def test_the_network_runs_in_exact_float32(depth_anything: MonocularDepth) -> None:
    """On CUDA torch's own default for convolutions is TF32, whose mantissa has 10 bits."""
    convolutions, seen = torch.backends.cudnn, list[bool]()
    before = convolutions.allow_tf32
    model: torch.nn.Module = depth_anything.predictor.model  # type: ignore[attr-defined]
    hook = model.register_forward_pre_hook(lambda *_: seen.append(convolutions.allow_tf32))
    try:
        convolutions.allow_tf32 = True
        depth_anything.predictor.predict(random_photo(100, 75), pinhole(100, 75, 60.0))
        assert seen == [False]
        assert convolutions.allow_tf32
    finally:
        hook.remove()
        convolutions.allow_tf32 = before


def test_indoor_and_outdoor_caps_come_from_the_weights(tmp_path: Path) -> None:
    name = "depth_anything_v2_indoor_small"
    runtime = weights_world.runtime_with(tmp_path, name, lambda f: weights_world.depth_anything(f, max_depth=20))
    source = build_depth_anything(DepthAnythingOptions(runtime, Size.SMALL, Scene.INDOOR, short_side_px=56))
    photo = random_photo(64, 64)
    assert source.predictor.predict(photo, camera_of(photo)).z_m.max() < 20
    assert source.rules.range_m == (0.2, 20.0)


@pytest.mark.parametrize(("scene", "trained"), [(Scene.OUTDOOR, 725.0087 / 375), (Scene.INDOOR, 886.81 / 768)])
def test_depth_is_rescaled_by_the_focal_length_on_request(tmp_path: Path, scene: Scene, trained: float) -> None:
    """A thing of one size in the picture is twice as far behind a lens of twice the focal length."""
    name, cap_m = f"depth_anything_v2_{scene}_small", {Scene.OUTDOOR: 80, Scene.INDOOR: 20}[scene]
    runtime = weights_world.runtime_with(tmp_path, name, lambda f: weights_world.depth_anything(f, max_depth=cap_m))
    plain = build_depth_anything(DepthAnythingOptions(runtime, Size.SMALL, scene, short_side_px=56))
    asked = DepthAnythingOptions(runtime, Size.SMALL, scene, short_side_px=56, rescale_by_focal=True)
    scaled = build_depth_anything(asked)
    assert TRAINED_FOCAL[scene] == pytest.approx(trained)
    assert scaled.fingerprint != plain.fingerprint
    photo = random_photo(64, 48)
    as_predicted = plain.depth_of(photo, camera_of(photo, 50.0)).z_m
    assert as_predicted is not None
    assert np.isfinite(as_predicted).any()
    for focal_px in (48 * trained, 96 * trained, 30.0):
        np.testing.assert_array_equal(plain.depth_of(photo, camera_of(photo, focal_px)).z_m, as_predicted)
        found = scaled.depth_of(photo, camera_of(photo, focal_px)).z_m
        np.testing.assert_allclose(found, as_predicted * focal_px / (48 * trained), rtol=1e-5)


@pytest.mark.parametrize("name", [name for name, card in CARDS.items() if card.task is Task.DEPTH])
def test_every_network_declares_a_range_and_an_error_common_to_the_image(name: str) -> None:
    source = MonocularDepth(Flat(np.full((48, 64), 9.0)), Checkpoint(CARDS[name], Path(), name), Runtime(), 1.15)
    found = source.depth_of(DARK, camera_of(DARK))
    nearest, farthest = source.rules.range_m
    assert 0 < nearest < farthest <= 100
    assert 0.2 <= found.common_log_sigma <= 0.8
    assert found.log_sigma == pytest.approx(0.42 * found.common_log_sigma)


def test_describing_a_source_and_reading_its_cache_load_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = weights_world.runtime_with(tmp_path, OUTDOOR.name, weights_world.depth_anything)
    runtime = replace(runtime, cache_folder=tmp_path / "cache")
    options = DepthAnythingOptions(runtime, short_side_px=56)
    photo = random_photo(64, 48)
    first = build_depth_anything(options).depth_of(photo, camera_of(photo)).z_m

    def unexpected(*arguments: object, **settings: object) -> None:
        raise AssertionError("the network was loaded")

    monkeypatch.setattr("geocorrect.networks.pretrained.load_pretrained", unexpected)
    again = build_depth_anything(options)
    assert OUTDOOR.name in again.fingerprint
    np.testing.assert_array_equal(again.depth_of(photo, camera_of(photo)).z_m, first)
    with pytest.raises(AssertionError, match="loaded"):
        again.depth_of(DARK, camera_of(DARK))


def test_a_relative_depth_model_is_refused(tmp_path: Path) -> None:
    relative = lambda folder: weights_world.depth_anything(folder, estimation="relative")  # noqa: E731
    runtime = weights_world.runtime_with(tmp_path, OUTDOOR.name, relative)
    with pytest.raises(ModelError, match="relative-depth model"):
        build_depth_anything(DepthAnythingOptions(runtime)).depth_of(DARK, camera_of(DARK))


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    runtime = weights_world.runtime_with(tmp_path, OUTDOOR.name, weights_world.zoedepth)
    with pytest.raises(ModelError, match="depth_anything_v2_outdoor_large"):
        build_depth_anything(DepthAnythingOptions(runtime)).depth_of(DARK, camera_of(DARK))


def test_a_tensor_missing_from_the_weights_is_refused_not_invented(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    def write(folder: Path) -> None:
        weights_world.depth_anything(folder)
        tensors = load_file(folder / "model.safetensors")
        del tensors["head.conv3.weight"]
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    runtime = weights_world.runtime_with(tmp_path, OUTDOOR.name, write)
    with pytest.raises(ModelError, match=r"1 tensors missing.*`head.conv3.weight`"):
        build_depth_anything(DepthAnythingOptions(runtime)).depth_of(DARK, camera_of(DARK))


@pytest.mark.parametrize("keep", [0.0, 0.5])
def test_truncated_weights_are_refused(tmp_path: Path, keep: float) -> None:
    def write(folder: Path) -> None:
        weights_world.depth_anything(folder)
        data = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(data[: int(len(data) * keep)])

    runtime = weights_world.runtime_with(tmp_path, OUTDOOR.name, write)
    with pytest.raises(ModelError, match=str(tmp_path)):
        build_depth_anything(DepthAnythingOptions(runtime)).depth_of(DARK, camera_of(DARK))


def test_depth_pro_formula_by_hand() -> None:
    """Canonical inverse depth 0.5 seen by a camera with focal = 2 widths is 4 m away."""

    class Canonical:
        device, dtype = torch.device("cpu"), torch.float32

        def __call__(self, pixel_values: torch.Tensor) -> SimpleNamespace:
            assert pixel_values.shape == (1, 3, 1536, 1536)
            return SimpleNamespace(predicted_depth=torch.full((1, 8, 8), 0.5))

    found = DepthPro(Canonical()).predict(DARK, pinhole(64, 48, 128.0)).z_m
    np.testing.assert_allclose(found, 4.0)


def test_zoedepth_removes_its_margins(tmp_path: Path) -> None:
    runtime = weights_world.runtime_with(tmp_path, "zoedepth_kitti", weights_world.zoedepth)
    source = build_zoedepth(ZoeDepthOptions(runtime))
    assert isinstance(source.predictor, ZoeDepth)
    small = replace(source.predictor, size=(128, 96))
    photo = random_photo(100, 75)
    found = small.predict(photo, camera_of(photo))
    assert found.z_m.shape == (75, 100)
    assert found.cap_m == 80.0


@pytest.mark.long
@pytest.mark.parametrize(("chosen", "cap_m"), [("nyu", 10.0), ("kitti", 80.0)])
def test_the_cap_is_that_of_the_head_that_the_network_chose(tmp_path: Path, chosen: str, cap_m: float) -> None:
    two_heads = lambda folder: weights_world.zoedepth_two_heads(folder, chosen)  # noqa: E731
    runtime = weights_world.runtime_with(tmp_path, "zoedepth_nyu_kitti", two_heads)
    source = build_zoedepth(ZoeDepthOptions(replace(runtime, cache_folder=tmp_path / "cache"), Scene.INDOOR))
    assert isinstance(source.predictor, ZoeDepth)
    source.predictor = replace(source.predictor, size=(128, 96))
    photo = random_photo(100, 75)
    assert source.predictor.predict(photo, camera_of(photo)).cap_m == cap_m
    source.depth_of(photo, camera_of(photo))
    # What the cache gives back knows the head too.
    source.predictor = replace(source.predictor, model=None)
    assert source._predicted(photo, camera_of(photo)).cap_m == cap_m


@pytest.mark.parametrize(("indoor", "farthest_m"), [(True, 9.5), (False, 76.0)])
def test_saturation_at_the_cap_of_the_chosen_head_gives_no_point(indoor: bool, farthest_m: float) -> None:
    """Everything far away squashed to 9.8 m is saturation when the indoor head spoke, and depth when the other did."""
    card = CARDS["zoedepth_nyu_kitti"]
    source = MonocularDepth(HeadOf(10.0 if indoor else 80.0), Checkpoint(card, Path(), "heads"), Runtime(), 1.15)
    found = source.depth_of(DARK, camera_of(DARK)).z_m
    assert found is not None
    assert np.isnan(found[:, 40:]).all() == indoor
    assert np.nanmax(found) <= farthest_m
    np.testing.assert_array_equal(found[:, :20], 4.0)


def test_zoedepth_margins_are_exact() -> None:
    """A network that returns its input's columns must give back the photo's columns."""

    class Columns:
        device, dtype = torch.device("cpu"), torch.float32
        config = SimpleNamespace(bin_configurations=[weights_world.KITTI_BINS])

        def __call__(self, pixel_values: torch.Tensor) -> SimpleNamespace:
            assert len(pixel_values) == 1
            return SimpleNamespace(predicted_depth=pixel_values[:, 0], domain_logits=None)

    ramp = np.repeat(np.arange(0, 240, 2, dtype=np.uint8)[None, :], 90, axis=0)
    photo = np.repeat(ramp[..., None], 3, axis=2)
    found = ZoeDepth(Columns(), size=(512, 384)).predict(photo, camera_of(photo)).z_m
    expected = (photo[..., 0] / 255.0 - 0.5) / 0.5
    assert np.abs(found - expected)[4:-4, 4:-4].max() < 0.01


def test_range_cap_and_edges_give_no_point() -> None:
    z = np.full((48, 64), 20.0)
    z[:, 40:] = 40.0
    z[0, :10] = 79.9
    z[-1, :10] = 0.1
    z[24, 5] = np.nan
    found = source_seeing(z).depth_of(DARK, camera_of(DARK)).z_m
    assert found is not None
    assert np.isnan(found[0, :10]).all()
    assert np.isnan(found[-1, :10]).all()
    assert np.isnan(found[24, 5])
    assert np.isnan(found[:, 39:41]).all()
    np.testing.assert_array_equal(found[5:20, 10:38], 20.0)
    np.testing.assert_array_equal(found[5:20, 43:], 40.0)


def test_nan_spreads_when_the_photo_is_larger_than_the_network() -> None:
    z = np.full((48, 64), 20.0)
    z[20, 30] = np.nan
    photo = np.full((96, 128, 3), 60, np.uint8)
    found = source_seeing(z).depth_of(photo, camera_of(photo)).z_m
    assert found is not None
    assert found.shape == (96, 128)
    assert np.isnan(found[40:42, 60:62]).all()
    assert np.nanmin(found) == np.nanmax(found) == 20.0


def test_sky_gives_no_point() -> None:
    street = DARK.copy()
    street[:20] = (150, 180, 225)
    street[30:40, 10:20] = (150, 180, 225)  # a blue sign is not sky: nothing connects it to the upper border
    found = source_seeing(np.full((48, 64), 30.0)).depth_of(street, camera_of(street)).z_m
    assert found is not None
    assert np.isnan(found[:18]).all()
    assert np.isfinite(found[30:40, 10:20]).all()


def test_prediction_is_computed_once_per_photo() -> None:
    source = source_seeing(np.full((48, 64), 20.0))
    for _ in range(3):
        source.depth_of(DARK, camera_of(DARK))
    assert isinstance(source.predictor, Flat)
    assert source.predictor.calls == 1


def test_camera_must_fit() -> None:
    source = source_seeing(np.full((48, 64), 20.0))
    with pytest.raises(InputError, match=r"anchor-7: image is 64×48, its camera 640×480"):
        source.depth_of(DARK, pinhole(640, 480, 500.0), "anchor-7")
    panorama = np.zeros((32, 64, 3), np.uint8)
    with pytest.raises(InputError, match="spherical"):
        source.depth_of(panorama, Camera.spherical(64, 32))


def test_fingerprints_tell_settings_apart(depth_anything: MonocularDepth) -> None:
    other = MonocularDepth(
        replace(depth_anything.predictor, short_side_px=70),  # type: ignore[type-var]
        Checkpoint(OUTDOOR, Path(), "same"),
        Runtime(device="cpu"),
        edge_ratio=1.15,
    )
    assert isinstance(depth_anything.predictor, DepthAnything)
    assert other.fingerprint != depth_anything.fingerprint
    assert "518" not in depth_anything.fingerprint

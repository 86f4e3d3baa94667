"""Photos of one device agree on its lens; stated in the configuration, it is used."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support import catalog_world
from support.known_world import CAMERA, world

from geocorrect.catalog import Catalog
from geocorrect.catalog.sequences import SequenceStore
from geocorrect.config import Settings, load_settings
from geocorrect.errors import ConfigError
from geocorrect.geometry.camera import Camera
from geocorrect.jobs.devices import VALUES, DeviceFinding, device_findings, device_lines, lens_toml
from geocorrect.localize.correct import localize
from geocorrect.localize.joint.device_lens import Agreed, DeviceLens, agreed, stated_camera
from geocorrect.localize.joint.lens import LENS_SIGMAS
from geocorrect.localize.options import LocalizeOptions
from geocorrect.records import Correction, Image

WRONG = 1.03
"""Stated over true focal length."""


def photo(name: str, camera: Camera) -> Image:
    return Image(name, None, camera, None, device_make="Acme", device_model="Cam 1")


def localized(seed: int, camera: Camera) -> Correction:
    known, query, views = world(seed)
    query = replace(query, image_id=f"photo-{seed}", camera=camera)
    found = localize(query, views, known, known, LocalizeOptions(), seed=0).result
    assert isinstance(found, Correction)
    return found


class Results:
    """What a catalog would say of some photos."""

    def __init__(self, found: Sequence[Correction], cameras: Sequence[Camera]) -> None:
        self.found = found
        self.photos = {c.image_id: photo(c.image_id, camera) for c, camera in zip(found, cameras, strict=True)}

    def results(self, wanted: Any) -> Any:
        return iter([SimpleNamespace(image_id=c.image_id, result=c) for c in self.found])

    def images(self, ids: Sequence[str]) -> dict[str, Image]:
        return {name: self.photos[name] for name in ids}


def findings(found: Sequence[Correction], cameras: Sequence[Camera]) -> list[DeviceFinding]:
    catalog: Any = Results(found, cameras)
    return device_findings(catalog)


def test_photos_of_a_device_find_its_focal_length_together() -> None:
    """Stated 3 % too long as if calibrated. Found, stated in the configuration and used, the pose is better."""
    wrong = replace(CAMERA.with_focal_scaled(WRONG), focal_sigma=3e-4)
    found = [localized(seed, wrong) for seed in range(5)]
    (device,) = findings(found, [wrong] * 5)
    assert abs(device.log_focal.value - np.log(CAMERA.focal_x_px)) < 3 * device.log_focal.sigma < 0.012
    assert device.stated_sigmas > 5
    assert "contradicts" in device_lines([device])[0]
    assert findings(found[:4], [wrong] * 4) == []
    lens = device.lens()
    camera = stated_camera(photo("new", wrong), [lens])
    assert camera is not None
    assert camera.focal_x_px == pytest.approx(CAMERA.focal_x_px, rel=0.004)
    after, known = localized(0, camera), world(0)[0]
    assert abs(after.evidence.focal_ratio - 1) < 0.3 * abs(found[0].evidence.focal_ratio - 1)
    assert after.evidence.lens["focal_px"] == pytest.approx(found[0].evidence.lens["focal_px"], rel=0.005)
    assert np.linalg.norm(after.world_from_cam.translation_m - known.truth.translation_m) < 0.05


def test_a_stated_lens_is_for_its_own_device_alone() -> None:
    lens = DeviceLens("Acme", "Cam 1", 1024, 768, 0.8, 0.01, (510.0, 380.0), 0.01)
    image = photo("a", CAMERA)
    camera = stated_camera(image, [lens])
    assert camera is not None
    assert (camera.focal_x_px, camera.focal_sigma) == (pytest.approx(819.2), 0.01)
    assert (camera.principal_x_px, camera.principal_y_px) == (510.0, 380.0)
    assert camera.distortion[0] != CAMERA.distortion[0]
    for other in (replace(image, device_model="Cam 2"), replace(image, camera=CAMERA.resized(512, 384))):
        assert stated_camera(other, [lens]) is other.camera


def test_a_readout_is_stated_with_or_without_a_focal_length(tmp_path: Path) -> None:
    readout = DeviceLens("Acme", "Cam 1", 1024, 768, readout_s=0.03)
    assert stated_camera(photo("a", CAMERA), [readout]) == replace(CAMERA, readout_s=0.03)
    both = stated_camera(photo("a", CAMERA), [replace(readout, focal=0.8)])
    assert both is not None
    assert (both.focal_x_px, both.readout_s) == (pytest.approx(819.2), 0.03)
    toml, device = tmp_path / "geocorrect.toml", {"make": "Acme", "model": "Cam 1", "width": 1024, "height": 768}
    lines = "\n".join(["[[camera.lenses]]", *(f"{name} = {json.dumps(value)}" for name, value in device.items())])
    toml.write_text(f"{lines}\nreadout_s = 0.03\n", encoding="utf-8")
    settings = load_settings(toml).settings
    assert settings.camera.lenses == (readout,)
    assert settings.fingerprint() != Settings().fingerprint()
    for line, message in (("readout_s = 30", "readout_s must be at most 0.2 seconds"), ("", "state focal, readout_s")):
        toml.write_text(f"{lines}\n{line}\n", encoding="utf-8")
        with pytest.raises(ConfigError, match=f"camera.lenses.*{message}"):
            load_settings(toml)


def test_few_wrong_estimates_move_the_agreed_one_little() -> None:
    random = np.random.default_rng(0)
    sigmas = random.uniform(0.5, 2.0, 200)
    values = 7.0 + sigmas * random.normal(size=200)
    values[::20] += 30.0
    found = agreed(values, sigmas)
    assert abs(found.value - 7.0) < 3 * found.sigma < 0.5
    assert found.spread == pytest.approx(1.0, abs=0.25)
    assert agreed(7.0 + 5 * (values - 7.0), sigmas).sigma > 4 * found.sigma


def test_the_lines_state_the_lens_in_the_configuration(tmp_path: Path) -> None:
    nothing = Agreed(0.1, 1.0, 1.0)
    device = DeviceFinding(
        'Ac"me', "Cam 1", 1024, 768, 7, Agreed(np.log(800.0), 0.004, 1.1), nothing, Agreed(-9.0, 1.0, 1.0), nothing,
        (511.5, 383.5), 824.0, 7.0,
    )  # fmt: skip
    before = DeviceLens('Ac"me', "Cam 1", 1024, 768, 0.8, bend=0.02, readout_s=0.025)
    (tmp_path / "geocorrect.toml").write_text(lens_toml(device.lens([before])), encoding="utf-8")
    settings = load_settings(tmp_path / "geocorrect.toml").settings
    expected = DeviceLens('Ac"me', "Cam 1", 1024, 768, 0.78125, 0.004, (511.5, 374.5), 0.02, 0.025)
    assert settings.camera.lenses == (expected,)
    assert settings.fingerprint() != Settings().fingerprint()


def test_what_the_matches_say_of_a_lens_is_stored(catalog: Catalog) -> None:
    catalog_world.fill(catalog)
    stored = next(s for s in catalog.results() if isinstance(s.result, Correction))
    assert stored.result.evidence.lens == catalog_world.evidence(0).lens


def lens_photos(count: int, model: str, first: int, width: int = 1024) -> tuple[list[Image], list[Correction]]:
    """Accepted photos of a device, of which one is far off and some state no focal error."""
    random, photos, found = np.random.default_rng(first), [], []
    for n in range(first, first + count):
        stated = replace(CAMERA if width == CAMERA.width else CAMERA.resized(width, 600), focal_sigma=0.01)
        stated = replace(stated.with_focal_scaled(1 + 0.01 * random.normal()), principal_x_px=width / 2 + n % 3)
        camera = replace(stated, focal_sigma=np.nan) if n % 3 == 0 else stated
        sigmas = random.uniform(0.5, 2.0, 4) * [0.005, 1.0, 1.0, 0.002]
        focal_px = 0.76 * width * np.exp(sigmas[0] * random.normal()) * (1.3 if n == first else 1.0)
        shifts = sigmas[1:] * random.normal(size=3)
        x_px, y_px = stated.principal_x_px + 4.0, stated.principal_y_px
        values = [focal_px, *np.add(shifts, [x_px, y_px, 0.01])]
        lens = dict(zip([*VALUES, *LENS_SIGMAS], [*values, *sigmas], strict=True))
        photos.append(replace(catalog_world.image(n), camera=camera, device_make="Acme", device_model=model))
        correction = catalog_world.correction(n)
        found.append(replace(correction, evidence=replace(correction.evidence, lens=lens)))
    return photos, found


def test_the_view_says_of_a_lens_what_the_command_says(catalog: Catalog) -> None:
    """Of each size; beside what the sequences say of a device, of its commonest one."""
    parts = [lens_photos(8, "Cam 1", 0), lens_photos(5, "Cam 1", 8, 800), lens_photos(4, "Cam 2", 13)]
    photos = [photo for some, _ in parts for photo in some]
    found = [correction for _, some in parts for correction in some]
    catalog_world.fill(catalog, 0)
    catalog.upsert_anchors(catalog_world.anchor(n) for n in range(18))
    catalog.upsert_images(photos)
    catalog.begin_run(catalog_world.manifest("run-b"))
    catalog.record("run-b", found)
    for model in ("Cam 1", "Cam 2"):
        finding = replace(catalog_world.finding(model), device_make="Acme", device_model=model)
        SequenceStore(catalog).record("run-b", finding)
    with catalog.engine.connect() as connection:
        lenses = connection.exec_driver_sql("select * from device_lens order by n_photos desc").mappings().all()
        devices = connection.exec_driver_sql("select * from device_finding order by device_model").mappings().all()
    wanted = device_findings(catalog)
    assert [(lens["width_px"], lens["n_photos"]) for lens in lenses] == [(1024, 8), (800, 5)]
    for lens, device in zip(lenses, wanted, strict=True):
        focal, x, y, bend = device.log_focal, device.principal_x_px, device.principal_y_px, device.bend
        expected = {
            "height_px": device.height, "focal_px": np.exp(focal.value), "focal_sigma": focal.sigma,
            "focal_spread": focal.spread, "stated_sigmas": device.stated_sigmas, "principal_x_sigma_px": x.sigma,
            "principal_x_px": device.principal_px[0] + x.value, "principal_x_shift_px": x.value,
            "principal_y_px": device.principal_px[1] + y.value, "principal_y_sigma_px": y.sigma, "bend": bend.value,
            "bend_sigma": bend.sigma, "stated_focal_px": device.focal_px,
            "focal_ratio": np.exp(focal.value) / device.focal_px,
        }  # fmt: skip
        found_of = {name: lens[name] for name in expected}
        assert found_of == pytest.approx(expected, rel=2e-4), "medians of logarithms, for one"
    assert (devices[0]["n_lens_photos"], devices[0]["focal_px"]) == (8, lenses[0]["focal_px"])
    assert devices[0]["n_sequences"] == 1
    assert (devices[1]["n_sequences"], devices[1]["n_lens_photos"], devices[1]["focal_ratio"]) == (1, None, None)

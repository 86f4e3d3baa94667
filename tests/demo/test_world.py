"""A small demo world on disk: readable by the ordinary readers, true to its truth, built once and built the same."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest

from geocorrect.anchors.alignment import read_alignment
from geocorrect.anchors.readers.vbr.sequence import read_vbr
from geocorrect.demo.render.surfaces import Quad, Scene
from geocorrect.demo.render.textures import Texture
from geocorrect.demo.render.visibility import SKY, RayGrid, visible_quads
from geocorrect.demo.world.build import (
    MANIFEST,
    DemoWorld,
    Studio,
    Task,
    _kept_textures,
    build_world,
    open_world,
    take_all,
)
from geocorrect.demo.world.drives import ENU_FROM_STREET
from geocorrect.demo.world.plan import SIZES
from geocorrect.errors import InputError, OutputError
from geocorrect.harvest.mapillary.metadata import read_image_record, with_camera
from geocorrect.io.pixels import image_size, read_image
from geocorrect.records import Anchor, MetadataQuality

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def content_hash(folder: Path) -> str:
    """Hash of the whole world as its manifest has it: equal for equal seeds, versions and libraries."""
    return str(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["content"])


@pytest.fixture(scope="module")
def anchors(small_world: DemoWorld) -> list[Anchor]:
    alignment = read_alignment(small_world.alignment)
    return [
        anchor
        for drive in small_world.drives
        for anchor in read_vbr(drive, drive / "vbr_calib.yaml", drive / f"{drive.name}_gt.txt", alignment)
    ]


@pytest.mark.long
def test_the_vbr_reader_finds_every_anchor_where_it_was(small_world: DemoWorld, anchors: list[Anchor]) -> None:
    assert len(anchors) == len(small_world.truth.anchors_m) == 6
    for anchor, true_m in zip(anchors, small_world.truth.anchors_m, strict=True):
        assert anchor.world_from_cam.translation_m == pytest.approx(true_m, abs=2e-3)
        assert anchor.lidar is not None


@pytest.mark.long
def test_lidar_and_pictures_show_the_same_world(anchors: list[Anchor]) -> None:
    """Project every return into the picture: the renderer sees the same depth there."""
    studio = Studio(7, SIZES["small"])
    scene = Scene.of(studio.plan.street.quads)
    anchor = anchors[0]
    assert anchor.lidar is not None
    cloud = np.fromfile(anchor.lidar.path, "<f4").reshape(-1, 4)[:, :3].astype(float)
    points = anchor.lidar.cam_from_lidar.apply(cloud[np.abs(cloud).sum(axis=1) > 0])
    px, visible = anchor.camera.project(points)
    visible &= anchor.camera.contains(px)
    street_from_cam = ENU_FROM_STREET.inverse() @ anchor.world_from_cam
    rays = RayGrid.of(anchor.camera)
    forms = scene.ray_forms(street_from_cam)
    index = visible_quads(scene, forms, rays, street_from_cam)
    column, row = np.rint(px[visible]).astype(int).T
    quad = index[row, column]
    ray = points[visible] / points[visible, 2:]
    depth = 1 / np.einsum("nj,nj->n", forms[quad][:, 2], ray)
    error = points[visible, 2] - depth
    assert visible.sum() > 1500
    assert (quad == SKY).mean() < 0.01
    hidden = error > 0.12  # the LiDAR sits higher and looks over what hides these points from the camera
    assert hidden.mean() < 0.15
    assert (error < -0.12).mean() < 0.02  # silhouettes: the pixel's centre sees past the edge
    assert error[~hidden & (error > -0.12)].std() == pytest.approx(0.02, rel=0.25)


@pytest.mark.long
def test_the_harvest_understands_the_metadata(small_world: DemoWorld) -> None:
    for record in small_world.metadata:
        image = read_image_record(record, NOW)
        assert image.problem is None
        assert image.quality is MetadataQuality.SFM
        pixels = read_image(small_world.photos[image.id], image.exif_orientation)
        assert pixels.shape == (record["height"], record["width"], 3)
        camera = with_camera(image, image_size(small_world.photos[image.id])).camera
        assert camera is not None
        assert (camera.width, camera.height) == (record["width"], record["height"])
        photo = small_world.truth.photos[image.id]
        if photo.localisable:
            assert image.computed_enu_from_cam is not None
            turn = image.computed_enu_from_cam.rotation * photo.world_from_cam.rotation.inv()
            assert np.degrees(turn.magnitude()) < 8


@pytest.mark.long
def test_delivered_photos_are_upright(small_world: DemoWorld) -> None:
    for image_id in (photo.id for photo in small_world.truth.photos.values() if photo.localisable):
        picture = cv2.imread(str(small_world.photos[image_id])).astype(float)
        third = len(picture) // 3
        top, bottom = picture[:third].mean(axis=(0, 1)), picture[-third:].mean(axis=(0, 1))
        assert top.mean() > bottom.mean()


@pytest.mark.long
def test_calibrated_lenses_are_known_to_three_per_mille(small_world: DemoWorld) -> None:
    studio = Studio(7, SIZES["small"])
    for shot, record in zip(studio.plan.shots, small_world.metadata, strict=True):
        assert shot.id == record["id"]
        assert record["camera_parameters"][0] == pytest.approx(shot.plan.device.parameters[0], rel=0.00301)


@pytest.mark.long
def test_a_finished_world_is_not_built_again(small_world: DemoWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geocorrect.demo.world.build.take_all", lambda *_: pytest.fail("rendered again"))
    again = build_world(small_world.folder, seed=7, size="small")
    assert again.truth.as_json() == small_world.truth.as_json()


def test_what_one_process_has_painted_the_others_read(tmp_path: Path) -> None:
    painted: list[int] = []

    def paint() -> np.ndarray:
        painted.append(1)
        return np.full((4, 8, 3), 7, np.uint8)

    texture = Texture("grey", 8, 4, paint)
    quads = [Quad(np.zeros(3), np.eye(3)[0], np.eye(3)[2], texture) for _ in range(2)]
    for _ in range(2):  # as two processes do
        first, second = _kept_textures(quads, tmp_path, "street")
        assert first.texture is second.texture
        assert (first.texture.level(0, 0) == 7).all()
    assert len(painted) == 1
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.long
def test_processes_do_not_change_the_pixels(small_world: DemoWorld, tmp_path: Path) -> None:
    drive = small_world.drives[1]
    (tmp_path / drive.name).mkdir()
    tasks = [Task(tmp_path, "photo", 0), Task(tmp_path / drive.name, drive.name, 1)]
    seen: list[tuple[int, int]] = []
    take_all(7, SIZES["small"], tasks, 2, lambda done, total: seen.append((done, total)))
    made = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(made) == 3
    for path in made:
        kept = small_world.photos.get(path.stem) or drive / path.relative_to(tmp_path / drive.name)
        assert path.read_bytes() == kept.read_bytes()
    assert seen == [(1, 2), (2, 2)]


@pytest.mark.long
def test_a_damaged_world_is_built_again(
    small_world: DemoWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered: list[int] = []
    monkeypatch.setattr("geocorrect.demo.world.build.take_all", lambda *arguments: rendered.append(len(arguments[2])))
    folder = tmp_path / "world"
    build_world(folder, seed=7, size="small", workers=1)
    first = content_hash(folder)
    assert rendered == [10]
    (folder / "truth.json").write_text("{}")
    build_world(folder, seed=7, size="small", workers=1)
    assert rendered == [10, 10]
    assert content_hash(folder) == first
    build_world(folder, seed=8, size="small", workers=1)
    assert content_hash(folder) != first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["world"]


def test_an_interrupted_build_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("geocorrect.demo.world.build.take_all", stop)
    with pytest.raises(KeyboardInterrupt):
        build_world(tmp_path / "world", seed=7, size="small")
    assert list(tmp_path.iterdir()) == []


def test_bad_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'huge'"):
        build_world(tmp_path / "world", size="huge")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        build_world(tmp_path / "file" / "world", size="small")
    with pytest.raises(InputError, match=r"truth\.json"):
        open_world(tmp_path / "nowhere")


@pytest.mark.long
def test_metadata_are_plain_json(small_world: DemoWorld) -> None:
    assert json.loads((small_world.folder / "mapillary.json").read_text()) == list(small_world.metadata)

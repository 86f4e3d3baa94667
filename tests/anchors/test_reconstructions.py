"""OpenSfM, Metashape and RealityCapture files of the same street, and our own exports read back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from support import catalog_world
from support.colmap_world import CAMERA, FRAME, TrueImage, facade, street, write_pictures
from support.reconstruction_layouts import write_metashape, write_odm_shots, write_opensfm, write_realitycapture

from geocorrect.anchors.choice import AnchorOptions
from geocorrect.anchors.readers.registry import anchor_files
from geocorrect.anchors.samples import ReconstructedAnchor
from geocorrect.catalog import Catalog
from geocorrect.errors import InputError
from geocorrect.export.export import export_catalog
from geocorrect.export.formats import Format
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Pose, rotation_angle_deg
from geocorrect.geometry.projection import Projection
from geocorrect.records import Anchor, Correction

SQUARE = replace(CAMERA, focal_y_px=250.0)


def require_truth(anchors: list[Anchor], images: list[TrueImage], frame: Frame) -> None:
    """Place, turn and rays to 1e-6, whatever frame and camera model the reader took."""
    assert len(anchors) == len(images)
    by_name = {anchor.path.stem: anchor for anchor in anchors}
    for image in images:
        anchor = by_name[Path(image.name).stem]
        there = FRAME.this_from(frame) @ anchor.world_from_cam
        assert np.linalg.norm(there.translation_m - image.world_from_cam.translation_m) < 1e-6
        assert rotation_angle_deg(there.rotation, image.world_from_cam.rotation) < 1e-6
        px = np.random.default_rng(0).uniform([20, 20], [300, 220], (20, 2))
        assert anchor.camera.unproject(px) == pytest.approx(image.camera.unproject(px), abs=1e-8)


@pytest.mark.parametrize("inside", ["", "opensfm"])
def test_opensfm_and_odm(tmp_path: Path, inside: str) -> None:
    images = street()
    write_opensfm(tmp_path / inside, images, 2.0)
    write_pictures(tmp_path / "images", images)
    alignment, anchors = anchor_files(tmp_path).read()
    require_truth(anchors, images, alignment.frame)
    assert anchors[3].captured_at is not None
    assert anchors[3].captured_at.timestamp() == 1700000060.0
    for anchor, image in zip(anchors, images, strict=True):
        assert isinstance(anchor, ReconstructedAnchor)
        assert anchor.samples is not None
        points = image.world_from_cam.apply(
            image.camera.unproject(anchor.samples.px) / image.camera.unproject(anchor.samples.px)[:, 2:]
            * anchor.samples.z_m[:, None]
        )  # fmt: skip
        assert np.linalg.norm(points[:, None] - facade(), axis=2).min(axis=1).max() < 1e-5
        # 2 m of GPS over 140 s, of which about 3 fixes are independent
        assert anchor.world_from_cam.covariance is not None
        assert 0.5 < np.sqrt(anchor.world_from_cam.covariance[0, 0]) < 4.0


def test_opensfm_without_width_or_place_is_named(tmp_path: Path) -> None:
    images = street(3)
    write_pictures(tmp_path / "images", images)
    write_opensfm(tmp_path, images, cameras={"c": {"projection_type": "perspective", "focal": 0.8}})
    with pytest.raises(InputError, match="shot left/0000.png: camera 'c' has no width and height"):
        anchor_files(tmp_path).read()
    write_opensfm(tmp_path, images, cameras={"c": {"projection_type": "hyper", "width": 320, "height": 240}})
    with pytest.raises(InputError, match="camera 'c' is none that we know"):
        anchor_files(tmp_path).read()


@pytest.mark.data
def test_a_real_model_of_opensfm(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "opensfm_berlin"
    for name, kept in (("reconstruction_example.json", "reconstruction.json"), ("tracks_example.csv", "tracks.csv")):
        (tmp_path / kept).symlink_to(source / name)
    alignment, anchors = anchor_files(tmp_path, options=AnchorOptions(images=source / "images")).read()
    assert [anchor.path.name for anchor in anchors] == ["01.jpg", "02.jpg", "03.jpg"]
    assert alignment.frame.lat_deg == pytest.approx(52.51896296)
    raw = json.loads((source / "reconstruction_example.json").read_text())[0]["points"]
    points = np.array([point["coordinates"] for point in raw.values()])
    for anchor in anchors:
        assert isinstance(anchor, ReconstructedAnchor)
        assert anchor.samples is not None
        assert len(anchor.samples.z_m) > 300
        px, visible = anchor.camera.project(anchor.world_from_cam.inverse().apply(points))
        nearest = np.linalg.norm(anchor.samples.px[:, None] - px[visible], axis=2).min(axis=1)
        assert np.median(nearest) < 2.0  # 3264 pixels wide; OpenSfM's own residual is about one


def test_odm_shots(tmp_path: Path) -> None:
    images = flat(street())
    write_pictures(tmp_path / "images", images)
    path = write_odm_shots(tmp_path, images)
    options = AnchorOptions(height_reference="ellipsoid")
    alignment, anchors = anchor_files(path, options=options).read()
    require_truth(anchors, images, alignment.frame)
    assert anchors[0].id == "odm/0000"
    with pytest.raises(InputError, match="add --height-reference"):
        anchor_files(path).read()
    for old, new, message in (
        ('"camera": "c"', '"camera": "d"', r"feature 0: camera 'd' is not in cameras.json \(c\)"),
        ("0001.png", "0000.png", "feature 1: picture 0000.png appears twice"),
        ('"width": 320', '"width": 640', "feature 0: the picture is 320×240 pixels, the shot 640×240"),
        ('"rotation": [', '"rotation": ["x", ', "feature 0: rotation must be 3 finite numbers"),
    ):
        write_odm_shots(tmp_path, images)
        path.write_text(path.read_text().replace(old, new, 1))
        with pytest.raises(InputError, match=message):
            anchor_files(path, options=options).read()
    (tmp_path / "cameras.json").unlink()
    with pytest.raises(InputError, match="no cameras.json of the ODM project"):
        anchor_files(path, options=options).read()


def flat(images: list[TrueImage]) -> list[TrueImage]:
    return [replace(image, name=Path(image.name).name) for image in images]


def test_metashape(tmp_path: Path) -> None:
    images = flat(street())
    write_pictures(tmp_path / "images", images)
    write_metashape(path := tmp_path / "cameras.xml", images)
    alignment, anchors = anchor_files(path).read()
    require_truth(anchors, images, alignment.frame)
    assert anchors[0].id == "metashape/0000"
    assert anchors[0].world_from_cam.covariance is None
    write_metashape(path, images, "<k4>0.1</k4>")
    with pytest.raises(InputError, match="sensor 0: type frame k4: no equal camera here; fix it to 0"):
        anchor_files(path).read()
    for old, new, message in (
        ("<document", "<!DOCTYPE x><document", "declares entities"),
        ("</document>", "", "not XML"),
        ('sensor_id="0"', 'sensor_id="7"', "camera 0000: sensor 7 is not in the file"),
        ("<scale>2.5", "<scale>big", "transform/scale must be 1 finite numbers"),
        ("GEOGCS", "LOCAL_CS", "has no place on earth"),
        ("World Geodetic System 1984", "Pulkovo 1942", "has no place on earth"),
    ):
        write_metashape(path, images)
        path.write_text(path.read_text().replace(old, new))
        with pytest.raises(Exception, match=message):
            anchor_files(path, "metashape").read()
    write_metashape(path, images)
    text = path.read_text()
    place = text[text.index("<transform><rotation>") : text.index("</chunk>")]
    component = f'<components next_id="1" active_id="0"><component id="0" label="Component 1">{place}</component>'
    newer = text.replace(place, "").replace("<cameras ", f"{component}</components><cameras ", 1)
    path.write_text(newer.replace(' sensor_id="0"', ' sensor_id="0" component_id="0"'))
    alignment, anchors = anchor_files(path).read()
    require_truth(anchors, images, alignment.frame)
    path.write_text(path.read_text().replace('component_id="0"', 'component_id="1"', 1))
    with pytest.raises(InputError, match="its cameras are of 2 components"):
        anchor_files(path).read()
    write_metashape(path, images)
    cv2.imwrite(str(tmp_path / "images/0002.jpg"), np.zeros((240, 320, 3), np.uint8))
    with pytest.raises(InputError, match="camera 0002 of .* may be 0002.jpg or 0002.png"):
        anchor_files(path).read()


def test_covariance_of_metashape(tmp_path: Path) -> None:
    """Of exports with the option "save covariance": local units, whose scale is that of the chunk."""
    images = flat(street())
    write_pictures(tmp_path / "images", images)
    write_metashape(path := tmp_path / "cameras.xml", images)
    added = (
        "</transform><rotation_covariance>4e-6 0 0 0 1e-6 0 0 0 1e-6</rotation_covariance>"
        "<location_covariance>1e-4 0 0 0 4e-4 0 0 0 9e-4</location_covariance></camera>"
    )
    path.write_text(path.read_text().replace("</transform></camera>", added))
    alignment, anchors = anchor_files(path).read()
    covariance = anchors[0].world_from_cam.covariance
    assert covariance is not None
    s = alignment.world_from_local
    turned = s.scale**2 * s.rotation.as_matrix() @ np.diag([1e-4, 4e-4, 9e-4]) @ s.rotation.as_matrix().T
    assert covariance[:3, :3] == pytest.approx(turned)
    assert covariance[3:, 3:] == pytest.approx(np.eye(3) * 4e-6)
    path.write_text(path.read_text().replace("9e-4<", "<"))
    with pytest.raises(InputError, match="camera 0000: covariance must be 9 finite numbers"):
        anchor_files(path).read()


def test_realitycapture(tmp_path: Path) -> None:
    pinhole = Camera(Projection.PERSPECTIVE, 320, 240, 250.0, 250.0, 161.2, 118.7)
    images = flat(street(camera=pinhole))
    write_pictures(tmp_path / "images", images)
    write_realitycapture(path := tmp_path / "cameras.csv", images)
    options = AnchorOptions(crs="EPSG:32632", height_reference="ellipsoid")
    alignment, anchors = anchor_files(path, options=options).read()
    require_truth(anchors, images, alignment.frame)
    path.write_text(f"#cameras {len(images)}\n" + path.read_text())
    require_truth(anchor_files(path, options=options).read()[1], images, alignment.frame)
    for old, new, message in (
        (",0,0,0,0,0,0\n", ",0.1,0,0,0,0,0\n", "line 2: k1 other than 0; export undistorted images"),
        ("0000.png", "none.png", "line 2: no picture none.png"),
        ("0001.png", "0000.png", "two rows name the same image"),
    ):
        write_realitycapture(path, images)
        path.write_text(path.read_text().replace(old, new, 1))
        with pytest.raises(InputError, match=message):
            anchor_files(path, options=options).read()


def test_angles_and_units_of_realitycapture_as_they_are_written(tmp_path: Path) -> None:
    """By hand: level east; straight down with the top to the west; down, top to the north, the right side lower."""
    head = "#name,x,y,alt,heading,pitch,roll,f,px,py,k1,k2,k3,k4,t1,t2"
    rows = ["a.png,11.5,48.1,500,90,90,0", "b.png,11.5,48.1,500,-90,0,0", "c.png,11.5,48.1,500,0,0,30"]
    (path := tmp_path / "cameras.csv").write_text("\n".join([head, *(f"{row},18,0.01,-0.02" for row in rows)]) + "\n")
    for name in "abc":
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((240, 320, 3), np.uint8))
    options = AnchorOptions(crs="EPSG:4326", height_reference="ellipsoid")
    _, anchors = anchor_files(path, "auto", options).read()
    east, down, rolled = (anchor.world_from_cam.rotation.as_matrix() for anchor in anchors)
    camera = anchors[0].camera
    half, root = 0.5, 0.75**0.5
    # columns: right, down, ahead
    assert east == pytest.approx(np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]]).T, abs=1e-9)
    assert down == pytest.approx(np.array([[0, 1, 0], [1, 0, 0], [0, 0, -1]]).T, abs=1e-9)
    assert rolled == pytest.approx(np.array([[root, 0, -half], [0, -1, 0], [-half, 0, -root]]).T, abs=1e-9)
    assert (camera.focal_x_px, camera.focal_y_px) == (160.0, 160.0)
    assert (camera.principal_x_px, camera.principal_y_px) == pytest.approx((159.5 + 3.2, 119.5 - 6.4))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Catalog, Path]]:
    folder = tmp_path_factory.mktemp("own")
    with Catalog.open(str(folder / "c.gpkg"), create=True) as catalog:
        catalog_world.fill(catalog)
        yield catalog, folder


@pytest.mark.parametrize(("form", "name"), [(Format.COLMAP, "colmap"), (Format.OPENSFM, "opensfm")])
def test_what_we_export_comes_back_as_anchors(exported: tuple[Catalog, Path], form: Format, name: str) -> None:
    """To the last bit but those of a rotation's inverse: the product could not read its own model."""
    catalog, folder = exported
    assert export_catalog(catalog, folder / name, form) == 14
    current = [stored.result for stored in catalog.current()]
    poses = {result.image_id: result.world_from_cam for result in current if isinstance(result, Correction)}
    stored = catalog.images()
    pictures = folder / f"{name} pictures"
    pictures.mkdir()
    for image in stored.values():
        if image.path is not None and image.camera is not None:
            cv2.imwrite(str(pictures / image.path.name), np.zeros((image.camera.height, image.camera.width), np.uint8))
    alignment, anchors = anchor_files(folder / name, options=AnchorOptions(images=pictures)).read()
    assert len(anchors) == 14
    frame = catalog.frame()
    assert frame is not None
    assert (alignment.frame.lon_deg, alignment.frame.height_m) == (frame.lon_deg, frame.height_m)
    by_file = {image.path.name: image for image in stored.values() if image.path is not None}
    for anchor in anchors:
        image = by_file[anchor.path.name]
        pose: Pose = poses[image.id]
        assert anchor.world_from_cam.matrix == pytest.approx(pose.matrix, abs=1e-12)
        assert image.camera is not None
        px = np.random.default_rng(0).uniform([99, 99], [600, 500], (20, 2))
        assert anchor.camera.unproject(px) == pytest.approx(image.camera.unproject(px), abs=1e-9)

"""Photos of the demo street localised against the same drive in every format of anchors: accuracy beside VBR's form.

`python benchmarks/anchor_formats.py` writes the drive in each published layout (the writers of the tests), reads it as
`anchors add` does, and localises the same photos. Pictures are matched once for all formats that hold the same pixels.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import cv2
import numpy as np
import yaml
from PIL import Image as Picture
from PIL.ExifTags import IFD, Base
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from support import driving_layouts, kitti_layouts, reconstruction_layouts, scanned_layouts
from support.colmap_world import FRAME as RECONSTRUCTED
from support.colmap_world import WORLD_FROM_LOCAL, TrueImage, write_colmap
from support.recorded_drive import Recording

from geocorrect.anchors.alignment import Alignment
from geocorrect.anchors.choice import AnchorOptions
from geocorrect.anchors.readers.registry import anchor_files
from geocorrect.api import localizer, photo
from geocorrect.api.scene import AnchorSource
from geocorrect.config import Settings
from geocorrect.demo.render.lidar import LidarModel, scan
from geocorrect.demo.render.render import Exposure, photograph, render
from geocorrect.demo.render.surfaces import Scene
from geocorrect.demo.world.build import ANCHOR_EXPOSURE, Studio
from geocorrect.demo.world.drives import ENU_FROM_STREET, Drive, write_alignment, write_drive, write_frame
from geocorrect.demo.world.drives import FRAME as DEMO
from geocorrect.demo.world.drives import SCAN_DELAY_S as VBR_DELAY_S
from geocorrect.demo.world.plan import SIZES
from geocorrect.depth.lidar import LidarDepth
from geocorrect.evaluate.remembered import RememberedMatcher
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Float, Pose
from geocorrect.geometry.projection import Projection
from geocorrect.geometry.similarity import Similarity
from geocorrect.jobs.anchors.photo_poses import PhotosAsAnchors
from geocorrect.match.base import Matcher
from geocorrect.records import Anchor, ImageArray

CAMERA = Camera(Projection.BROWN, 768, 400, 620.0, 620.0, 380.3, 201.7)
PHOTO = Camera.pinhole(704, 396, 560.0, 560.0, 351.5, 197.5)
PHOTO_FROM_DRIVE = Pose(Rotation.from_euler("yxz", [5.0, 1.0, 2.0], degrees=True), np.array([0.9, 0.2, 0.0]))
"""How the photos look beside the drive's own camera."""
LIDAR = LidarModel(columns=512)
ELLIPSOID = {"crs": "EPSG:4326", "height_reference": "ellipsoid"}


class World:
    """The street, the drive, and the photos to localise."""

    def __init__(self, folder: Path, n_anchors: int, n_photos: int) -> None:
        self.folder, self._studio = folder, Studio(7, SIZES["small"])
        self._scene = Scene.of(self._studio.plan.street.quads)
        self.recording = Recording(
            Drive("d", 7, +1, 8.0, 2.0, n_anchors, 1000.0), CAMERA, self._write_picture, self._scan
        )
        times = self.recording.times_s
        between = np.interp(np.linspace(0.6, n_anchors - 2.4, n_photos), np.arange(n_anchors), times)
        self.photos = [self.recording.world_from_cam(float(t)) @ PHOTO_FROM_DRIVE for t in between]
        self.rendered = cache(self._rendered)
        self._scans: dict[tuple[int, bytes], Float] = {}

    def _rendered(self, number: int, camera: Camera) -> ImageArray:
        """Picture of an image time, or (numbers below 0) a photo."""
        pose = self.recording.world_from_cam(self.recording.times_s[number]) if number >= 0 else self.photos[~number]
        seen = render(
            self._scene, self._studio.sky(41, 0.45), self._studio.rays(camera), ENU_FROM_STREET.inverse() @ pose
        )
        exposure = ANCHOR_EXPOSURE if number >= 0 else Exposure(stops=0.3, warmth=0.05, noise=2.5)
        return photograph(seen, exposure, (7, abs(number), number < 0))

    def _write_picture(self, path: Path, number: int, camera: Camera) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), self.rendered(number, camera)[..., ::-1])

    def _scan(self, number: int, world_from_lidar: Pose) -> Float:
        key = number, world_from_lidar.matrix.tobytes()
        if key not in self._scans:
            self._scans[key] = scan(self._scene, LIDAR, ENU_FROM_STREET.inverse() @ world_from_lidar, (7, number))
        return self._scans[key]

    @cached_property
    def images(self) -> list[TrueImage]:
        """The drive's pictures, for writers of reconstructions; their world lies in RECONSTRUCTED."""
        poses = [self.recording.world_from_cam(time_s) for time_s in self.recording.times_s]
        return [TrueImage(f"{n:04d}.png", CAMERA, pose) for n, pose in enumerate(poses)]

    @cached_property
    def _samples(self) -> dict[str, tuple[Float, Float]]:
        """Pixels and depths that the scans give each picture."""
        anchors = sorted(vbr(self).anchors().items())
        depths = [LidarDepth().depth(a, self.rendered(n, CAMERA)) for n, (_, a) in enumerate(anchors)]
        return {f"{n:04d}.png": (depth.samples_px, depth.samples_z_m) for n, depth in enumerate(depths)}

    @cached_property
    def points(self) -> Float:
        """(N, 3) points for reconstructions, on the surfaces that the pictures show."""
        found = []
        for image in self.images:
            px, z_m = (values[::12] for values in self._samples[image.name])
            rays = CAMERA.unproject(px)
            found.append(image.world_from_cam.apply(rays / rays[:, 2:] * z_m[:, None]))
        return np.concatenate(found)

    def sees(self, image: TrueImage, points: Float) -> tuple[Float, np.ndarray]:
        """((M, 2) px, (M,) rows) of the points that are not hidden: near the scan's depth there."""
        local = image.world_from_cam.inverse().apply(points)
        px, visible = image.camera.project(local)
        rows = np.flatnonzero(visible & image.camera.contains(np.nan_to_num(px, nan=-9.0)))
        sample_px, z_m = self._samples[image.name]
        distance, nearest = cKDTree(sample_px).query(px[rows])
        kept = (distance < 3.0) & (np.abs(z_m[nearest] / local[rows, 2] - 1) < 0.03)
        return px[rows][kept], rows[kept]


@dataclass(frozen=True)
class Form:
    """The drive in one format."""

    path: Path
    options: AnchorOptions
    depth: str
    frame_from_demo: Callable[[Frame], Pose] | None = None
    """Where the drive's world lies in the frame of the anchors; None: as the first anchor says."""

    def source(self, matcher: Matcher) -> AnchorSource:
        """As `anchors add` reads it."""
        files = anchor_files(self.path, options=self.options)
        if files.format.name == "positions":
            return AnchorSource.of_files(PhotosAsAnchors(files, matcher))
        return AnchorSource.of_files(files)

    def anchors(self) -> dict[str, Anchor]:
        """By id."""
        return {anchor.id: anchor for anchor in anchor_files(self.path, options=self.options).read()[1]}


def lies_in(world: Frame) -> Callable[[Frame], Pose]:
    return lambda frame: frame.this_from(world)


def alignment_file(path: Path, alignment: Alignment) -> Path:
    path.write_text(json.dumps(alignment.as_json()))
    return path


@cache
def vbr(w: World) -> Form:
    folder = w.folder / "vbr" / "d"
    write_drive(folder, w.recording.drive, CAMERA)
    for number, time_s in enumerate(w.recording.times_s):
        cloud = w.recording.scan(number, w.recording.world_from_lidar(time_s + VBR_DELAY_S))
        write_frame(folder, number, w.rendered(number, CAMERA), cloud)
    write_alignment(folder.parent / "alignment.json")
    options = AnchorOptions(folder / "vbr_calib.yaml", folder / "d_gt.txt", folder.parent / "alignment.json", 0.0)
    return Form(folder, options, "lidar", lies_in(DEMO))


def table(w: World) -> Form:
    (folder := w.folder / "table").mkdir()
    names = "file,lon_deg,lat_deg,height_m,qx,qy,qz,qw,width,height,fx,fy,cx,cy,scan,scan_format,cam_from_lidar"
    rows, r = [names], w.recording
    for number, time_s in enumerate(r.times_s):
        pose, lidar = r.world_from_cam(time_s), r.world_from_lidar(time_s)
        r.picture(folder / f"{number}.png", number, CAMERA)
        r.scan(number, lidar).astype("<f4").tofile(folder / f"{number}.bin")
        place = [float(v) for v in DEMO.wgs84_from_enu(pose.translation_m)]
        turn = (Frame("here", *place).this_from(DEMO) @ pose).quaternion_xyzw.tolist()
        tie = " ".join(map(repr, (pose.inverse() @ lidar).matrix[:3].ravel().tolist()))
        numbers = ",".join(map(repr, [*place, *turn, CAMERA.width, CAMERA.height, 620.0, 620.0, 380.3, 201.7]))
        rows.append(f"{number}.png,{numbers},{number}.bin,kitti_bin,{tie}")
    (folder / "anchors.csv").write_text("\n".join(rows) + "\n")
    return Form(folder / "anchors.csv", AnchorOptions(**ELLIPSOID), "lidar", lies_in(DEMO))


def mobile(w: World) -> Form:
    (folder := w.folder / "mobile").mkdir()
    rows = ["file,time,lon_deg,lat_deg,height_m,qx,qy,qz,qw"]
    body_from_cam = Pose(Rotation.from_matrix([[0, 0, 1], [-1, 0, 0], [0, -1, 0]]), np.array([1.0, 0.3, 1.6]))
    for number, time_s in enumerate(w.recording.times_s):
        w.recording.picture(folder / f"{number}.png", number, CAMERA)
        body = w.recording.world_from_cam(time_s) @ body_from_cam.inverse()
        place = [float(v) for v in DEMO.wgs84_from_enu(body.translation_m)]
        turn = (Frame("here", *place).this_from(DEMO) @ body).quaternion_xyzw.tolist()
        rows.append(",".join([f"{number}.png", *map(repr, [1.7e9 + time_s, *place, *turn])]))
    (folder / "poses.csv").write_text("\n".join(rows) + "\n")
    camera = {"model": "OPENCV", "width": 768, "height": 400, "intrinsics": [620.0, 620.0, 380.3, 201.7]}
    rig = [{"name": "front", "images": "{file}", "camera": camera, "body_from_cam": body_from_cam.matrix[:3].tolist()}]
    meaning = {"table": "poses.csv", "angles": "quaternion", "north": "true", "rig": rig, **ELLIPSOID}
    (folder / "drive.yaml").write_text(yaml.safe_dump(meaning))
    return Form(folder / "drive.yaml", AnchorOptions(), "triangulated", lies_in(DEMO))


def positions(w: World) -> Form:
    (folder := w.folder / "positions").mkdir()
    rtk = b'<x drone-dji:RtkStdLon="0.01" drone-dji:RtkStdLat="0.01" drone-dji:RtkStdHgt="0.02"/>'
    for number, time_s in enumerate(w.recording.times_s):
        exif = Picture.Exif()
        exif[Base.Make] = "DJI"
        lon, lat, height = (float(v) for v in DEMO.wgs84_from_enu(w.recording.world_from_cam(time_s).translation_m))
        parts = [(int(v), int(v % 1 * 60), (v % 1 * 60 % 1) * 60) for v in (lat, lon)]
        exif.get_ifd(IFD.GPSInfo).update({1: "N", 2: parts[0], 3: "E", 4: parts[1], 5: b"\0", 6: height})
        exif.get_ifd(IFD.Exif).update({
            Base.DateTimeOriginal: f"2024:05:01 10:00:{number:02d}", Base.OffsetTimeOriginal: "+00:00",
        })  # fmt: skip
        Picture.fromarray(w.rendered(number, CAMERA)).save(folder / f"{number}.jpg", exif=exif, comment=rtk, quality=95)
    lens = w.folder / "camera.yaml"
    lens.write_text("model: PINHOLE\nwidth: 768\nheight: 400\nintrinsics: [620, 620, 380.3, 201.7]\n")
    options = AnchorOptions(calibration=lens, height_reference="ellipsoid", level_cameras=True)
    return Form(folder, options, "triangulated", lies_in(DEMO))


def reconstruction(w: World, name: str) -> Form:
    (folder := w.folder / name).mkdir()
    for number, image in enumerate(w.images):
        w.recording.picture(folder / "images" / image.name, number, CAMERA)
    depth, options, path = "triangulated", AnchorOptions(), folder
    if name == "colmap":
        write_colmap(folder / "sparse" / "0", w.images, w.points, binary=True, seen=w.sees)
        depth, alignment = "reconstruction", Alignment(RECONSTRUCTED, WORLD_FROM_LOCAL)
        options = AnchorOptions(alignment=alignment_file(w.folder / "colmap.json", alignment))
    elif name == "opensfm":
        reconstruction_layouts.write_opensfm(folder, w.images, 0.0, w.sees, w.points)
        # By the GPS of its shots (2 m) ten metres of street are known to 34 %, and every photo is rejected.
        depth, alignment = "reconstruction", Alignment(RECONSTRUCTED, Similarity.identity())
        options = AnchorOptions(alignment=alignment_file(w.folder / "opensfm.json", alignment))
    elif name == "odm-shots":
        path = reconstruction_layouts.write_odm_shots(folder, w.images)
        options = AnchorOptions(height_reference="ellipsoid")
    elif name == "metashape":
        reconstruction_layouts.write_metashape(path := folder / "cameras.xml", w.images)
    else:
        reconstruction_layouts.write_realitycapture(path := folder / "cameras.csv", w.images)
        options = AnchorOptions(crs="EPSG:32632", height_reference="ellipsoid")
    return Form(path, options, depth, lies_in(RECONSTRUCTED))


def kitti(w: World, name: str) -> Form:
    folder = w.folder / name
    if name == "kitti-raw":
        kitti_layouts.write_kitti_raw(folder, w.recording)
        return Form(folder, AnchorOptions(cameras=("02",)), "lidar", lies_in(DEMO))
    if name == "kitti360":
        kitti_layouts.write_kitti360(folder, w.recording, kitti_layouts.UNTURNED, None)
        options = AnchorOptions(cameras=("00",), geoid_undulation_m=48.0)
        return Form(folder, options, "lidar", lies_in(kitti_layouts.KARLSRUHE))
    kitti_layouts.write_odometry(folder, w.recording)
    first = w.recording.world_from_cam(w.recording.times_s[0])
    placed = alignment_file(w.folder / "odometry.json", scanned_layouts.ALIGNMENT)
    options = AnchorOptions(alignment=placed, cameras=("2",))
    return Form(folder / "sequences" / "07", options, "lidar",
                lambda _: scanned_layouts.ALIGNMENT.apply(first.inverse()))  # fmt: skip


def driving(w: World, name: str) -> Form:
    folder, first = w.folder / name / "0a8a4cfa", w.recording.times_s[0]
    if name == "nuscenes":
        driving_layouts.write_nuscenes(folder, recording=w.recording)
        return Form(folder, AnchorOptions(), "lidar")
    if name == "argoverse2":
        driving_layouts.write_argoverse(folder, recording=w.recording)
        return Form(folder, AnchorOptions(), "lidar")
    scanned = scanned_layouts
    options = AnchorOptions(
        alignment=alignment_file(w.folder / f"{name}.json", scanned.ALIGNMENT), images=w.folder / f"{name} unpacked"
    )
    to_frame = scanned.ALIGNMENT.apply(w.recording.world_from_ego(first).inverse())
    if name == "waymo":
        yaw = np.arctan2(*scanned.EGO_FROM_LIDAR.rotation.as_matrix()[[1, 0], 0])
        scanner = scanned.EGO_FROM_LIDAR @ Pose(Rotation.from_euler("z", -yaw), np.zeros(3))

        def ranges(number: int) -> np.ndarray:
            pose = w.recording.world_from_ego(w.recording.times_s[number]) @ scanner
            measured = np.linalg.norm(w.recording.scan(number, pose)[:, :3], axis=1)
            return np.where(measured > 0, measured, -1.0).reshape(LIDAR.beams, LIDAR.columns).astype(np.float32)

        beams = np.radians(np.linspace(-LIDAR.half_field_deg, LIDAR.half_field_deg, LIDAR.beams)).tolist()
        scanned.write_waymo(folder, w.recording, scanned.Sweep(beams, ranges, moves=False, shutter_s=0.0))
        return Form(folder, replace(options, cameras=("FRONT",)), "lidar", lambda _: to_frame)
    lens = (0.02, -0.004, 0.0, 0.0)
    fisheye = Camera(Projection.FISHEYE_OPENCV, 768, 400, 620.0, 620.0, 380.3, 201.7, lens)

    def points(number: int, ego_at: Callable[[float], Pose], after_s: Float) -> Float:
        pose = w.recording.world_from_ego(first) @ ego_at(0.0) @ scanned.EGO_FROM_LIDAR
        cloud = w.recording.scan(number, pose)[:, :3]
        return cloud[(cloud != 0).any(axis=1)]

    scanned.write_zod(folder, is_compensated=True, recording=replace(w.recording, camera=fisheye), distortion=lens,
                      points=points)  # fmt: skip
    return Form(folder, options, "lidar", lambda _: to_frame)


FORMS: dict[str, Callable[[World], Form]] = {
    "vbr": vbr, "vbr, triangulated": lambda w: replace(vbr(w), depth="triangulated"), "table": table,
    **{name: lambda w, name=name: kitti(w, name) for name in ("kitti-raw", "kitti-odometry", "kitti360")},
    **{name: lambda w, name=name: driving(w, name) for name in ("nuscenes", "waymo", "zod", "argoverse2")},
    **{name: lambda w, name=name: reconstruction(w, name)
       for name in ("colmap", "opensfm", "odm-shots", "metashape", "realitycapture")},
    "mobile-mapping": mobile, "positions": positions,
}  # fmt: skip


def errors_m(world: World, form: Form, matcher: Matcher) -> Float:
    """Position errors of the photos, nan where none was found."""
    source, errors = form.source(matcher), []
    frame_from_demo = None if form.frame_from_demo is None else form.frame_from_demo(source.frame)
    if frame_from_demo is None:
        first = source.read(source.index.ids[:1])[source.index.ids[0]]
        frame_from_demo = first.world_from_cam @ world.recording.world_from_cam(world.recording.times_s[0]).inverse()
    with localizer.Localizer(source, settings=Settings(), depth=form.depth) as found:
        for number, pose in enumerate(world.photos):
            true = frame_from_demo @ pose
            lon, lat, _ = (
                float(v) for v in source.frame.wgs84_from_enu(true.translation_m + np.array([2.0, -1.5, 0.0]))
            )
            result = found.localize(world.rendered(~number, PHOTO), reported=(lon, lat), camera=PHOTO)
            there = getattr(result.result, "world_from_cam", None)
            errors.append(np.nan if there is None else np.linalg.norm(there.translation_m - true.translation_m))
    return np.array(errors)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--anchors", type=int, default=8)
    parser.add_argument("--photos", type=int, default=8)
    parser.add_argument("--formats", nargs="*", default=list(FORMS))
    parser.add_argument("--quick", action="store_true", help="two photos, two formats; figures mean little")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.anchors, chosen.photos, chosen.formats = 4, 2, ["vbr", "table"]
    matcher = RememberedMatcher(photo.build_matcher(Settings()))  # pairs are matched once for all formats
    photo.build_matcher = lambda settings: matcher
    medians: dict[str, float] = {}
    print("| format | depth | localised | median m | largest m | beside VBR's |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        world = World(Path(name), chosen.anchors, chosen.photos)
        for label in chosen.formats:
            form = FORMS[label](world)
            errors = errors_m(world, form, matcher)
            medians[label] = float(np.nanmedian(errors))
            like = medians.get("vbr, triangulated" if form.depth == "triangulated" else "vbr", np.nan)
            print(f"| `{label}` | {form.depth} | {np.isfinite(errors).sum()} of {len(errors)} | {medians[label]:.4f} | "
                  f"{np.nanmax(errors):.4f} | {medians[label] / like:.2f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()

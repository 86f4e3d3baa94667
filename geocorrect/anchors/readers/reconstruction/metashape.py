"""Agisoft Metashape's camera export (XML, File → Export → Export Cameras): sensors, poses, and the chunk's place.

A camera's transform is local_from_cam, OpenCV axes; ecef_from_local (rotation, translation, scale) is that of the
cameras' component or, in older versions, of the chunk. The principal point counts from the image's centre;
Metashape's p1 and p2 are OpenCV's p2 and p1, b1 widens the x axis. The adjustment's covariance of a camera, where the
export holds it, goes into its anchor. Points are not in the file.
"""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
from scipy.spatial.transform import Rotation

from geocorrect.anchors.alignment import Alignment
from geocorrect.anchors.choice import AnchorOptions
from geocorrect.anchors.readers.format import AnchorFormat, head_of
from geocorrect.anchors.readers.reconstruction.model import ReconstructedImage, Reconstruction, anchors_of
from geocorrect.anchors.readers.reconstruction.placing import PLACING_OPTIONS, place
from geocorrect.errors import InputError
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.frame import Frame, wgs84_from_ecef
from geocorrect.geometry.pose import Float, Pose
from geocorrect.geometry.projection import Projection
from geocorrect.geometry.similarity import Similarity
from geocorrect.io.text_file import finite_numbers, read_text
from geocorrect.records import Anchor

logger = logging.getLogger(__name__)

GEOGRAPHIC = ("GEOGCS", "PROJCS", "COMPD_CS", "GEOCCS")
WGS84_DATUMS = (
    "worldgeodeticsystem1984", "wgs84", "wgs1984", "europeanterrestrialreferencesystem1989", "etrs89", "etrs1989",
)  # fmt: skip
"""Small letters of the datums whose ECEF is that of WGS84, as PROJ has it: to a metre for ETRS89."""
EARTH_M = (6.2e6, 6.6e6)
"""Distance of the ground from the centre of the earth: a chunk without a CRS is near its own origin."""


def read_metashape(path: Path) -> Reconstruction:
    """The one chunk of an export; InputError naming file, camera and field."""
    text = read_text(path)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError(f"{path}: declares entities, which a camera export never does")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise InputError(f"{path}: not XML ({error})") from None
    chunks = root.findall("chunk")
    if len(chunks) != 1:
        raise InputError(f"{path}: {len(chunks)} chunks; export the cameras of one")
    (chunk,) = chunks
    sensors = {sensor.get("id", ""): sensor for sensor in chunk.iterfind("sensors/sensor")}
    images, components = [], set()
    for entry in chunk.iter("camera"):
        transform, label = entry.findtext("transform"), entry.get("label", "")
        if transform is None:
            continue  # not aligned
        where = f"{path}, camera {label}"
        try:
            pose = Pose.from_matrix(np.array(finite_numbers(where, transform.split(), 16)).reshape(4, 4))
            pose = pose.with_covariance(_covariance(where, entry))
        except ValueError as error:
            raise InputError(f"{where}: transform: {error}") from None
        sensor = sensors.get(entry.get("sensor_id", ""))
        if sensor is None:
            raise InputError(f"{where}: sensor {entry.get('sensor_id')} is not in the file")
        components.add(entry.get("component_id"))
        images.append(ReconstructedImage(label, _camera(f"{path}, sensor {sensor.get('id')}", sensor), pose))
    if len(components) > 1:
        raise InputError(
            f"{path}: its cameras are of {len(components)} components, each in a frame of its own; align them together"
        )
    frame, frame_from_local = _local_place(str(path), chunk, next(iter(components), None))
    return Reconstruction(str(path), tuple(images), frame=frame, frame_from_local=frame_from_local)


def _covariance(where: str, entry: Element) -> Float | None:
    """(6, 6) of a camera in the cameras' own frame, None where the export holds none.

    What axes the rotation's is in is documented nowhere: the largest of any axis is taken for all.
    """
    parts = [entry.findtext(name) for name in ("location_covariance", "rotation_covariance")]
    if parts[0] is None or parts[1] is None:
        return None
    location, rotation = (
        np.array(finite_numbers(f"{where}: covariance", (text or "").split(), 9)).reshape(3, 3) for text in parts
    )
    covariance = np.zeros((6, 6))
    covariance[:3, :3] = (location + location.T) / 2
    covariance[3:, 3:] = np.eye(3) * np.linalg.eigvalsh((rotation + rotation.T) / 2)[-1]
    return covariance


def _camera(where: str, sensor: Element) -> Camera:
    size = sensor.find("resolution")
    if size is None:
        raise InputError(f"{where}: has no resolution")
    width, height = map(int, finite_numbers(f"{where}: resolution", [size.get("width"), size.get("height")], 2))
    kind = sensor.get("type", "frame")
    if kind == "spherical":
        return Camera.spherical(width, height)
    calibrations = {entry.get("class", ""): entry for entry in sensor.iterfind("calibration")}
    calibration = calibrations.get("adjusted", next(iter(calibrations.values()), None))
    if calibration is None:
        raise InputError(f"{where}: has no calibration; align the photos before the export")
    given = {entry.tag: entry.text for entry in calibration if entry.tag != "resolution"}
    names = ("cx", "cy", "b1", "b2", "k1", "k2", "k3", "k4", "p1", "p2", "p3", "p4")
    f, *others = finite_numbers(where, [given.get("f"), *(given.get(name, 0.0) for name in names)], 1 + len(names))
    value = dict(zip(names, others, strict=True))
    fisheye = kind == "fisheye" or kind == "equidistant_fisheye"
    refused = ("b2", "p3", "p4", "p1", "p2") if fisheye else ("b2", "p3", "p4", "k4")
    beyond = [name for name in refused if value[name] != 0.0]
    if kind not in ("frame", "fisheye", "equidistant_fisheye") or beyond:
        raise InputError(
            f"{where}: type {kind} {' '.join(beyond)}: no equal camera here; fix it to 0 in Metashape and align again, "
            "or export undistorted photos"
        )
    affine = (f + value["b1"], f, value["cx"] + (width - 1) / 2, value["cy"] + (height - 1) / 2)
    try:
        if fisheye:
            return Camera(
                Projection.FISHEYE_OPENCV, width, height, *affine, tuple(value[k] for k in ("k1", "k2", "k3", "k4"))
            )
        return Camera.from_opencv(width, height, affine, [value[k] for k in ("k1", "k2", "p2", "p1", "k3")])
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None


def _local_place(source: str, chunk: Element, component: str | None) -> tuple[Frame | None, Similarity]:
    """The frame at the origin of the cameras' own, and what brings that into it.

    No frame for a chunk without a CRS on the datum of WGS84: ECEF of an old datum are 80 to 250 m off.
    """
    transforms = {entry.get("id"): entry.find("transform") for entry in chunk.iterfind("components/component")}
    transform = transforms.get(component)
    if transform is None:
        transform = chunk.find("transform")
    crs = (chunk.findtext("reference") or "").strip()
    if transform is None or not crs.startswith(GEOGRAPHIC):
        return None, Similarity.identity()
    found = re.search(r'\bDATUM\["([^"]*)"', crs)
    datum = found[1] if found else crs[:80]
    if not any(known in re.sub("[^a-z0-9]", "", datum.lower()) for known in WGS84_DATUMS):
        logger.warning("%s: its place counts from the datum %s, not from WGS84, and is not used", source, datum)
        return None, Similarity.identity()
    parts = {name: (transform.findtext(name) or "").split() for name in ("rotation", "translation", "scale")}
    turn, shift, scale = (
        finite_numbers(f"{source}: transform/{name}", parts[name], count)
        for name, count in (("rotation", 9), ("translation", 3), ("scale", 1))
    )
    if not EARTH_M[0] < float(np.linalg.norm(shift)) < EARTH_M[1]:
        raise InputError(f"{source}: transform/translation is no place on earth (ECEF metres)")
    lon, lat, height_m = (float(value) for value in wgs84_from_ecef(np.array(shift)))
    frame = Frame(Path(source).stem, lon, lat, height_m)
    try:
        ecef_from_local = Similarity(scale[0], Rotation.from_matrix(np.array(turn).reshape(3, 3)), np.array(shift))
    except ValueError as error:
        raise InputError(f"{source}: transform: {error}") from None
    return frame, Similarity.from_pose(frame.ecef_from_enu.inverse()) @ ecef_from_local


def _with_endings(model: Reconstruction, folders: list[Path]) -> Reconstruction:
    """Labels are names of pictures without their endings, by default: the ending is that of the only such picture."""
    for folder in folders:
        by_stem: dict[str, list[str]] = {}
        for path in folder.glob("*.*"):
            by_stem.setdefault(path.stem, []).append(path.name)
        images = []
        for image in model.images:
            found = [image.name] if (folder / image.name).is_file() else by_stem.get(image.name, [])
            if len(found) > 1:
                raise InputError(f"{folder}: camera {image.name} of {model.source} may be {' or '.join(sorted(found))}")
            images.append(replace(image, name=found[0]) if found else image)
        if any(image is not other for image, other in zip(images, model.images, strict=True)):
            return replace(model, images=tuple(images))
    return model


def _read(path: Path, options: AnchorOptions) -> tuple[Alignment, list[Anchor]]:
    folder = path.resolve().parent
    folders = [folder / "images", folder] if options.images is None else [options.images]
    model = _with_endings(read_metashape(path), folders)
    alignment = place(model, options, folders)
    return alignment, [*anchors_of(model, folders, alignment, options.dataset or "metashape")]


FORMAT = AnchorFormat(
    "metashape",
    "XML of Metashape: Export Cameras",
    "none where the chunk has a CRS; --images",
    lambda path: path.suffix.lower() == ".xml" and "<chunk" in head_of(path),
    _read,
    PLACING_OPTIONS,
)

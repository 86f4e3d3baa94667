"""Clicked landmarks: which pixel of which image is which place on the map. Five formats, one record.

    own CSV / GeoJSON     image, u_px, v_px, lon_deg, lat_deg (or x, y in the declared CRS) [, height_m, sigma_px,
    sigma_m,
                          sigma_height_m, landmark]
    thesis JSON           image_indices, pixel_locations, locations [lat, lon]
    OpenSfM               ground_control_points.json; gcp_list.txt
    QGIS Georeferencer    one .points file per image; pixels from the corner of the top-left pixel, rows negative
    downward

Pixels are returned with the centre of the top-left pixel at (0, 0).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from geocorrect.anchors.readers.rows import Row, read_rows
from geocorrect.errors import InputError
from geocorrect.geometry.frame import wgs84_from_crs
from geocorrect.geometry.vertical import ELLIPSOID, ellipsoidal_height_m

NAN = float("nan")
MIN_CLICKS = 3
MAX_EXTENT_DEG = 0.5


@dataclass(frozen=True)
class Click:
    """One click. image: name or frame number as the file gives it. u_px, v_px: nan while only normalised ones are
    known. height_m: ellipsoidal, nan unknown. sigma_px, sigma_map_m, sigma_height_m: nan for the default. landmark:
    equal for the same mark in several images. where: file and row, for messages. normalised: OpenSfM image
    coordinates, resolved when the image's size is known.
    """

    image: str
    index: int
    u_px: float
    v_px: float
    lon_deg: float
    lat_deg: float
    height_m: float
    landmark: str
    where: str
    sigma_px: float = NAN
    sigma_map_m: float = NAN
    sigma_height_m: float = NAN
    normalised: bool = False

    def in_pixels(self, width: int, height: int) -> Click:
        """The click in pixels of an image of that size; InputError when it lies outside."""
        click = self
        if self.normalised:
            longer = max(width, height)
            u = self.u_px * longer + (width - 1) / 2
            v = self.v_px * longer + (height - 1) / 2
            click = replace(self, u_px=u, v_px=v, normalised=False)
        if not (-0.5 <= click.u_px < width - 0.5 and -0.5 <= click.v_px < height - 0.5):
            raise InputError(
                f"{self.where}: pixel ({click.u_px:g}, {click.v_px:g}) is outside the image {self.image} of "
                f"{width}×{height} pixels; were the clicks made on a resized copy?"
            )
        return click


@dataclass(frozen=True)
class LandmarkOptions:
    """How a clicks file is meant. crs: of its map coordinates, None where the format says it. image: the image of a
    .points file, None takes its file name. height_reference, undulation_m: see `geometry.vertical`.
    """

    crs: str | None = None
    image: str | None = None
    height_reference: str = "unknown"
    undulation_m: float = NAN


def read_landmarks(path: Path, options: LandmarkOptions | None = None) -> list[Click]:
    """Clicks of any of the five formats, recognised by name and content; InputError naming file and row.

    Refused: unreadable rows, swapped latitude and longitude, no declared CRS, fewer than 3 clicks, heights whose
    reference is not declared.
    """
    from geocorrect.georeference.landmark_formats import read_opensfm_list, read_opensfm_points, read_qgis, read_thesis

    options = options or LandmarkOptions()
    readers = {
        "csv": _own, "geojson": _own, "thesis": read_thesis, "opensfm": read_opensfm_points,
        "gcp_list": read_opensfm_list, "points": read_qgis,
    }  # fmt: skip
    clicks = list(readers[_format_of(path)](path, options))
    if len(clicks) < MIN_CLICKS:
        raise InputError(
            f"{path}: {len(clicks)} clicks; at least {MIN_CLICKS} are needed (better 4 in each of 3 images)"
        )
    _refuse_scattered(path, clicks)
    return [_numbered(click, clicks) for click in clicks]


def _format_of(path: Path) -> str:
    if path.suffix.lower() == ".csv":
        return "csv"
    if path.suffix.lower() == ".points":
        return "points"
    if path.suffix.lower() == ".txt":
        return "gcp_list"
    from geocorrect.georeference.landmark_formats import read_json

    data = read_json(path)
    for key, name in (("features", "geojson"), ("image_indices", "thesis"), ("points", "opensfm")):
        if isinstance(data, dict) and key in data:
            return name
    raise InputError(
        f"{path}: not a clicks file; known are CSV, GeoJSON, OpenSfM ground_control_points.json and gcp_list.txt, "
        "QGIS .points, and JSON with image_indices, pixel_locations, locations"
    )


def _own(path: Path, options: LandmarkOptions) -> Iterable[Click]:
    crs = options.crs or (None if path.suffix.lower() == ".csv" else "EPSG:4326")
    for number, row in enumerate(read_rows(path)):
        x, y = (
            (row.number("lon_deg"), row.number("lat_deg")) if row.has("lon_deg") else (row.number("x"), row.number("y"))
        )
        yield placed(
            Click(
                image=row.text("image"),
                index=number,
                u_px=row.number("u_px"),
                v_px=row.number("v_px"),
                lon_deg=x,
                lat_deg=y,
                height_m=row.number_or("height_m", NAN),
                landmark=row.text_or("landmark", f"click {number}"),
                where=row.where,
                sigma_px=_sigma(row, "sigma_px"),
                sigma_map_m=_sigma(row, "sigma_m"),
                sigma_height_m=_sigma(row, "sigma_height_m"),
            ),
            "EPSG:4326" if row.has("lon_deg") and crs is None else crs,
            options,
        )


def _sigma(row: Row, column: str) -> float:
    value = row.number_or(column, NAN)
    if value <= 0:
        raise InputError(f"{row.where}: {column} must be positive, got {value:g}")
    return value


def placed(click: Click, crs: str | None, options: LandmarkOptions) -> Click:
    """The click with lon_deg, lat_deg (holding x, y so far) brought to WGS84 and its height to the ellipsoid."""
    if crs is None:
        raise InputError(f"{click.where}: the coordinate system is not declared; add --crs EPSG:4326 (or what it is)")
    try:
        lon, lat = (float(v) for v in wgs84_from_crs(crs, click.lon_deg, click.lat_deg))
    except ValueError as error:
        raise InputError(f"{click.where}: {error}") from None
    if not (np.isfinite(lon) and np.isfinite(lat) and -180 <= lon <= 180 and -90 <= lat <= 90):
        raise InputError(
            f"{click.where}: ({click.lon_deg:g}, {click.lat_deg:g}) is no place in {crs}; are latitude and longitude "
            "swapped, or is it another CRS?"
        )
    height = click.height_m
    if np.isfinite(height):
        if options.height_reference == "unknown":
            raise InputError(
                f"{click.where}: height {height:g} m, but what it is measured from is not declared; add "
                f"--height-reference {ELLIPSOID}, orthometric (with --geoid-undulation) or a vertical CRS"
            )
        try:
            height = float(ellipsoidal_height_m(lon, lat, height, options.height_reference, options.undulation_m))
        except ValueError as error:
            raise InputError(f"{click.where}: {error}") from None
    return replace(click, lon_deg=lon, lat_deg=lat, height_m=height)


def _refuse_scattered(path: Path, clicks: list[Click]) -> None:
    """Swapped latitude and longitude of single rows put them hundreds of kilometres from the others."""
    place = np.array([[click.lon_deg, click.lat_deg] for click in clicks])
    middle = np.median(place, axis=0)
    for click, here in zip(clicks, place, strict=True):
        if np.abs(here - middle).max() > MAX_EXTENT_DEG:
            swapped = np.abs(here[::-1] - middle).max() < MAX_EXTENT_DEG
            remedy = "latitude and longitude are swapped" if swapped else "check its coordinates and CRS"
            raise InputError(
                f"{click.where}: longitude {here[0]:g}, latitude {here[1]:g} is far from the other clicks; {remedy}"
            )


def _numbered(click: Click, clicks: list[Click]) -> Click:
    """Index counts the clicks within their image."""
    own = [other for other in clicks if other.image == click.image]
    return replace(click, index=own.index(click))

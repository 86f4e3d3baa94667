"""One reader per format of clicks; each yields clicks brought to WGS84 and pixel centres, InputError naming the row."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from geocorrect.anchors.readers.place import stated_crs
from geocorrect.anchors.readers.rows import read_fields, read_rows
from geocorrect.errors import InputError
from geocorrect.geometry.crs import WGS84
from geocorrect.georeference.landmarks.click import NAN, Click, LandmarkOptions, placed
from geocorrect.io.text_file import finite_numbers, read_json, read_text

QGIS_HALF_PIXEL = 0.5
"""QGIS counts from the corner of the top-left pixel, `Click` from its centre."""
_IMAGE_NAME = re.compile(r".*?\.(?:jpe?g|png|tiff?|webp|hei[cf])\b", re.IGNORECASE)
_UTM = re.compile(r"WGS84\s+UTM\s+(\d{1,3})([NS])", re.IGNORECASE)


def read_table(path: Path, options: LandmarkOptions) -> Iterator[Click]:
    """CSV or GeoJSON points with image, u_px, v_px, lon_deg, lat_deg (or x, y in the declared CRS).

    Optional: height_m, landmark, sigma_px, sigma_m, sigma_height_m.
    """
    for number, row in enumerate(read_rows(path)):
        x, y = (row.number(name) for name in row.plan_columns)
        click = Click(
            row.text("image"), row.number("u_px"), row.number("v_px"), x, y, row.number_or("height_m", NAN),
            row.text_or("landmark", f"click {number}"), row.where, sigma_px=row.sigma_or("sigma_px", NAN),
            sigma_map_m=row.sigma_or("sigma_m", NAN), sigma_height_m=row.sigma_or("sigma_height_m", NAN),
        )  # fmt: skip
        yield placed(click, row.crs, options)


def read_image_lists(path: Path, options: LandmarkOptions) -> Iterator[Click]:
    """JSON with `image_indices`, `pixel_locations` [[u, v], …] and `locations` [[lat, lon], …], one list per image."""
    data = read_json(path)
    try:
        per_image = list(zip(data["image_indices"], data["pixel_locations"], data["locations"], strict=True))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: image_indices, pixel_locations and locations must be equally long ({error})"
        ) from None
    for image, pixels, places in per_image:
        where = f"{path}, image {image}"
        if isinstance(image, bool | float) or (isinstance(image, int) and image < 0):
            raise InputError(f"{where}: images are numbered from 0, or named")
        if len(_list(where, pixels)) != len(_list(where, places)):
            raise InputError(f"{where}: {len(pixels)} pixels, but {len(places)} locations")
        for k, (pixel, place) in enumerate(zip(pixels, places, strict=True)):
            here = f"{where}, click {k}"
            u, v = finite_numbers(f"{here}: pixel", pixel, 2)
            lat, lon = finite_numbers(f"{here}: location", place, 2)
            if abs(lat) > 90:
                raise InputError(f"{here}: latitude {lat:g} is not on earth; locations are [latitude, longitude]")
            yield placed(Click(str(image), u, v, lon, lat, NAN, f"{image}/{k}", here), WGS84, options)


def read_opensfm_points(path: Path, options: LandmarkOptions) -> Iterator[Click]:
    """OpenSfM ground_control_points.json; points without a position (check points between images) are skipped.

    Projections are normalised by the longer side, from the image's centre.
    """
    for number, point in enumerate(_list(path, read_json(path)["points"])):
        if not isinstance(point, dict):
            raise InputError(f"{path}, point {number}: not an OpenSfM ground control point")
        name = str(point.get("id", number))
        where = f"{path}, point {name}"
        if "position" not in point:
            continue
        try:
            position = point["position"]
            lon, lat = float(position["longitude"]), float(position["latitude"])
            height = NAN if point.get("has_altitude") is False else float(position.get("altitude", NAN))
            observations = [(str(o["shot_id"]), o["projection"]) for o in point["observations"]]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{where}: not an OpenSfM ground control point ({error})") from None
        for shot, projection in observations:
            u, v = finite_numbers(f"{where}: projection", projection, 2)
            yield placed(Click(shot, u, v, lon, lat, height, name, where, normalised=True), WGS84, options)


def read_opensfm_list(path: Path, options: LandmarkOptions) -> Iterator[Click]:
    """OpenSfM gcp_list.txt: the first line names the projection, then `x y z u v image [name]`; z may be NaN.

    Separated by tabs, as ODM writes it, or by spaces; names of images may have spaces in them.
    """
    lines = [line.strip() for line in read_text(path).split("\n")]
    rows = [(f"{path}, line {number}", line) for number, line in enumerate(lines, 1) if line and line[0] != "#"]
    if not rows:
        raise InputError(f"{path}: no rows")
    crs = stated_crs(rows[0][0], _projection(rows[0][1], rows[0][0]), None)
    for where, line in rows[1:]:
        fields = _list_fields(line)
        if len(fields) < 6:
            raise InputError(f"{where}: {len(fields)} columns, expected x y z u v image")
        x, y, u, v = finite_numbers(f"{where}: x y u v", fields[:2] + fields[3:5], 4)
        try:
            z = float(fields[2])
        except ValueError as error:
            raise InputError(f"{where}: {error}") from None
        name = fields[6] if len(fields) > 6 else f"{x} {y}"
        yield placed(Click(fields[5], u, v, x, y, z, name, where), crs, options)


def _list_fields(line: str) -> list[str]:
    """Fields of a line: x y z u v image [name …]."""
    if "\t" in line:
        return [field.strip() for field in line.split("\t")]
    *numbers, rest = line.split(maxsplit=5)
    named = _IMAGE_NAME.match(rest)
    return [*numbers, named[0], *rest[named.end() :].split()] if named else [*numbers, *rest.split()]


def _projection(line: str, where: str) -> str:
    zone = _UTM.fullmatch(line.strip())
    if zone and not 1 <= int(zone[1]) <= 60:
        raise InputError(f"{where}: {line!r}: UTM has the zones 1 to 60")
    if zone:
        return f"EPSG:{(32600 if zone[2] in 'Nn' else 32700) + int(zone[1])}"
    if line.upper().startswith(("WGS84", "EPSG:")) or line.startswith("+proj"):
        return line
    raise InputError(f"{where}: projection {line!r} is unknown; use WGS84, WGS84 UTM 33N, EPSG:32633 or a +proj string")


def read_qgis(path: Path, options: LandmarkOptions) -> Iterator[Click]:
    """QGIS Georeferencer .points of one image; its header states the CRS, or else --crs.

    Disabled rows are skipped; rows of the image count negative downward.
    """
    lines = read_text(path).split("\n")
    header = next((line for line in lines if line.startswith("#CRS:")), "")
    crs = header.removeprefix("#CRS:").strip() or None
    body = [(number, line) for number, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    names = read_fields(f"{path}, line {body[0][0]}", body[0][1]) if body else []
    choices = (("mapX",), ("mapY",), ("sourceX", "pixelX"), ("sourceY", "pixelY"))
    columns = [_column(names, choice, path) for choice in choices]
    enabled = names.index("enable") if "enable" in names else None
    for number, line in body[1:]:
        where = f"{path}, line {number}"
        values = read_fields(where, line)
        if len(values) < len(names):
            raise InputError(f"{where}: {len(values)} columns, expected {len(names)}")
        x, y, u, v = finite_numbers(where, [values[column] for column in columns], 4)
        if enabled is None or values[enabled] == "1":
            u, v = u - QGIS_HALF_PIXEL, -v - QGIS_HALF_PIXEL
            yield placed(Click(options.image or path.stem, u, v, x, y, NAN, where, where), crs, options)


def _column(names: list[str], choices: tuple[str, ...], path: Path) -> int:
    for choice in choices:
        if choice in names:
            return names.index(choice)
    raise InputError(f"{path}: no column {choices[0]}; save the points in QGIS' Georeferencer")


def _list(where: object, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise InputError(f"{where}: expected a list, got {str(value)[:40]!r}")
    return value

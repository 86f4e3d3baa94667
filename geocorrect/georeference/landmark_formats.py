"""Clicks in the formats of others: the thesis' JSON, OpenSfM's two GCP files, QGIS Georeferencer's .points."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from geocorrect.errors import InputError
from geocorrect.geometry.frame import utm_epsg
from geocorrect.georeference.landmarks import NAN, Click, LandmarkOptions, placed
from geocorrect.io.pixels import read_bytes

QGIS_HALF_PIXEL = 0.5
"""QGIS counts from the corner of the top-left pixel; we count from its centre."""


def read_json(path: Path) -> Any:
    """A JSON file's content; InputError naming the file."""
    try:
        return json.loads(read_bytes(path))
    except ValueError as error:
        raise InputError(f"{path}: not a JSON file ({error})") from None


def read_thesis(path: Path, options: LandmarkOptions) -> Iterator[Click]:
    """`image_indices`, `pixel_locations` [[u, v], …] and `locations` [[lat, lon], …], one list per image."""
    data = read_json(path)
    try:
        per_image = list(zip(data["image_indices"], data["pixel_locations"], data["locations"], strict=True))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: image_indices, pixel_locations and locations must be equally long ({error})"
        ) from None
    for image, pixels, places in per_image:
        where = f"{path}, image {image}"
        if len(pixels) != len(places):
            raise InputError(f"{where}: {len(pixels)} pixels, but {len(places)} locations")
        for k, (pixel, place) in enumerate(zip(pixels, places, strict=True)):
            here = f"{where}, click {k}"
            u, v = _pair(pixel, here)
            lat, lon = _pair(place, here)
            if abs(lat) > 90:
                raise InputError(f"{here}: latitude {lat:g} is not on earth; locations are [latitude, longitude]")
            click = Click(str(image), k, u, v, lon, lat, NAN, f"{image}/{k}", here)
            yield placed(click, "EPSG:4326", options)


def _pair(values: Any, where: str) -> tuple[float, float]:
    try:
        first, second = (float(value) for value in values)
    except (TypeError, ValueError):
        raise InputError(f"{where}: expected two numbers, got {values!r}") from None
    return first, second


def read_opensfm_points(path: Path, options: LandmarkOptions) -> Iterator[Click]:
    """OpenSfM ground_control_points.json; points without a position (check points between images) are skipped.

    Projections are normalised by the longer side, from the image's centre.
    """
    for number, point in enumerate(read_json(path)["points"]):
        where = f"{path}, point {point.get('id', number)}"
        if "position" not in point:
            continue
        try:
            position = point["position"]
            lon, lat = float(position["longitude"]), float(position["latitude"])
            height = float(position.get("altitude", NAN))
            observations = [(str(o["shot_id"]), *_pair(o["projection"], where)) for o in point["observations"]]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{where}: not an OpenSfM ground control point ({error})") from None
        if point.get("has_altitude") is False:
            height = NAN
        for shot, u, v in observations:
            click = Click(shot, 0, u, v, lon, lat, height, str(point.get("id", number)), where, normalised=True)
            yield placed(click, "EPSG:4326", options)


def read_opensfm_list(path: Path, options: LandmarkOptions) -> Iterator[Click]:
    """OpenSfM gcp_list.txt: the first line names the projection, then `x y z u v image [name]`; z may be NaN."""
    lines = [line.strip() for line in read_bytes(path).decode("utf-8-sig").splitlines()]
    rows = [(number, line) for number, line in enumerate(lines, 1) if line and not line.startswith("#")]
    if not rows:
        raise InputError(f"{path}: no rows")
    crs = _projection(rows[0][1], f"{path}, line {rows[0][0]}")
    for number, line in rows[1:]:
        where = f"{path}, line {number}"
        fields = line.split()
        if len(fields) < 6:
            raise InputError(f"{where}: {len(fields)} columns, expected x y z u v image")
        try:
            x, y, z, u, v = (float(text) for text in fields[:5])
        except ValueError as error:
            raise InputError(f"{where}: {error}") from None
        name = fields[6] if len(fields) > 6 else f"{x} {y}"
        yield placed(Click(fields[5], 0, u, v, x, y, z, name, where), crs, options)


def _projection(line: str, where: str) -> str:
    words = line.upper().split()
    if words == ["WGS84"]:
        return "EPSG:4326"
    if words[:2] == ["WGS84", "UTM"] and len(words) == 3 and words[2][:-1].isdecimal() and words[2][-1] in "NS":
        zone = int(words[2][:-1])
        return f"EPSG:{utm_epsg(6.0 * zone - 183.0, 45.0 if words[2][-1] == 'N' else -45.0)}"
    if line.upper().startswith("EPSG:") or line.startswith("+proj"):
        return line
    raise InputError(f"{where}: projection {line!r} is unknown; use WGS84, WGS84 UTM 33N, EPSG:32633 or a +proj string")


def read_qgis(path: Path, options: LandmarkOptions) -> Iterator[Click]:
    """QGIS Georeferencer .points of one image; disabled rows are skipped, the CRS comes from its header or --crs."""
    lines = read_bytes(path).decode("utf-8-sig").splitlines()
    header = next((line for line in lines if line.startswith("#CRS:")), "")
    crs = options.crs or header.removeprefix("#CRS:").strip() or None
    body = [(number, line) for number, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    names = [name.strip() for name in body[0][1].split(",")] if body else []
    columns = [
        _column(names, choices, path)
        for choices in (("mapX",), ("mapY",), ("sourceX", "pixelX"), ("sourceY", "pixelY"))
    ]
    enabled = names.index("enable") if "enable" in names else None
    image = options.image or path.stem
    for number, line in body[1:]:
        where = f"{path}, line {number}"
        values = next(csv.reader([line]))
        try:
            x, y, u, v = (float(values[column]) for column in columns)
            used = enabled is None or values[enabled].strip() == "1"
        except (ValueError, IndexError) as error:
            raise InputError(f"{where}: {error}") from None
        if used:
            click = Click(image, 0, u - QGIS_HALF_PIXEL, -v - QGIS_HALF_PIXEL, x, y, NAN, where, where)
            yield placed(click, crs, options)


def _column(names: list[str], choices: tuple[str, ...], path: Path) -> int:
    for choice in choices:
        if choice in names:
            return names.index(choice)
    raise InputError(f"{path}: no column {choices[0]}; save the points in QGIS' Georeferencer")

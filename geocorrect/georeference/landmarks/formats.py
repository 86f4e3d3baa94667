"""One reader per format of clicks; each yields clicks brought to WGS84 and pixel centres, InputError naming the row."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from geocorrect.anchors.readers.rows import Row, read_rows
from geocorrect.errors import InputError
from geocorrect.geometry.frame import utm_epsg
from geocorrect.georeference.landmarks.click import NAN, Click, LandmarkOptions, placed
from geocorrect.io.text_file import finite_numbers, read_json, read_text

WGS84 = "EPSG:4326"
QGIS_HALF_PIXEL = 0.5
"""QGIS counts from the corner of the top-left pixel, `Click` from its centre."""


def read_table(path: Path, options: LandmarkOptions) -> Iterator[Click]:
    """CSV or GeoJSON points with image, u_px, v_px, lon_deg, lat_deg (or x, y in the declared CRS).

    Optional: height_m, landmark, sigma_px, sigma_m, sigma_height_m.
    """
    crs = options.crs or (None if path.suffix.lower() == ".csv" else WGS84)
    for number, row in enumerate(read_rows(path)):
        geographic = row.has("lon_deg")
        x, y = (row.number(name) for name in (("lon_deg", "lat_deg") if geographic else ("x", "y")))
        click = Click(
            row.text("image"), row.number("u_px"), row.number("v_px"), x, y, row.number_or("height_m", NAN),
            row.text_or("landmark", f"click {number}"), row.where, sigma_px=_sigma(row, "sigma_px"),
            sigma_map_m=_sigma(row, "sigma_m"), sigma_height_m=_sigma(row, "sigma_height_m"),
        )  # fmt: skip
        yield placed(click, WGS84 if geographic and crs is None else crs, options)


def _sigma(row: Row, column: str) -> float:
    value = row.number_or(column, NAN)
    if value <= 0:
        raise InputError(f"{row.where}: {column} must be positive, got {value:g}")
    return value


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
        if len(pixels) != len(places):
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
    for number, point in enumerate(read_json(path)["points"]):
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
    """OpenSfM gcp_list.txt: the first line names the projection, then `x y z u v image [name]`; z may be NaN."""
    lines = [line.strip() for line in read_text(path).splitlines()]
    rows = [(f"{path}, line {number}", line) for number, line in enumerate(lines, 1) if line and line[0] != "#"]
    if not rows:
        raise InputError(f"{path}: no rows")
    crs = _projection(rows[0][1], rows[0][0])
    for where, line in rows[1:]:
        fields = line.split()
        if len(fields) < 6:
            raise InputError(f"{where}: {len(fields)} columns, expected x y z u v image")
        try:
            x, y, z, u, v = (float(text) for text in fields[:5])
        except ValueError as error:
            raise InputError(f"{where}: {error}") from None
        name = fields[6] if len(fields) > 6 else f"{x} {y}"
        yield placed(Click(fields[5], u, v, x, y, z, name, where), crs, options)


def _projection(line: str, where: str) -> str:
    words = line.upper().split()
    if words == ["WGS84"]:
        return WGS84
    if words[:2] == ["WGS84", "UTM"] and len(words) == 3 and words[2][:-1].isdecimal() and words[2][-1] in "NS":
        zone = int(words[2][:-1])
        return f"EPSG:{utm_epsg(6.0 * zone - 183.0, 45.0 if words[2][-1] == 'N' else -45.0)}"
    if line.upper().startswith("EPSG:") or line.startswith("+proj"):
        return line
    raise InputError(f"{where}: projection {line!r} is unknown; use WGS84, WGS84 UTM 33N, EPSG:32633 or a +proj string")


def read_qgis(path: Path, options: LandmarkOptions) -> Iterator[Click]:
    """QGIS Georeferencer .points of one image; the CRS comes from its header or --crs.

    Disabled rows are skipped; rows of the image count negative downward.
    """
    lines = read_text(path).splitlines()
    header = next((line for line in lines if line.startswith("#CRS:")), "")
    crs = options.crs or header.removeprefix("#CRS:").strip() or None
    body = [(number, line) for number, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    names = [name.strip() for name in body[0][1].split(",")] if body else []
    choices = (("mapX",), ("mapY",), ("sourceX", "pixelX"), ("sourceY", "pixelY"))
    columns = [_column(names, choice, path) for choice in choices]
    enabled = names.index("enable") if "enable" in names else None
    for number, line in body[1:]:
        where = f"{path}, line {number}"
        values = next(csv.reader([line]))
        try:
            x, y, u, v = (float(values[column]) for column in columns)
            used = enabled is None or values[enabled].strip() == "1"
        except (ValueError, IndexError) as error:
            raise InputError(f"{where}: {error}") from None
        if used:
            u, v = u - QGIS_HALF_PIXEL, -v - QGIS_HALF_PIXEL
            yield placed(Click(options.image or path.stem, u, v, x, y, NAN, where, where), crs, options)


def _column(names: list[str], choices: tuple[str, ...], path: Path) -> int:
    for choice in choices:
        if choice in names:
            return names.index(choice)
    raise InputError(f"{path}: no column {choices[0]}; save the points in QGIS' Georeferencer")

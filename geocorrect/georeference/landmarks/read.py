"""Clicks of any format: CSV or GeoJSON table, lists per image, OpenSfM ground control points, QGIS Georeferencer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np

from geocorrect.errors import InputError
from geocorrect.georeference.landmarks import formats
from geocorrect.georeference.landmarks.click import Click, LandmarkOptions
from geocorrect.io.text_file import read_json
from geocorrect.io.unicode_names import plain

MAX_EXTENT_DEG = 0.5
Reader = Callable[[Path, LandmarkOptions], Iterable[Click]]

BY_SUFFIX: dict[str, Reader] = {
    ".csv": formats.read_table, ".points": formats.read_qgis, ".txt": formats.read_opensfm_list
}  # fmt: skip
BY_JSON_KEY: dict[str, Reader] = {
    "features": formats.read_table, "image_indices": formats.read_image_lists, "points": formats.read_opensfm_points,
}  # fmt: skip


def read_landmarks(source: Path | Sequence[Path], options: LandmarkOptions | None = None) -> list[Click]:
    """Clicks of one drive, in files whose format is recognised by name and content, numbered within each image.

    QGIS keeps a .points file per image: several files, or a folder of them, are read together.

    Raises:
        InputError: Unreadable rows, swapped latitude and longitude, no declared CRS, no clicks, or heights
            whose reference is not declared; the message names file and row.
    """
    given = [source] if isinstance(source, Path) else source
    paths = [part for path in given for part in (sorted(path.glob("*.points")) if path.is_dir() else [path])]
    read = (click for part in paths for click in _reader_of(part)(part, options or LandmarkOptions()))
    clicks = [replace(click, image=plain(click.image), landmark=plain(click.landmark)) for click in read]
    if not clicks:
        raise InputError(f"{', '.join(map(str, given))}: no clicks")
    _refuse_scattered(clicks)
    counters: dict[str, Iterator[int]] = defaultdict(count)
    return [replace(click, index=next(counters[click.image])) for click in clicks]


def _reader_of(path: Path) -> Reader:
    suffix = path.suffix.lower()
    if suffix in BY_SUFFIX:
        return BY_SUFFIX[suffix]
    data = read_json(path)
    for key, reader in BY_JSON_KEY.items():
        if isinstance(data, dict) and key in data:
            return reader
    raise InputError(
        f"{path}: not a clicks file; known are CSV, GeoJSON, OpenSfM ground_control_points.json and gcp_list.txt, "
        "QGIS .points, and JSON with image_indices, pixel_locations, locations"
    )


def _refuse_scattered(clicks: list[Click]) -> None:
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

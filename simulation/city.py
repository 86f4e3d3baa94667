"""Metadata of a synthetic city for tests of completeness and speed: no pictures, only what the API says about them.

Drives wander over a street grid, so sequences cross tiles and each other; some images are listed by two sequences, some
were uploaded twice under another id, some sequences are short, some have no computed pose.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from geocorrect.demo.mapillary_server.answers import FakeMapillaryData

CITY_BOX = (12.48, 41.88, 12.53, 41.92)
"""west, south, east, north in degrees: about 4.1 km × 4.4 km, 4 × 4 tiles of zoom 14."""

_BLOCK_DEG = 0.001
_STEP_DEG = 0.00005
_HEADINGS = {(1, 0): 90.0, (-1, 0): 270.0, (0, 1): 0.5, (0, -1): 180.0}
_LEVEL_NORTH = [1.5, 0.02, 0.01]


def city_images(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """`count` images in sequences of 1…400, in the shape of API v4."""
    generator = np.random.default_rng(seed)
    images: list[dict[str, Any]] = []
    while len(images) < count:
        length = min(int(generator.choice([1, 7, 60, 150, 400])), count - len(images))
        images += _drive(generator, f"drive-{len(images):06d}", len(images), length)
    return images


def share_images(data: FakeMapillaryData, seed: int = 0) -> None:
    """Let every tenth sequence list some images of another one too, as re-uploads of the same drive do."""
    generator = np.random.default_rng(seed)
    keys = sorted(data.sequences)
    for key in keys[::10]:
        other = keys[int(generator.integers(len(keys)))]
        data.sequences[key] += [
            image_id for image_id in data.sequences[other][:20] if image_id not in data.sequences[key]
        ]


def _drive(generator: np.random.Generator, key: str, first: int, length: int) -> list[dict[str, Any]]:
    west, south, east, north = CITY_BOX
    position = np.round(generator.uniform([west, south], [east, north]) / _BLOCK_DEG) * _BLOCK_DEG
    direction = (1, 0)
    images = []
    for index in range(length):
        if index % 20 == 0:
            direction = list(_HEADINGS)[int(generator.integers(4))]
        ahead = position + np.array(direction) * _STEP_DEG
        if not (west <= ahead[0] <= east and south <= ahead[1] <= north):
            direction = (-direction[0], -direction[1])
            ahead = position + np.array(direction) * _STEP_DEG
        position = ahead
        images.append(_image(generator, key, first + index, position, _HEADINGS[direction]))
    return images


def _image(
    generator: np.random.Generator, key: str, number: int, position: np.ndarray[Any, Any], heading_deg: float
) -> dict[str, Any]:
    lon, lat = (round(float(value), 9) for value in position)
    record: dict[str, Any] = {
        "id": str(10**15 + number),
        "sequence": key,
        "captured_at": 1_600_000_000_000 + 1000 * number,
        "geometry": {"type": "Point", "coordinates": [lon, lat]},
        "altitude": 40.0,
        "compass_angle": heading_deg,
        "camera_type": "perspective",
        "camera_parameters": [0.8, 0.01, 0.0],
        "exif_orientation": 1,
        "width": 64,
        "height": 48,
        "make": "Maker",
        "model": f"Model {int(generator.integers(5))}",
        "creator": {"username": "someone", "id": "7"},
        "is_pano": False,
    }
    if number % 50:
        shift = generator.normal(0, 2e-5, 2)
        record["computed_geometry"] = {"type": "Point", "coordinates": [lon + float(shift[0]), lat + float(shift[1])]}
        record["computed_rotation"] = _LEVEL_NORTH
        record["merge_cc"] = float(number // 60 + 1)
    return record

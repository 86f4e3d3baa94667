"""The real campus drive with its 23 clicks, blank pictures of the right size, and an orthophoto."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from PIL import Image, ImageDraw

from geocorrect.anchors.readers.vbr.calibration import read_vbr_calibration
from geocorrect.georeference.landmarks.click import Click
from geocorrect.georeference.landmarks.read import read_landmarks
from geocorrect.serve.landmarks.drive import LandmarkFiles

FURTHER = (300, 1500, 3800)
"""Pictures without clicks, beside those with."""


def campus_clicks(shared: Path) -> list[Click]:
    return read_landmarks(shared / "vbr_campus" / "landmarks_campus_train1.json")


def campus_files(shared: Path, folder: Path) -> LandmarkFiles:
    """Files to click in, below an empty folder."""
    campus = shared / "vbr_campus"
    camera = read_vbr_calibration(campus / "vbr_calib.yaml").camera("left").camera
    photos = folder / "photos"
    photos.mkdir(parents=True)
    for number in sorted({int(click.image) for click in campus_clicks(shared)} | set(FURTHER)):
        picture = Image.new("RGB", (camera.width, camera.height), (92, 99, 108))
        draw = ImageDraw.Draw(picture)
        draw.rectangle([0, 0, camera.width, camera.height // 2], fill=(150, 175, 205))
        for u in range(0, camera.width, 100):
            draw.line([u, camera.height // 2, 2 * u - camera.width // 2, camera.height], fill=(120, 126, 134), width=2)
        draw.text((20, 20), f"frame {number}", fill=(20, 20, 20), font_size=48)
        picture.save(photos / f"{number:010d}.png", compress_level=1)
    return LandmarkFiles(
        (campus / "campus_train1_gt.txt",), campus / "vbr_calib.yaml", (folder / "clicks.geojson",), (photos,)
    )


def write_orthophoto(path: Path, clicks: list[Click], size_px: int = 600) -> Path:
    """A chequered GeoTIFF (WGS84) around the clicks."""
    place = np.array([[click.lon_deg, click.lat_deg] for click in clicks])
    (west, south), (east, north) = place.min(axis=0) - 0.0005, place.max(axis=0) + 0.0005
    rows, columns = np.mgrid[0:size_px, 0:size_px]
    tone = np.where((rows // 20 + columns // 20) % 2 == 0, 190, 160).astype(np.uint8)
    transform = rasterio.Affine((east - west) / size_px, 0.0, west, 0.0, (south - north) / size_px, north)
    profile = {"driver": "GTiff", "width": size_px, "height": size_px, "count": 3, "dtype": "uint8"}
    with rasterio.open(path, "w", **profile, crs="EPSG:4326", transform=transform) as file:
        file.write(np.stack([tone, tone + 10, tone]))
    return path

"""Whatever is in a file: an answer or an InputError; never a traceback, never more than 1 GiB."""

from __future__ import annotations

import io
import re
import resource
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyproj import CRS
from pyproj.exceptions import CRSError
from support.mutations import mutated

from geocorrect.anchors.readers.rows import read_rows
from geocorrect.anchors.readers.timestamps import read_timestamps
from geocorrect.anchors.readers.vbr.calibration import read_vbr_calibration
from geocorrect.anchors.trajectory import read_tum
from geocorrect.config import load_settings
from geocorrect.depth.files import DepthFilesOptions, FilesDepth
from geocorrect.errors import GeocorrectError
from geocorrect.georeference.gnss import GnssOptions, read_gnss
from geocorrect.georeference.landmarks.click import LandmarkOptions
from geocorrect.georeference.landmarks.read import read_landmarks

CLICKS = partial(read_landmarks, options=LandmarkOptions(height_reference="ellipsoid"))
CALIBRATION = """cam_l:
  resolution: [1388, 700]
  intrinsics: [1265.4, 1259.1, 649.2, 349.1]
  distortion_coeffs: [-0.15, 0.21, 0.0, -0.001]
  T_b: [[0, 0, 1, 0.07], [-1, 0, 0, 0.23], [0, -1, 0, -0.67], [0, 0, 0, 1]]
lidar:
  T_b: [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
"""
GEOJSON = (
    '{"type": "FeatureCollection", "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}, '
    '"features": [{"type": "Feature", "geometry": {"type": "Point", "coordinates": [12.5, 41.9, 98]}, '
    '"properties": {"image": "7.png", "u_px": 1, "v_px": 2}}]}'
)
OPENSFM = (
    '{"points": [{"id": "a", "position": {"latitude": 41.9, "longitude": 12.5, "altitude": 98}, '
    '"observations": [{"shot_id": "7.png", "projection": [0.1, -0.2]}]}]}'
)
LISTS = '{"image_indices": [7], "pixel_locations": [[[1, 2], [3, 4]]], "locations": [[[41.9, 12.5], [41.9, 12.6]]]}'


def depth_file() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.ones((3, 4), np.float32))
    return stream.getvalue()


def read_depth(path: Path) -> Any:
    @dataclass(frozen=True)
    class NamedAnchor:
        id: str

    source = FilesDepth(DepthFilesOptions(folder=path.parent))
    return source.depth(NamedAnchor(path.stem), np.zeros((3, 4, 3), np.uint8))  # type: ignore[arg-type]


TARGETS: dict[str, tuple[str, str | bytes, Callable[[Path], object]]] = {
    "table": ("a.csv", 'id,file,x,y,height_m,note\na1,a1.png,292711,4641800,80.0,"left, side"\n', read_rows),
    "geojson": ("a.geojson", GEOJSON, CLICKS),
    "clicks": ("a.csv", "image,u_px,v_px,lon_deg,lat_deg,sigma_m\n7.png,1,2,12.5,41.9,0.3\n" * 1, CLICKS),
    "lists": ("a.json", LISTS, CLICKS),
    "opensfm": ("a.json", OPENSFM, CLICKS),
    "gcp_list": ("a.txt", "WGS84 UTM 33N\n292656.4 4641711.1 98 347.7 492.7 cam0 0000000040.png gcp00\n", CLICKS),
    "qgis": ("7.points", "#CRS: EPSG:4326\nmapX,mapY,sourceX,sourceY,enable\n12.5,41.9,1,-1,1\n", CLICKS),
    "gnss": ("a.csv", "time_s,lon_deg,lat_deg,height_m,sigma_m\n1.5,12.5,41.9,98,0.1\n2.5,12.5,41.9,98,0.1\n",
             partial(read_gnss, options=GnssOptions("ellipsoid"))),
    "trajectory": ("gt.txt", "#t x y z q\n1237.60178 206.7 3.1 -0.4 0 0 0 1\n1237.65178 206.6 3.2 -0.4 0 0 0 1\n",
                   read_tum),
    "timestamps": ("timestamps.txt", "1970-01-01T00:06:06.660458140\n1970-01-01T00:06:06.710458140\n", read_timestamps),
    "calibration": ("vbr_calib.yaml", CALIBRATION, read_vbr_calibration),
    "configuration": ("geocorrect.toml", '[catalog]\nurl = "a.gpkg"\n[harvest]\nbbox = [1, 2, 3.5, 4]\n',
                      lambda path: load_settings(path, {})),
    "depth": ("anchor.npy", depth_file(), read_depth),
}  # fmt: skip
KEPT: dict[str, tuple[int, ...]] = {
    "lists": (21,),
    "timestamps": (4, 1107),
    "depth": (8,),
    "geojson": (3680,),
    "calibration": (1112, 1234),
}
"""Seeds that once failed."""


@pytest.fixture(autouse=True)
def _little_memory() -> Iterator[None]:
    """1 GiB more than there is already."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def failures(target: str, seeds: range | tuple[int, ...], folder: Path) -> list[str]:
    """The seeds whose file is neither read nor refused."""
    name, content, read = TARGETS[target]
    path, found = folder / name, []
    original = content if isinstance(content, bytes) else content.encode()
    for seed in seeds:
        path.write_bytes(mutated(original, seed))
        try:
            read(path)
        except GeocorrectError as error:
            if not str(error).strip():
                found.append(f"seed {seed}: no message")
        except Exception as error:
            found.append(f"seed {seed}: {type(error).__name__}: {error}")
    return found


@pytest.mark.parametrize("target", TARGETS)
def test_some_damage_is_read_or_refused(target: str, tmp_path: Path) -> None:
    assert failures(target, KEPT.get(target, ()), tmp_path) == []
    seeds = 40 if target == "gcp_list" else 200  # it asks PROJ about every CRS that comes out
    assert failures(target, range(seeds), tmp_path) == []


def crs_by_code(words: Any, honest: Callable[[Any], CRS] = CRS.from_user_input) -> CRS:
    """PROJ looks for a name that it does not know in all of its database, 0.2 s: the short test lets it."""
    if isinstance(words, str) and not re.match(r"\s*(\w+:|\+|\w+\[|\{)", words):
        raise CRSError(f"{words[:20]!r} is no code")
    return honest(words)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_much_damage_is_read_or_refused(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CRS, "from_user_input", crs_by_code)
    assert failures(target, range(1000, 101_000), tmp_path) == []

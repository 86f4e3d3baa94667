"""Foreign bytes, mutated by seed: every border answers with its own error or with a value, in time and in memory."""

from __future__ import annotations

import io
import json
import resource
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mercantile
import numpy as np
import pytest
from support.harvest_support import SOUTH, WEST, street_image
from support.mutations import mutated
from support.panoramax_server import item

from geocorrect.anchors.readers.vbr.calibration import read_vbr_calibration
from geocorrect.catalog.rows.codec import checked_texts
from geocorrect.demo.mapillary_server.answers import FakeMapillaryData
from geocorrect.depth.files import DepthFilesOptions, FilesDepth
from geocorrect.errors import InputError, ModelError
from geocorrect.harvest.area import Area
from geocorrect.harvest.mapillary.metadata import read_image_record
from geocorrect.harvest.mapillary.responses import RequestError, classify_response, parse_json
from geocorrect.harvest.mapillary.tiles import read_tile
from geocorrect.harvest.panoramax.item import picture_url, read_item
from geocorrect.io.arrays import read_arrays
from geocorrect.networks.state_dict import read_tensors

NOW = datetime(2026, 3, 1, tzinfo=UTC)
TILE = mercantile.tile(WEST, SOUTH, 14)
AREA = Area.from_box(WEST - 0.01, SOUTH - 0.01, WEST + 0.01, SOUTH + 0.01)
YAML = """
cam_l: {distortion_model: radtan, resolution: [64, 48], intrinsics: [40.0, 40.0, 31.5, 23.5],
  distortion_coeffs: [0.1, -0.05, 0.001, 0.002], T_b: [[1, 0, 0, 0.1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]}
lidar: {T_b: [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]}
"""


def corpus(what: str, folder: Path) -> bytes:
    """The honest file that is mutated."""
    if what == "record":
        return json.dumps(street_image(0)).encode()
    if what == "panoramax item":
        return json.dumps(item(1)).encode()
    if what == "tile":
        return FakeMapillaryData([street_image(i) for i in range(4)], 1.0).tile("mly1_public", TILE.x, TILE.y)
    if what == "yaml":
        return YAML.encode()
    stream = io.BytesIO()
    if what == "npy":
        np.save(stream, np.ones((6, 8), np.float32))
    elif what == "npz":
        np.savez(stream, a=np.ones((6, 8)), b=np.array(1))
    else:
        import torch

        if what == "safetensors":
            from safetensors.torch import save

            return save({"a.weight": torch.ones(3, 2), "b": torch.zeros(4)})
        old = what == "legacy pth"
        torch.save({"model": {"a.weight": torch.ones(3, 2)}}, stream, _use_new_zipfile_serialization=not old)
    return stream.getvalue()


def read_record(data: bytes, _: Path) -> None:
    classify_response("graph", 200, data)
    record = parse_json(data)
    if isinstance(record, dict):
        image = read_image_record({**record, "id": "1"}, NOW)
        # As it will be stored; what the harvest quarantines there would be a hole, not a traceback.
        checked_texts({"provider": dict(image.provider), "sequence": image.sequence_id, "id": image.id}, "image")


def read_panoramax_item(data: bytes, _: Path) -> None:
    classify_response("graph", 200, data)
    record = parse_json(data)
    if isinstance(record, dict) and (image := read_item(record, NOW)) is not None:
        picture_url(record, "2048")
        checked_texts({"provider": dict(image.provider), "sequence": image.sequence_id, "id": image.id}, "image")


def _file(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def _depth(data: bytes, folder: Path) -> None:
    _file(folder, "a.npy", data)
    FilesDepth(DepthFilesOptions(folder)).depth(_Anchor(), np.zeros((6, 8, 3), np.uint8))  # type: ignore[arg-type]


class _Anchor:
    id = "a"


READERS: dict[str, tuple[Callable[[bytes, Path], Any], tuple[type[Exception], ...]]] = {
    "record": (read_record, (RequestError,)),
    "panoramax item": (read_panoramax_item, (RequestError,)),
    "tile": (lambda data, _: read_tile(data, TILE, AREA), (RequestError,)),
    "yaml": (lambda data, folder: read_vbr_calibration(_file(folder, "c.yaml", data)), (InputError,)),
    "npy": (_depth, (InputError,)),
    "npz": (lambda data, folder: read_arrays(_file(folder, "c.npz", data)), (ValueError,)),
    "pth": (lambda data, folder: read_tensors(_file(folder, "c.pth", data)), (ModelError,)),
    "legacy pth": (lambda data, folder: read_tensors(_file(folder, "c.pth", data)), (ModelError,)),
    "safetensors": (lambda data, folder: read_tensors(_file(folder, "c.safetensors", data)), (ModelError,)),
}
FAILED_ONCE: dict[str, tuple[int, ...]] = {}
"""Seeds whose mutation once got past its border."""


def try_seeds(what: str, seeds: Any, folder: Path) -> None:
    if what in ("pth", "legacy pth", "safetensors"):
        pytest.importorskip("torch", reason="pip install 'geocorrect[models]'")
    read, expected = READERS[what]
    honest = corpus(what, folder)
    read(honest, folder)
    n_refused = 0
    for seed in seeds:
        start_s = time.process_time()
        try:
            read(mutated(honest, seed), folder)
        except expected:
            n_refused += 1
        except Exception as error:
            raise AssertionError(f"{what}, seed {seed}") from error
        assert time.process_time() - start_s < 5.0, (what, seed)
    assert n_refused > len(seeds) / 20


@pytest.mark.parametrize("what", READERS)
def test_some_mutations(what: str, tmp_path: Path) -> None:
    count = 100 if what == "yaml" else 200  # a reader in Python takes its time
    try_seeds(what, [*range(count), *FAILED_ONCE.get(what, ())], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("what", READERS)
def test_a_hundred_thousand_mutations(what: str, tmp_path: Path) -> None:
    try_seeds(what, range(100_000), tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 1 << 20  # KiB

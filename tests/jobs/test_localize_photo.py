"""Which heading finds the anchors of a single photo: the one that a run would take, unless the user states another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from geocorrect.errors import InputError, Reason
from geocorrect.geometry.frame import Frame
from geocorrect.jobs.photo import localize_photo
from geocorrect.jobs.photo.localize_photo import PhotoOptions, describe_photo
from geocorrect.jobs.scene import Scene
from geocorrect.records import Image, MetadataQuality, Position, Rejection


def photo_of(folder: Path) -> Image:
    path = folder / "1_2048.jpg"
    PillowImage.new("RGB", (64, 48)).save(path)
    return Image(
        "1", Position(12.49, 41.89), None, path, heading_deg=10.0, computed_heading_deg=77.0,
        quality=MetadataQuality.SFM,
    )  # fmt: skip


def heading_of_task(photo: Image, monkeypatch: pytest.MonkeyPatch) -> float:
    tasks = []

    class Place:
        place_of = Scene.place_of

        def __init__(self, *_: Any) -> None:
            self.frame = Frame("", 12.49, 41.89, 0.0)

        def reported_enu_m(self, lon_deg: Any, lat_deg: Any) -> Any:
            return np.zeros((1, 3))

    class Reader:
        def __init__(self, *_: Any) -> None: ...

        def read(self, task: Any) -> Rejection:
            tasks.append(task)
            return Rejection("1", Reason.IMAGE_UNREADABLE, "no further")

    monkeypatch.setattr(localize_photo, "Scene", Place)
    monkeypatch.setattr(localize_photo, "Worker", Reader)
    with pytest.raises(InputError, match="no further"):
        localize_photo.localize_photo(None, None, photo)  # type: ignore[arg-type]
    return float(tasks[0].heading_deg)


def test_the_heading_is_that_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert heading_of_task(photo_of(tmp_path), monkeypatch) == 77.0


def test_a_stated_heading_goes_before_the_computed_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = photo_of(tmp_path)

    class Records:
        def images(self, ids: Any) -> dict[str, Image]:
            return {known.id: known}

    assert known.path is not None
    options = PhotoOptions(focal_px=50.0, heading_deg=400.0)
    described = describe_photo(known.path, options, Records())  # type: ignore[arg-type]
    assert heading_of_task(replace(described), monkeypatch) == 40.0

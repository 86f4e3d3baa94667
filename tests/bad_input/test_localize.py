"""`geocorrect localize` met with wrong input: what is wrong, where, how to fix it; nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from geocorrect.__main__ import run
from geocorrect.errors import ExitCode

TABLE = "--anchors anchors.csv --format table --crs EPSG:4326 --height-reference ellipsoid"
HERE = "--position 12.501,41.901"
Spoil = Callable[[Path], object]


def with_focal(scene: Path) -> None:
    exif = PillowImage.Exif()
    exif.get_ifd(0x8769)[0xA405] = 26
    PillowImage.fromarray(np.zeros((48, 64, 3), np.uint8)).save(scene / "phone.jpg", exif=exif)


def half_photo(scene: Path) -> None:
    data = (scene / "a1.png").read_bytes()
    (scene / "half.png").write_bytes(data[: len(data) // 2])


CASES: dict[str, tuple[Spoil, str, ExitCode, tuple[str, ...]]] = {
    "a pair has no neighbours": (
        lambda s: None, "match a1.png a2.png --depth triangulated", ExitCode.INPUT, ("a2.png", "neighbours")
    ),
    "calibration of measured depth": (
        lambda s: (s / "geocorrect.toml").write_text("[depth]\ncalibrate = true\n"), "status", ExitCode.CONFIG,
        ("[depth]", "lidar is not predicted"),
    ),
    "depth files without a folder": (
        lambda s: None, f"localize a1.png {TABLE} {HERE} --focal 60 --depth files", ExitCode.CONFIG,
        ("[depth.files]", "folder"),
    ),
    "no such photo": (
        lambda s: None, f"localize no.jpg {TABLE} {HERE} --focal 60", ExitCode.INPUT, ("no.jpg", "no such file")
    ),
    "photo is no picture": (
        lambda s: (s / "x.jpg").write_bytes(b"hello"), f"localize x.jpg {TABLE} {HERE} --focal 60", ExitCode.INPUT,
        ("x.jpg", "not a readable"),
    ),
    "photo cut short": (half_photo, f"localize half.png {TABLE} {HERE} --focal 60", ExitCode.INPUT, ("half.png",)),
    "photo without a camera": (
        lambda s: None, f"localize a1.png {TABLE} {HERE}", ExitCode.INPUT, ("a1.png", "--focal", "--camera")
    ),
    "camera file missing": (
        lambda s: None, f"localize a1.png {TABLE} {HERE} --camera no.json", ExitCode.INPUT, ("no.json",)
    ),
    "camera file is no camera": (
        lambda s: (s / "c.json").write_text('{"focal": "long", "projection_type": "perspective"}'),
        f"localize a1.png {TABLE} {HERE} --camera c.json", ExitCode.INPUT, ("c.json", "OpenSfM"),
    ),
    "camera and focal": (
        lambda s: None, f"localize a1.png {TABLE} --camera c.json --focal 60", ExitCode.USAGE, ("--camera", "--focal")
    ),
    "position in words": (
        lambda s: None, f"localize a1.png {TABLE} --focal 60 --position here", ExitCode.USAGE, ("--position", "here")
    ),
    "position not on earth": (
        lambda s: None, f"localize a1.png {TABLE} --focal 60 --position 41.9,112.5", ExitCode.USAGE,
        ("--position", "112.5", "swapped"),
    ),
    "no catalog": (lambda s: None, f"localize a1.png {HERE} --focal 60", ExitCode.DATABASE, ("corrections.gpkg",)),
    "catalog without anchors": (
        lambda s: run(["init", "empty"]), f"localize a1.png --anchors empty/corrections.gpkg {HERE} --focal 60",
        ExitCode.INPUT, ("no anchors", "geocorrect anchors add"),
    ),
    "anchors of unknown kind": (
        lambda s: None, f"localize a1.png --anchors anchors.csv {HERE} --focal 60", ExitCode.USAGE, ("--format",)
    ),
    "format without anchors": (
        lambda s: None, "localize a1.png --format table --focal 60", ExitCode.USAGE, ("--anchors",)
    ),
    "anchors without a scan": (
        with_focal, f"localize phone.jpg {TABLE} {HERE}", ExitCode.INPUT, ("no laser scan", "--depth triangulated")
    ),
    "unknown depth": (
        lambda s: None, f"localize a1.png {TABLE} --depth sonar", ExitCode.USAGE, ("sonar", "triangulated")
    ),
    "picture of another kind": (
        lambda s: None, f"localize a1.png {TABLE} --focal 60 --picture out.pdf", ExitCode.USAGE, ("out.pdf", ".png")
    ),
    "picture in no folder": (
        lambda s: (s / "no").touch(),
        f"localize a1.png {TABLE} {HERE} --focal 60 --depth triangulated --picture no/out.png",
        ExitCode.OUTPUT, ("no/out.png",),
    ),
    "calibrated depth that is not": (
        lambda s: (s / "geocorrect.toml").write_text(
            '[depth]\nsource = "files"\ncalibrate = true\n[depth.files]\nfolder = "depth"\n'
        ),
        f"localize a1.png {TABLE} {HERE} --focal 60", ExitCode.CONFIG, ("geocorrect anchors calibrate", "a1"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_is_explained(name: str, scene: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil, command, code, says = CASES[name]
    spoil(scene)
    capsys.readouterr()
    before = {path for path in scene.rglob("*")}
    assert run(command.split()) == code
    captured = capsys.readouterr()
    text = " ".join((captured.out + captured.err).split())
    for fragment in says:
        assert fragment in text
    assert "Traceback" not in text
    assert {path for path in scene.rglob("*")} == before

"""Exports to what is not a plain file, and from an area in another CRS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from support.catalog_world import fill
from support.child_process import child

from geocorrect.__main__ import run
from geocorrect.catalog import Catalog
from geocorrect.cli.export import read_area
from geocorrect.errors import ExitCode, InputError, OutputError
from geocorrect.export.export import export_catalog
from geocorrect.export.formats import Format


@pytest.fixture
def filled(empty_geopackage: Path, tmp_path: Path) -> Catalog:
    path = tmp_path / "catalog" / "catalog.gpkg"
    path.parent.mkdir()
    path.write_bytes(empty_geopackage.read_bytes())
    catalog = Catalog.open(str(path))
    fill(catalog, 8)
    return catalog


@pytest.mark.parametrize("kind", [Format.GEOJSON, Format.CSV, Format.GPKG, Format.FLATGEOBUF])
def test_a_pipe_gets_the_bytes_of_a_file_and_nothing_beside_it(filled: Catalog, kind: Format, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    os.mkfifo(folder / "pipe")
    content: list[bytes] = []
    reader = threading.Thread(target=lambda: content.append((folder / "pipe").read_bytes()), daemon=True)
    reader.start()
    count = export_catalog(filled, folder / "pipe", kind)
    reader.join(10)
    assert count > 0
    assert [entry.name for entry in folder.iterdir()] == ["pipe"]
    file = tmp_path / f"file.{kind.value}"
    assert export_catalog(filled, file, kind) == count
    if kind is not Format.GPKG:  # whose bytes hold the time of writing
        assert content == [file.read_bytes()]
    assert len(content[0]) > 100
    with pytest.raises(OutputError, match="is a device"):
        export_catalog(filled, Path("/dev/null"), kind)
    filled.close()


@pytest.fixture(scope="module")
def commanded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a catalog and, made by the command line, its results as a.csv."""
    folder = tmp_path_factory.mktemp("commanded")
    with Catalog.open(str(folder / "c.gpkg"), create=True) as catalog:
        fill(catalog, 8)
    assert run(["export", str(folder / "a.csv"), "--catalog", str(folder / "c.gpkg")]) == 0
    return folder


def exported(path: Path | str, catalog: Path, **streams: Any) -> int:
    """The exit code of `geocorrect export` in a process of its own."""
    command = [sys.executable, "-m", "geocorrect", "export", str(path), "--format", "csv", "--catalog", str(catalog)]
    return subprocess.run(command, timeout=120, check=False, **streams).returncode


def test_the_command_streams_to_a_pipe_that_another_process_reads(commanded: Path, tmp_path: Path) -> None:
    """`mkfifo pipe; wc -c < pipe > read & geocorrect export pipe`."""
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "read").open("wb") as read, child(["cat", str(tmp_path / "pipe")], stdout=read) as reader:
        assert run(["export", str(tmp_path / "pipe"), "--format", "csv", "--catalog", str(commanded / "c.gpkg")]) == 0
        assert reader.wait(30) == 0
    assert (tmp_path / "read").read_bytes() == (commanded / "a.csv").read_bytes()
    assert (tmp_path / "pipe").is_fifo()
    assert {entry.name for entry in tmp_path.iterdir()} == {"pipe", "read"}


@pytest.mark.long
def test_the_command_streams_to_standard_output_whatever_that_is(commanded: Path, tmp_path: Path) -> None:
    """`geocorrect export /dev/stdout` with `| cat`, and between two other writers of `>> file`."""
    rows, out = (commanded / "a.csv").read_bytes(), tmp_path / "all.csv"
    with (tmp_path / "piped.csv").open("wb") as read, child(["cat"], stdin=subprocess.PIPE, stdout=read) as piped:
        assert exported("/dev/stdout", commanded / "c.gpkg", stdout=piped.stdin) == 0
        assert piped.stdin is not None
        piped.stdin.close()
        assert piped.wait(30) == 0
    assert (tmp_path / "piped.csv").read_bytes() == rows
    out.write_bytes(b"before\n")
    same = out.stat().st_ino
    with out.open("ab") as appended:
        assert exported("/dev/fd/1", commanded / "c.gpkg", stdout=appended) == 0
        appended.write(b"after\n")
    assert out.read_bytes() == b"before\n" + rows + b"after\n"
    assert out.stat().st_ino == same
    assert {entry.name for entry in tmp_path.iterdir()} == {"piped.csv", "all.csv"}


def test_the_command_writes_through_a_link_and_keeps_rights(commanded: Path, tmp_path: Path) -> None:
    file, link = tmp_path / "elsewhere" / "real.csv", tmp_path / "link.csv"
    file.parent.mkdir()
    file.write_text("old")
    file.chmod(0o664)
    link.symlink_to(file)
    assert run(["export", str(link), "--catalog", str(commanded / "c.gpkg")]) == 0
    assert link.is_symlink()
    assert file.read_bytes() == (commanded / "a.csv").read_bytes()
    assert file.stat().st_mode & 0o777 == 0o664
    linked = tmp_path / "folder"
    (tmp_path / "elsewhere" / "sfm").mkdir()
    linked.symlink_to(tmp_path / "elsewhere" / "sfm")
    assert run(["export", str(linked), "--format", "opensfm", "--catalog", str(commanded / "c.gpkg")]) == 0
    assert linked.is_symlink()
    assert (tmp_path / "elsewhere" / "sfm" / "reconstruction.json").is_file()
    for device in ("/dev/null", "/dev/full"):
        assert run(["export", device, "--format", "csv", "--catalog", str(commanded / "c.gpkg")]) == ExitCode.OUTPUT
        assert Path(device).is_char_device()


@pytest.mark.parametrize(
    ("crs", "corner"),
    [
        (None, (12.0, 41.0, 13.0, 42.0)),
        ("urn:ogc:def:crs:OGC:1.3:CRS84", (12.0, 41.0, 13.0, 42.0)),
        ("urn:ogc:def:crs:EPSG::3857", (1335833.8895, 5012341.6638, 1447153.3803, 5160979.4440)),
        ("EPSG:4258", (12.0, 41.0, 13.0, 42.0)),
    ],
)
def test_an_area_is_in_the_crs_that_it_names(
    crs: str | None, corner: tuple[float, float, float, float], tmp_path: Path
) -> None:
    west, south, east, north = corner
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    content = {"type": "Polygon", "coordinates": [ring]}
    named = {} if crs is None else {"crs": {"type": "name", "properties": {"name": crs}}}
    path = tmp_path / "area.geojson"
    path.write_text(json.dumps({**content, **named}))
    assert read_area(str(path)).bounds == pytest.approx((12.0, 41.0, 13.0, 42.0), abs=1e-6)
    for text in ("{", "[]", json.dumps({**content, "crs": {"properties": {"name": "banana"}}})):
        path.write_text(text)
        with pytest.raises(InputError, match=r"area.geojson"):
            read_area(str(path))

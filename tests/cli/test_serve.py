"""`geocorrect serve` as a person types it: what is refused before a port is opened, and how it ends."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from pmtiles.tile import Compression, TileType, zxy_to_tileid
from pmtiles.writer import Writer
from support.child_process import child
from support.served import Served

from geocorrect.__main__ import run
from geocorrect.errors import ExitCode
from geocorrect.serve.basemap import open_basemap
from geocorrect.serve.state import ServeSettings


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--tiles", "https://t.example/{z}/{x}/{y}.png"], ExitCode.USAGE, "--attribution"),
        (["--tiles", "https://t.example/tile.png", "--attribution", "me"], ExitCode.INPUT, "{z}, {x} and {y}"),
        (["--tiles", "javascript:{z}{x}{y}", "--attribution", "me"], ExitCode.INPUT, "not an http address"),
        (["--tiles", "https://t; script-src *//{z}{x}{y}", "--attribution", "me"], ExitCode.INPUT, "not an http"),
        (["--orthophoto", "none.tif"], ExitCode.INPUT, "none.tif"),
        (["--orthophoto", "plain.tif"], ExitCode.INPUT, "not georeferenced"),
        (["--pmtiles", "plain.tif"], ExitCode.INPUT, "cannot be read as PMTiles"),
        (["--orthophoto", "a.tif", "--pmtiles", "b.pmtiles"], ExitCode.USAGE, "name one map"),
        (["--trajectory", "a.txt"], ExitCode.USAGE, "--calibration and --clicks"),
        (["--calibration", "c.yaml"], ExitCode.USAGE, "--trajectory, --calibration and --clicks"),
        (["--catalog", "none.gpkg"], ExitCode.DATABASE, "does not exist"),
    ],
)
def test_what_cannot_be_served_is_said_before_a_port_is_opened(
    arguments: list[str], code: ExitCode, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    with (
        pytest.warns(rasterio.errors.NotGeoreferencedWarning),
        rasterio.open("plain.tif", "w", driver="GTiff", width=8, height=8, count=1, dtype="uint8") as file,
    ):
        file.write(np.zeros((1, 8, 8), np.uint8))
    assert run(["serve", *arguments]) == code
    assert words in capsys.readouterr().err.replace("\n", "")


def test_raster_pmtiles_are_a_map_and_vector_tiles_are_none(tmp_path: Path) -> None:
    for kind in (TileType.PNG, TileType.MVT):
        with (tmp_path / f"{kind.name}.pmtiles").open("wb") as file:
            writer = Writer(file)
            writer.write_tile(zxy_to_tileid(3, 4, 2), b"\x89PNG tile")
            corners = {"min_lon_e7": 0, "min_lat_e7": 0, "max_lon_e7": 10**8, "max_lat_e7": 10**8}
            header = {"tile_type": kind, "tile_compression": Compression.NONE, "min_zoom": 3, "max_zoom": 3, **corners}
            header |= {"center_zoom": 3, "center_lon_e7": 0, "center_lat_e7": 0}
            writer.finalize(header, {"attribution": "<a href='x'>© City</a>"})
    basemap = open_basemap(pmtiles=tmp_path / "PNG.pmtiles")
    assert basemap is not None
    assert basemap.tile is not None
    assert basemap.tile(3, 4, 2) == (b"\x89PNG tile", "image/png")
    assert basemap.tile(3, 4, 3) is None
    assert (basemap.attribution, basemap.bounds_deg, basemap.max_zoom) == ("© City", (0.0, 0.0, 10.0, 10.0), 3)
    with pytest.raises(Exception, match="MVT tiles"):
        open_basemap(pmtiles=tmp_path / "MVT.pmtiles")


def test_the_address_that_it_listens_at_is_a_name_that_it_goes_by(
    empty_geopackage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An IPv6 address stands in brackets in the header Host."""
    shutil.copy(empty_geopackage, tmp_path / "c.gpkg")
    started: list[ServeSettings] = []
    monkeypatch.setattr("geocorrect.serve.server.serve", lambda settings, *_: started.append(settings))
    assert run(["serve", "--catalog", str(tmp_path / "c.gpkg"), "--host", "2001:db8::7", "--allow-host", "a.org"]) == 0
    assert {"127.0.0.1", "localhost", "[::1]", "[2001:db8::7]", "a.org"} == set(started[0].hosts)


@pytest.mark.long
def test_a_server_prints_its_address_and_ends_by_ctrl_c(empty_geopackage: Path, tmp_path: Path) -> None:
    shutil.copy(empty_geopackage, tmp_path / "c.gpkg")
    command = [sys.executable, "-m", "geocorrect", "serve", "--catalog", "c.gpkg"]
    with child(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        address = process.stderr.readline().split()[-1]
        port, token = address.split(":")[2].split("/?token=")
        assert len(token) >= 43, "256 bits"
        server = Served(int(port), token)
        assert server.get("/session").value["pages"] == ["review", "city"], "no drive, no landmark page"
        assert server.ask("GET", "/landmarks", headers=server.own_headers()).status == 404
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        assert process.wait(30) == ExitCode.INTERRUPTED
    assert token not in said
    assert "Traceback" not in said

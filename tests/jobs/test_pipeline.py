"""`geocorrect run`: harvest → correct → export from one configuration, over real HTTP."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import catalog_world as world
from support.world_cache import cached_world

from geocorrect.__main__ import run
from geocorrect.catalog import Catalog
from geocorrect.demo.mapillary_server.server import FAKE_TOKEN, FakeMapillaryServer
from geocorrect.errors import ExitCode, OutputError

CONFIGURATION = """
[area]
bbox = [12.506, 41.900, 12.513, 41.906]
[export]
files = ["corrections.geojson", "corrections.csv"]
[harvest]
graph_url = "{graph}"
tiles_url = "{tiles}"
private_image_hosts = true
requests_per_s = 50.0
"""


@pytest.mark.long
def test_the_scheduled_job(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    street = cached_world(tmp_path / "world")
    config = tmp_path / "scene" / "geocorrect.toml"
    config.parent.mkdir()
    monkeypatch.setenv("MAPILLARY_TOKEN", FAKE_TOKEN)
    monkeypatch.setenv("GEOCORRECT__BATCH__ENGINE", "in-process")

    def job(*arguments: str) -> tuple[int, dict[str, dict[str, object]]]:
        code = run(["-c", str(config), *arguments, "--json"])
        return code, json.loads(capsys.readouterr().out)

    with FakeMapillaryServer(street.metadata, street.photos) as service:
        config.write_text(CONFIGURATION.format(graph=service.graph_url, tiles=service.tiles_url))
        drive = street.drives[0]
        added, _ = job(
            "anchors", "add", str(drive), "--format", "vbr", "--ground-truth", str(drive / f"{drive.name}_gt.txt"),
            "--alignment", str(street.alignment),
        )  # fmt: skip
        assert added == 0
        code, dry = job("run", "--dry-run")
        assert code == 0
        assert dry["correct"]["n_due"] == 0
        assert not list(config.parent.glob("corrections.geojson"))
        code, first = job("run")
        assert code == ExitCode.OK
        assert first["harvest"]["n_new"] == first["correct"]["n_computed"] == 4
        exported = json.loads((config.parent / "corrections.geojson").read_text())["features"]
        assert len(exported) == first["correct"]["n_accepted"] > 0  # type: ignore[operator]
        assert (config.parent / "corrections.csv").is_file()
        assert first["sequences"]["n_sequences"] == 0, "three photos are too few"
        code, second = job("run")
        assert (code, second["correct"]["n_due"], second["harvest"]["n_new"]) == (0, 0, 0)


@pytest.fixture
def idle(empty_geopackage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scene in which every photo has its result already, and exports two files into a folder that is not there."""
    (tmp_path / "corrections.gpkg").write_bytes(empty_geopackage.read_bytes())
    with Catalog.open(str(tmp_path / "corrections.gpkg")) as catalog:
        catalog.set_frame(world.ROME)
        catalog.add_alignment(world.alignment())
        catalog.upsert_anchors([world.anchor(0)])
    (tmp_path / "geocorrect.toml").write_text('[export]\nfiles = ["out/new/a.geojson", "out/new/b.csv"]\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GEOCORRECT__BATCH__ENGINE", "in-process")
    return tmp_path


def test_the_folders_of_exports_are_made(idle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["run", "--json"]) == ExitCode.OK
    assert set(json.loads(capsys.readouterr().out)["export"]) == {
        str(idle / f"out/new/{n}") for n in ("a.geojson", "b.csv")
    }
    assert sorted(path.name for path in (idle / "out" / "new").iterdir()) == [
        "a.geojson",
        "a.qml",
        "b.csv",
        "b.csv.license",
    ]


@pytest.mark.parametrize(("blocked", "code"), [("out", ExitCode.OUTPUT), ("a.shp", ExitCode.USAGE)])
def test_a_place_that_cannot_be_written_is_found_before_the_work(
    idle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, blocked: str, code: ExitCode
) -> None:
    if blocked == "out":
        (idle / "out").write_text("a file where a folder is needed")
    else:
        monkeypatch.setenv("GEOCORRECT__EXPORT__FILES", json.dumps([blocked]))
    monkeypatch.setattr("geocorrect.jobs.pipeline.correct_due", None)
    assert run(["run", "--json"]) == code
    said = json.loads(capsys.readouterr().out)
    assert said["exit_code"] == code
    assert blocked in said["error"]


def test_a_disk_that_is_full_at_the_end_costs_one_file(
    idle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report is printed all the same, and says what is missing."""

    def export(catalog: Catalog, path: Path) -> int:
        if path.suffix == ".geojson":
            raise OutputError(f"{path} cannot be written: No space left on device")
        return 0

    monkeypatch.setattr("geocorrect.jobs.pipeline.export_catalog", export)
    assert run(["run", "--json"]) == ExitCode.OUTPUT
    said = json.loads(capsys.readouterr().out)
    assert (said["exit_code"], said["correct"]["exit_code"]) == (ExitCode.OUTPUT, ExitCode.OK)
    assert list(said["export"]) == [str(idle / "out/new/b.csv")]
    assert "No space left" in said["export_errors"][str(idle / "out/new/a.geojson")]
    assert run(["run"]) == ExitCode.OUTPUT
    assert "not exported" in capsys.readouterr().err

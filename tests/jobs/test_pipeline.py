"""`geocorrect run`: harvest → correct → export from one configuration, over real HTTP."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.world_cache import cached_world

from geocorrect.__main__ import run
from geocorrect.demo.mapillary_server.server import FAKE_TOKEN, FakeMapillaryServer
from geocorrect.errors import ExitCode

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


def test_the_scheduled_job(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    world = cached_world(tmp_path / "world")
    config = tmp_path / "scene" / "geocorrect.toml"
    config.parent.mkdir()
    monkeypatch.setenv("MAPILLARY_TOKEN", FAKE_TOKEN)
    monkeypatch.setenv("GEOCORRECT__BATCH__ENGINE", "in-process")

    def job(*arguments: str) -> tuple[int, dict[str, dict[str, object]]]:
        code = run(["-c", str(config), *arguments, "--json"])
        return code, json.loads(capsys.readouterr().out)

    with FakeMapillaryServer(world.metadata, world.photos) as service:
        config.write_text(CONFIGURATION.format(graph=service.graph_url, tiles=service.tiles_url))
        drive = world.drives[0]
        added, _ = job(
            "anchors", "add", str(drive), "--format", "vbr", "--ground-truth", str(drive / f"{drive.name}_gt.txt"),
            "--alignment", str(world.alignment),
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

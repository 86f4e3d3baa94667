"""`geocorrect review` as a person types it, and what the other commands then show."""

from __future__ import annotations

import json
from getpass import getuser
from pathlib import Path

import pytest
from support import catalog_world as world

from geocorrect.__main__ import run
from geocorrect.catalog import Catalog
from geocorrect.errors import ExitCode


@pytest.fixture
def path(empty_geopackage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A filled catalog, which the settings name."""
    path = tmp_path / "c.gpkg"
    path.write_bytes(empty_geopackage.read_bytes())
    with Catalog.open(str(path)) as catalog:
        world.fill(catalog)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GEOCORRECT__CATALOG__URL", str(path))
    monkeypatch.setenv("COLUMNS", "200")
    return path


@pytest.mark.long
def test_from_the_queue_to_the_export_and_back(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*arguments: str, code: int = 0) -> str:
        assert run(list(arguments)) == code
        captured = capsys.readouterr()
        return captured.out or captured.err

    lines = said("review", "list").splitlines()
    assert [line.split()[0] for line in lines] == ["photo", "1013", "1006"]
    assert "0.33 m" in lines[1]
    assert "img/13.jpg" in lines[1]
    assert [photo["image_id"] for photo in json.loads(said("review", "list", "--json"))] == ["1013", "1006"]

    def count(*arguments: str) -> int:
        return int(json.loads(said("export", "out.csv", "--json", *arguments))["count"])

    assert (count(), count("--with-review"), count("--status", "accepted,review"), count("--status", "review")) == (
        14, 16, 16, 2,
    )  # fmt: skip
    assert "1 photos accepted; to take it back: `geocorrect db retract" in said(
        "review", "accept", "1006", "--note", "fits the map"
    )
    (key,) = json.loads(said("review", "reject", "1013", "--by", "ben", "--json"))["run_keys"]
    assert (count(), count("--with-review")) == (15, 15)
    assert "nothing waits for a review" in said("review", "list")
    decided = json.loads(said("review", "list", "--decided", "--json"))
    assert [(d["image_id"], d["verdict"], d["reviewer"], d["note"]) for d in decided] == [
        ("1006", "accept", getuser(), "fits the map"),
        ("1013", "reject", "ben", ""),
    ]
    assert "fits the map" in said("review", "list", "--decided")
    said("db", "rollback", key[:12])
    assert [line.split()[0] for line in said("review", "list").splitlines()] == ["photo", "1013"]
    assert said("review", "accept", "1000", code=ExitCode.INPUT) == "error: photo 1000: is accepted already\n"


def test_an_unknown_status_is_explained(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["export", "out.csv", "--status", "accepted,good"]) == ExitCode.USAGE
    assert "--status 'good': use accepted, review, rejected" in capsys.readouterr().err


def test_runs_and_status_say_what_is_active(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a run that depends on one that is rolled back, nothing is promised."""
    from geocorrect.catalog.sequences import SequenceStore

    with Catalog.open(str(path)) as catalog:
        catalog.begin_run(world.manifest("run-s"))
        SequenceStore(catalog).depend_on("run-s", ["run-a"])
        catalog.record("run-s", [world.correction(4)])
        catalog.rollback("run-a")
    assert run(["db", "runs"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("  rolled back")
    assert second.endswith("  not active: depends on run-a, which is rolled back")
    assert run(["db", "runs", "--json"]) == 0
    assert [listed["active"] for listed in json.loads(capsys.readouterr().out)] == [False, False]
    assert run(["status"]) == 0
    shown = capsys.readouterr().err
    assert "the next run goes on" not in shown
    assert "1 accepted; not finished; not active: depends on run-a, which is rolled back" in shown.replace("\n", " ")
    assert "{" not in shown


def test_a_box_with_latitude_first_is_refused(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["export", "out.csv", "--area"], ["harvest", "--bbox"]):
        assert run([*command, "41.90,12.49,41.91,12.50"]) == ExitCode.USAGE
        assert "with latitude and longitude exchanged: write WEST,SOUTH,EAST,NORTH, 12.49,41.9" in " ".join(
            capsys.readouterr().err.split()
        )
    assert not Path("out.csv").exists()

"""`geocorrect db` and `geocorrect export` as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from support import catalog_world as world
from typer.testing import CliRunner, Result

from geocorrect.catalog import Catalog, ResultFilter
from geocorrect.catalog.sequences import SequenceStore
from geocorrect.cli.catalog import app as db
from geocorrect.cli.console import Invocation
from geocorrect.cli.export import export
from geocorrect.errors import DatabaseError, InputError, UsageError
from geocorrect.export.export import export_catalog


@pytest.fixture
def path(empty_geopackage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A filled catalog in the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.gpkg").write_bytes(empty_geopackage.read_bytes())
    with Catalog.open("c.gpkg") as catalog:
        world.fill(catalog)
        catalog.begin_run(world.manifest("run-b"))
        catalog.record("run-b", [world.rejection(0)])
    return "c.gpkg"


def call(*arguments: str) -> Result:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.add_typer(db, name="db")
    app.command("export")(export)

    @app.callback()
    def root(context: typer.Context) -> None:
        context.obj = Invocation(None)

    result = CliRunner().invoke(app, list(arguments))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_runs_rollback_restore_and_retract(path: str) -> None:
    listed = json.loads(call("db", "runs", "--catalog", path, "--json").stdout)
    assert [(run["run_key"], run["results"]) for run in listed] == [
        ("run-a", {"accepted": 14, "rejected": 4, "review": 2}),
        ("run-b", {"rejected": 1}),
    ]
    call("db", "rollback", "run-b", "--catalog", path, "--dry-run")
    with Catalog.open(path) as catalog:
        assert catalog.counts()["rejected"] == 5
    assert "1 results of run run-b rolled back" in call("db", "rollback", "run-b", "--catalog", path).stderr
    with Catalog.open(path) as catalog:
        assert catalog.counts()["rejected"] == 4
    call("db", "restore", "run-b", "--catalog", path)
    assert "1 results retracted" in call("db", "retract", "1000", "--because", "seen", "--catalog", path).stderr
    with Catalog.open(path) as catalog:
        assert catalog.counts()["rejected"] == 4
    with pytest.raises(DatabaseError, match="2 runs begin so"):
        call("db", "rollback", "run", "--catalog", path)


def test_current_upgrade_and_check(path: str, tmp_path: Path) -> None:
    assert json.loads(call("db", "current", "--catalog", path, "--json").stdout) == {"found": "0008", "needed": "0008"}
    assert "none" in call("db", "current", "--catalog", "new.gpkg").stdout
    call("db", "upgrade", "--catalog", "new.gpkg", "--dry-run")
    assert not (tmp_path / "new.gpkg").exists()
    call("db", "upgrade", "--catalog", "new.gpkg")
    assert call("db", "check", "--catalog", "new.gpkg").exit_code == 0
    with Catalog.open(path) as catalog, catalog.engine.begin() as connection:
        connection.exec_driver_sql("drop view coverage")
    found = call("db", "check", "--catalog", path, "--json")
    assert found.exit_code == 5
    assert json.loads(found.stdout)["faults"]
    with pytest.raises(DatabaseError, match="protect the file instead"):
        call("db", "grant", "--catalog", path)


@pytest.mark.long
def test_export_with_filters(path: str, tmp_path: Path) -> None:
    def count(*arguments: str) -> int:
        answer = call("export", "out.geojson", "--catalog", path, "--json", *arguments)
        return int(json.loads(answer.stdout)["count"])

    assert count() == 13
    assert count("--run", "run-a") == 14
    assert count("--status", "rejected") == 5
    assert count("--status", "rejected", "--status", "review") == 7
    assert count("--max-error", "0.215") == 1
    assert count("--since", "2999-01-01") == 0
    assert count("--area", "12.4963,41.9027,12.49653,41.9029") == 2  # 1001 and 1002; 1000 is rejected by run-b
    square = {"type": "Polygon", "coordinates": [[[12.4963, 41.9], [12.4966, 41.9], [12.4966, 42], [12.4963, 41.9]]]}
    (tmp_path / "area.geojson").write_text(json.dumps(square))
    assert 0 < count("--area", "area.geojson") < 13
    (tmp_path / "out.geojson").unlink()
    assert count("--dry-run") == 13
    assert not (tmp_path / "out.geojson").exists()
    assert "9 layers written" in call("export", "map.qgz", "--catalog", path).stderr


@pytest.mark.long
@pytest.mark.parametrize("name", ["out.geojson", "out.fgb", "sfm"])
def test_what_was_taken_back_is_not_exported(path: str, tmp_path: Path, name: str) -> None:
    """A file does not show what a person said about its numbers, so such numbers stay in the catalog."""

    def export(*arguments: str) -> Result:
        kind = ["--format", "opensfm"] if name == "sfm" else []
        return call("export", name, "--catalog", path, "--json", "--run", "run-a", *kind, *arguments)

    with Catalog.open(path) as catalog:
        catalog.retract(["1001", "1002"], "the façade was rebuilt", "run-a")
    # 1000 stays: run-b has a newer result, but nobody said that the older one is wrong.
    assert json.loads(export().stdout)["count"] == json.loads(export("--dry-run").stdout)["count"] == 12
    with Catalog.open(path) as catalog:
        SequenceStore(catalog).depend_on("run-b", ["run-a"])
        catalog.rollback("run-a", "wrong weights")
        with pytest.raises(DatabaseError, match="run-b depends on a run that was rolled back"):
            catalog.require_active_run("run-b")
        with pytest.raises(DatabaseError, match="wrong weights"):
            export_catalog(catalog, Path("new.csv"), wanted=ResultFilter(run_key="run-a", active=False))
        assert export_catalog(catalog, Path("all.csv"), wanted=ResultFilter(active=False)) == 0
    before = (tmp_path / name).stat().st_mtime_ns
    for more in ((), ("--dry-run",)):
        with pytest.raises(DatabaseError, match="run-a was rolled back.*wrong weights.*geocorrect db restore run-a"):
            export(*more)
    assert (tmp_path / name).stat().st_mtime_ns == before
    assert not (tmp_path / "new.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["out.shp"], UsageError, "give --format"),
        (["out.csv", "--area", "1,2,x,4"], UsageError, "four numbers"),
        (["out.csv", "--area", "41.9,120.5,42.0,121.0"], UsageError, "swapped"),
        (["out.csv", "--area", "none.geojson"], InputError, "none.geojson"),
        (["out.csv", "--since", "yesterday"], UsageError, "2026-03-01"),
        (["out.csv", "--run", "nothing"], DatabaseError, "no run begins so"),
    ],
)
def test_mistakes_are_explained_and_leave_no_file(
    path: str, tmp_path: Path, arguments: list[str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call("export", *arguments, "--catalog", path)
    assert not (tmp_path / "out.csv").exists()

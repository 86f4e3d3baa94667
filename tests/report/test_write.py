from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from geocorrect.catalog import Catalog, ResultFilter
from geocorrect.cli.console import Invocation
from geocorrect.cli.export import report
from geocorrect.errors import DatabaseError, InputError, OutputError, Status, UsageError
from geocorrect.report.truth import Truth
from geocorrect.report.write import ReportRequest, publish, write_report


def command() -> typer.Typer:
    """The command under a root like the real one."""
    app = typer.Typer()

    @app.callback()
    def root(context: typer.Context) -> None:
        context.obj = Invocation(None)

    app.command("report")(report)
    return app


def run_command(*arguments: str) -> Any:
    return CliRunner().invoke(command(), ["report", *arguments])


def test_the_page_is_written_whole(catalog: Catalog, truth: Truth, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    assert write_report(catalog, path, truth) == 20
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert text.rstrip().endswith("</html>")
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]
    first = path.read_bytes()
    write_report(catalog, path, truth)
    assert path.read_bytes() == first


def test_a_filter_limits_what_is_shown(catalog: Catalog, tmp_path: Path) -> None:
    wanted = ResultFilter(status=(Status.REJECTED,))
    assert write_report(catalog, tmp_path / "rejected.html", wanted=wanted) == 4


def test_an_old_report_survives_a_failed_one(catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    path.write_text("the old one", encoding="utf-8")

    def no_space(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OutputError, match=r"report\.html.*No space"):
        write_report(catalog, path)
    assert path.read_text(encoding="utf-8") == "the old one"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_a_place_that_cannot_be_written_is_named(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "missing").write_text("no folder")
    with pytest.raises(OutputError, match="missing"):
        write_report(catalog, tmp_path / "missing" / "report.html")
    with pytest.raises(OutputError, match="folder"):
        write_report(catalog, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        publish(catalog, ReportRequest(None, tmp_path / "file"))


def test_plots_are_pictures_with_something_on_them(catalog: Catalog, truth: Truth, tmp_path: Path) -> None:
    paths = publish(catalog, ReportRequest(None, tmp_path / "plots", truth)).files
    names = ["map", "displacement", "predicted_error", "reasons", "calibration"]
    assert [path.stem for path in paths] == names
    for path in paths:
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 400
            assert len(set(picture.convert("L").histogram())) > 10


def test_plots_of_nothing_are_drawn_without_a_warning(tmp_path: Path) -> None:
    with Catalog.open(str(tmp_path / "empty.gpkg"), create=True) as empty:
        assert len(publish(empty, ReportRequest(None, tmp_path)).files) == 4
        assert write_report(empty, tmp_path / "empty.html") == 0


def test_a_run_is_found_by_the_beginning_of_its_key(catalog: Catalog, tmp_path: Path) -> None:
    assert publish(catalog, ReportRequest(tmp_path / "run.html", run="run")).n_photos == 20
    with pytest.raises(UsageError, match="its runs: run-a"):
        publish(catalog, ReportRequest(tmp_path / "none.html", run="zebra"))
    assert not (tmp_path / "none.html").exists()


def test_what_was_taken_back_is_not_reported(catalog_path: Path, tmp_path: Path) -> None:
    own = shutil.copy(catalog_path, tmp_path / "own.gpkg")
    with Catalog.open(str(own)) as catalog:
        catalog.retract(["1001"], "the façade was rebuilt")
        assert publish(catalog, ReportRequest(tmp_path / "run.html", run="run-a")).n_photos == 19
        catalog.rollback("run-a", "wrong weights")
        with pytest.raises(DatabaseError, match="run-a was rolled back.*wrong weights"):
            publish(catalog, ReportRequest(tmp_path / "none.html", run="run-a"))
    assert not (tmp_path / "none.html").exists()


def test_the_command_writes_page_and_plots(catalog_path: Path, tmp_path: Path) -> None:
    out, plots = tmp_path / "r.html", tmp_path / "plots"
    result = run_command(
        "--catalog", str(catalog_path), "--out", str(out), "--plots", str(plots), "--title", "A & B", "--json"
    )
    assert result.exit_code == 0, result.output
    written = json.loads(result.stdout)
    assert written["n_photos"] == 20
    assert written["files"] == [
        str(out),
        *(str(plots / f"{n}.png") for n in ("map", "displacement", "predicted_error", "reasons")),
    ]
    assert written["n_bytes"] == sum(Path(file).stat().st_size for file in written["files"])
    assert "<h1>A &amp; B</h1>" in out.read_text(encoding="utf-8")


def test_a_dry_run_writes_nothing(catalog_path: Path, tmp_path: Path) -> None:
    result = run_command("--catalog", str(catalog_path), "--out", str(tmp_path / "r.html"), "--dry-run")
    assert result.exit_code == 0, result.output
    assert "20 photos would be shown; nothing was written" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_truth_file_is_an_input_error(catalog_path: Path, tmp_path: Path) -> None:
    result = run_command("--catalog", str(catalog_path), "--truth", str(tmp_path / "nowhere.json"))
    assert isinstance(result.exception, InputError)


def test_the_command_line_loads_nothing_heavy() -> None:
    code = "import sys, geocorrect.cli.export; print(*sorted(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "matplotlib", "sqlalchemy", "jinja2", "scipy"} & set(run.stdout.split())

"""docs/operations.md: its commands run as they stand, its table is that of the code."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from support.chaos import WITHOUT_WORKERS, make_scene, serving
from support.docs_page import commands
from support.small_city import build_city

from geocorrect.__main__ import run
from geocorrect.errors import ExitCode
from geocorrect.jobs.observe import HELP

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def test_the_table_of_metrics_is_fresh() -> None:
    rows = "\n".join(f"| `geocorrect_{name}` | {meaning} |" for name, meaning in HELP.items())
    assert PAGE.split("<!-- test: metrics -->\n", 1)[1].startswith(f"| metric | meaning |\n|---|---|\n{rows}\n\n")


def test_metrics_in_alerts_exist() -> None:
    named = set(re.findall(r"geocorrect_((?:run|harvest)_[a-z_]+)", PAGE))
    assert named == set(HELP)


def test_links_lead_somewhere() -> None:
    for name in ("operations.md", "scheduling.md"):
        page = (ROOT / "docs" / name).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#]+)\)", page):
            if target.startswith("reference/"):
                continue  # made with the site, whose own test follows every link
            assert (ROOT / "docs" / target).exists(), f"{name}: {target}"


@pytest.mark.long
def test_commands_run_as_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = re.findall(r"<!-- test: commands -->\n```sh\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 3
    city = build_city(tmp_path / "city", 2)
    with serving(city) as service:
        scene = make_scene(tmp_path / "scene", city, service, "corrections.gpkg", workers=1)
        for name in [name for name in os.environ if name.startswith("GEOCORRECT")]:
            monkeypatch.delenv(name)
        more = {"GEOCORRECT__MODELS__CACHE_FOLDER": "cache", **WITHOUT_WORKERS}
        for name, value in {**scene.environment, **more}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(scene.folder)
        lines = commands("".join(blocks), scene.folder)
        assert len(lines) == 6
        for arguments in lines:
            assert run(arguments) == ExitCode.OK, arguments
    said = capsys.readouterr().err
    assert said.count("FAIL") == 0
    assert "takes the token" in said

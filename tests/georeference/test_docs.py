"""docs/georeference.md against the program: its commands parse, its clicks are clicks, its codes are all there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from support.docs_page import block
from typer.main import get_command

from geocorrect.cli.app import app
from geocorrect.georeference import diagnose
from geocorrect.georeference.landmarks.read import read_landmarks

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "georeference.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["first", "anchors"])
def test_commands_parse(name: str) -> None:
    lines = [line for line in block(PAGE, name).replace("\\\n", " ").splitlines() if not line.startswith("#")]
    assert lines
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "geocorrect"
        command = get_command(app)
        while hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        command.make_context("geocorrect", words).close()  # unknown options and missing arguments raise


def test_options_in_the_text_exist() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    known = {option for parameter in commands["georeference"].params for option in parameter.opts}
    known |= {option for parameter in commands["anchors"].commands["add"].params for option in parameter.opts}
    assert set(re.findall(r"--[a-z][a-z-]+", PAGE)) <= known


def test_the_clicks_are_clicks(tmp_path: Path) -> None:
    (tmp_path / "clicks.csv").write_text(block(PAGE, "clicks") + "\n")
    clicks = read_landmarks(tmp_path / "clicks.csv")
    assert [click.landmark for click in clicks] == ["kerb corner", "stop line", "kerb corner"]
    assert clicks[0].sigma_map_m == 0.3


def test_every_finding_is_explained_where_it_belongs() -> None:
    source = Path(diagnose.__file__).read_text(encoding="utf-8")
    notes, refusals = PAGE.split("**Refused**")
    for code, fatal in re.findall(r'Finding\("(\w+)", text(, fatal=True)?\)', source):
        assert f"\n| `{code}` |" in (refusals if fatal else notes)
    assert len(re.findall(r"Finding\(", source)) == len(re.findall(r"\n\| `\w+` \|", PAGE.split("## Reading")[1]))


def test_links_exist() -> None:
    assert all((DOCS / target).exists() for target in re.findall(r"\]\(([^)#:]+)\)", PAGE))

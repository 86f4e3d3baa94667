"""The README is executable: its commands, code, queries and generated tables."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from support.docs_page import commands
from support.world_cache import cached_demo

from geocorrect.__main__ import run
from geocorrect.demo.mapillary_server.server import FAKE_TOKEN, FakeMapillaryServer
from geocorrect.demo.world.build import open_world
from geocorrect.errors import ExitCode, Reason

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(name: str) -> str:
    """The text between a test marker and the end of the code block or table that follows it."""
    after = README.split(f"<!-- test: {name} -->\n", 1)[1]
    if after.startswith("```"):
        return after.split("\n", 1)[1].split("\n```", 1)[0]
    return after.split("\n\n", 1)[0]


def reasons_table() -> str:
    rows = [f"| `{reason.value}` | {reason.text} |" for reason in Reason]
    return "\n".join(["| reason | meaning |", "|---|---|", *rows])


EXIT_TEXT = {
    ExitCode.OK: "done",
    ExitCode.PROGRAMMING_ERROR: "a bug: please report the traceback",
    ExitCode.USAGE: "the command line makes no sense",
    ExitCode.INPUT: "a file, row or field is missing or wrong",
    ExitCode.CONFIG: "configuration, environment or token",
    ExitCode.DATABASE: "catalog unreachable, locked or of another version",
    ExitCode.MODEL: "weights missing or licence not accepted",
    ExitCode.TOO_MANY_REJECTED: "done, but more photos were rejected than `batch.max_rejected_share`",
    ExitCode.REMOTE: "the imagery service or the Ray cluster refused or is down",
    ExitCode.INCOMPLETE_HARVEST: "done, but the service would not answer for some parts: run again",
    ExitCode.OUTPUT: "the output cannot be written",
    ExitCode.SCENE_BUSY: "another run holds the scene",
    ExitCode.INTERRUPTED: "Ctrl-C: the photo at hand was finished and stored",
    ExitCode.TERMINATED: "SIGTERM: likewise",
}


def codes_table() -> str:
    rows = [f"| {int(code)} | {EXIT_TEXT[code]} |" for code in ExitCode]
    return "\n".join(["| code | meaning |", "|---|---|", *rows])


def test_reason_table_is_fresh() -> None:
    assert block("reasons") == reasons_table()


def test_exit_code_table_is_fresh() -> None:
    assert block("exit codes") == codes_table()


def test_links_and_pictures_exist() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    missing = [target for target in targets if "://" not in target and not (ROOT / target).exists()]
    assert targets
    assert missing == []


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"make ([a-z]+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `geocorrect demo` has run on the small street."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(cached_demo(), folder / "out" / "demo")
    return folder


def test_commands_work_as_they_stand(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first line by the program in a shell, the others in this process."""
    shutil.copytree(demo / "out" / "demo" / "world", tmp_path / "out" / "demo" / "world")
    world = open_world(tmp_path / "out" / "demo" / "world")
    first, *others = block("commands").splitlines()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    begun = subprocess.run(
        ["bash", "-c", f"set -eu\n{first}\npwd"], cwd=tmp_path, env={**os.environ, "PATH": path},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert begun.returncode == 0, begun.stderr
    scene = Path(begun.stdout.splitlines()[-1])
    monkeypatch.chdir(scene)
    with FakeMapillaryServer(world.metadata, world.photos) as service:
        for name, value in {
            "MAPILLARY_TOKEN": FAKE_TOKEN,
            "GEOCORRECT__HARVEST__GRAPH_URL": service.graph_url,
            "GEOCORRECT__HARVEST__TILES_URL": service.tiles_url,
            "GEOCORRECT__HARVEST__PRIVATE_IMAGE_HOSTS": "true",
            "GEOCORRECT__HARVEST__REQUESTS_PER_S": "50",
            "GEOCORRECT__BATCH__ENGINE": "in-process",
        }.items():
            monkeypatch.setenv(name, value)
        for line in others:
            (arguments,) = commands(line, scene)
            assert run(arguments) == ExitCode.OK, line
    assert len(others) >= 7
    assert (tmp_path / "rome" / "corrections.geojson").is_file()
    assert "accepted" in capsys.readouterr().err


def test_python_example_runs(demo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(demo)
    exec(compile(block("python"), "README.md", "exec"), {"__name__": "__main__"})
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) == 3
    assert "(6, 6)" in shown


def test_queries_run(demo: Path) -> None:
    queries = [query for query in block("sql").split(";") if query.strip()]
    assert len(queries) == 5
    connection = sqlite3.connect(demo / "out" / "demo" / "corrections.gpkg")
    answers = [connection.execute(query).fetchall() for query in queries]
    connection.close()
    assert len(answers[0]) == 3
    assert answers[1][0][1] == 1
    assert all(answers)

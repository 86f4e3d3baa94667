"""docs/batch.md: its commands run as they stand, its configuration is one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.chaos import make_scene, serving
from support.docs_page import commands
from support.small_city import build_city

from geocorrect.__main__ import run
from geocorrect.config import BatchOptions, load_settings

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "batch.md").read_text(encoding="utf-8")


@pytest.mark.long
def test_commands_run_as_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last line by the program in a shell, the others in this process."""
    (block,) = re.findall(r"<!-- test: commands -->\n```sh\n(.*?)```", PAGE, re.DOTALL)
    *lines, last = block.splitlines()
    city = build_city(tmp_path / "city", 4)
    with serving(city) as service:
        scene = make_scene(tmp_path / "scene", city, service, "corrections.gpkg", workers=1)
        assert scene.run("harvest") == 0, scene.last_words()
    monkeypatch.chdir(scene.folder)
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setenv("GEOCORRECT__BATCH__ENGINE", "in-process")
        for arguments in commands("\n".join(lines), scene.folder):
            assert run(arguments) == 0, arguments
    said = " ".join(capsys.readouterr().err.split())
    assert "4 images are due" in said
    assert "1 of 4 due images computed" in said
    assert "3 are left; run the same command again to go on" in said
    assert "3 of 3 due images computed" in said
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", "set -eu\n" + last], env={**os.environ, "PATH": path},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "nothing is due" in done.stderr


def test_the_configuration_is_one(tmp_path: Path) -> None:
    (text,) = re.findall(r"<!-- test: toml -->\n```toml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "geocorrect.toml").write_text(text)
    assert load_settings(tmp_path / "geocorrect.toml").settings.batch == BatchOptions(
        engine="ray", ray_address="auto", workers=16, cpus_per_worker=2.0, gpus_per_worker=0.5
    )


def test_every_limit_is_an_option() -> None:
    for name in re.findall(r"`batch\.(\w+)`", PAGE):
        assert name in BatchOptions.__dataclass_fields__

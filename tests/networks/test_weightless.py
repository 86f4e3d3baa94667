"""A machine without weights, from the command line: one message, before anything else is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from geocorrect.__main__ import run
from geocorrect.catalog import Catalog
from geocorrect.errors import ExitCode
from geocorrect.networks.cards import MAST3R_LICENCE

CONFIGURATION = """
[area]
bbox = [12.506, 41.900, 12.513, 41.906]
[harvest]
graph_url = "http://127.0.0.1:9"
tiles_url = "http://127.0.0.1:9"
[match]
matcher = "mast3r"
[models.access]
folder = "weights"
profile = "{profile}"
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scene that would harvest from a service that is not there."""
    monkeypatch.setenv("MAPILLARY_TOKEN", "MLY|1|unused")
    with Catalog.open(str(tmp_path / "corrections.gpkg"), create=True):
        pass
    path = tmp_path / "geocorrect.toml"
    path.write_text(CONFIGURATION.format(profile="research"))
    return path


@pytest.mark.parametrize("command", [["run"], ["run", "--dry-run"]])
def test_the_scheduled_job_says_what_is_missing_before_it_harvests(
    command: list[str], config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["-c", str(config), *command]) == ExitCode.MODEL
    output = capsys.readouterr()
    assert output.out == ""
    assert [line.strip() for line in output.err.splitlines()] == [
        "error: mast3r: the weights of MASt3R ViT-Large 512 metric are not on this machine",
        f"missing: model.safetensors in {config.parent / 'weights' / 'mast3r'}",
        "size:    2.8 GB; 3.6 GB of memory when loaded",
        f"licence: {MAST3R_LICENCE.name}",
        MAST3R_LICENCE.url,
        "fetch:   geocorrect models fetch mast3r --accept-licence   (once you have read the licence and agree)",
        "offline: copy them there, or set GEOCORRECT_WEIGHTS to a folder with mast3r/ in it; "
        "then geocorrect models verify mast3r --accept-licence",
        "instead: eloftr (64 MB, Apache-2.0)",
        'or:      [match] matcher = "sift", which needs no weights',
    ]


def test_a_business_is_told_the_permitted_alternative(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(CONFIGURATION.format(profile="commercial"))
    assert run(["-c", str(config), "run"]) == ExitCode.MODEL
    assert 'profile = "commercial" does not allow; use `eloftr` instead' in capsys.readouterr().err


def test_weights_of_a_checkpoint_that_is_not_there(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(config.read_text() + '[match.mast3r]\ncheckpoint = "own.pth"\n')
    assert run(["-c", str(config), "run"]) == ExitCode.MODEL
    assert f"{config.parent / 'own.pth'}: no such checkpoint file" in capsys.readouterr().err

"""A machine without weights, from the command line: one message, before anything else is done."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from geocorrect.__main__ import run
from geocorrect.catalog import Catalog
from geocorrect.errors import ExitCode
from geocorrect.networks.cards import CARDS, MAST3R_LICENCE, ModelCard

CONFIGURATION = """
[area]
bbox = [12.506, 41.900, 12.513, 41.906]
[harvest]
graph_url = "http://127.0.0.1:9"
tiles_url = "http://127.0.0.1:9"
max_tries = 1
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


@pytest.mark.long
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
        f"fetch:   geocorrect models fetch mast3r --accept-licence --folder {config.parent / 'weights'}   "
        "(once you have read the licence and agree)",
        f"offline: copy them there; then geocorrect models verify mast3r --accept-licence --folder "
        f"{config.parent / 'weights'}",
        "instead: eloftr (64 MB, Apache-2.0)",
        'or:      [match] matcher = "sift", which needs no weights',
        'for depth: depth_anything_v2_outdoor_small (99 MB, Apache-2.0), or [depth] source = "triangulated"',
    ]


def test_a_business_gets_the_permitted_alternative(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(CONFIGURATION.format(profile="commercial"))
    assert run(["-c", str(config), "run"]) == ExitCode.MODEL
    assert (
        'profile = "commercial" does not allow; use `eloftr` instead, or for depth `depth_anything_v2_outdoor_small`'
        in capsys.readouterr().err
    )


def test_weights_of_a_checkpoint_that_is_not_there(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(config.read_text() + '[match.mast3r]\ncheckpoint = "own.pth"\n')
    assert run(["-c", str(config), "run"]) == ExitCode.MODEL
    assert f"{config.parent / 'own.pth'}: no such checkpoint file" in capsys.readouterr().err


COMMAND = re.compile(r"(geocorrect models (?:fetch|verify|accept) .*?)(?:`|   |$)", re.MULTILINE)


def named_command(text: str, verb: str) -> list[str]:
    """The arguments of the first command with this verb that a message names."""
    command = next(words for words in map(shlex.split, COMMAND.findall(text)) if words[2] == verb)
    return command[1:]


@pytest.mark.long
@pytest.mark.parametrize("weights_folder", ["weights", "my weights"])
def test_the_command_of_the_message_makes_weights_placed_by_hand_usable(
    weights_folder: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message is given by a run that another configuration file than that of this folder belongs to."""
    text = config.read_text().replace('"weights"', f'"{weights_folder}"').replace('"mast3r"', '"eloftr"')
    config.write_text(text)
    run(["-c", str(config), "run"])
    place_by_hand(config.parent / weights_folder / "eloftr", CARDS["eloftr"])
    verify = named_command(capsys.readouterr().err, "verify")
    run(["-c", str(config), "run"])
    assert named_command(capsys.readouterr().err, "verify") == verify, "there, but not verified"
    assert run(verify) == ExitCode.OK
    assert "eloftr" in capsys.readouterr().err
    run(["-c", str(config), "run"])
    assert "eloftr" not in capsys.readouterr().err


def place_by_hand(folder: Path, card: ModelCard) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file in card.files:
        (folder / file.name).write_bytes(b"weights")


def test_models_commands_follow_the_configuration_here(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(config.parent)
    assert run(["models", "path", "eloftr"]) == ExitCode.OK
    assert capsys.readouterr().out.strip() == str(config.parent / "weights" / "eloftr")
    place_by_hand(config.parent / "weights" / "eloftr", CARDS["eloftr"])
    assert run(["models", "verify", "eloftr"]) == ExitCode.OK
    capsys.readouterr()
    assert run(["models", "list", "--json"]) == ExitCode.OK
    states = {row["name"]: row["state"] for row in json.loads(capsys.readouterr().out)}
    assert states["eloftr"] == "ready"


@pytest.mark.parametrize("verb", ["fetch", "verify"])
@pytest.mark.parametrize(("configured", "given"), [("commercial", "research"), ("research", "commercial")])
def test_the_stricter_profile_wins(
    verb: str, configured: str, given: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(CONFIGURATION.format(profile=configured))
    place_by_hand(config.parent / "weights" / "mast3r", CARDS["mast3r"])
    command = ["-c", str(config), "models", verb, "mast3r", "--accept-licence", "--profile", given]
    assert run(command) == ExitCode.MODEL
    assert 'profile = "commercial" does not allow' in capsys.readouterr().err
    if configured == "commercial":
        assert run(command[:-2]) == ExitCode.MODEL, "without --profile, the configured one counts"


@pytest.mark.parametrize("section", ["match", "depth"])
def test_a_checkpoint_of_ones_own_needs_the_licence_accepted(
    section: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (config.parent / "own.safetensors").write_bytes(b"weights")
    text = config.read_text()
    if section == "depth":
        text = text.replace('matcher = "mast3r"', 'matcher = "sift"') + '[depth]\nsource = "mast3r"\n'
    config.write_text(f'{text}[{section}.mast3r]\ncheckpoint = "own.safetensors"\n')
    assert run(["-c", str(config), "run"]) == ExitCode.MODEL
    message = capsys.readouterr().err
    assert f"{config.parent / 'own.safetensors'}: weights of MASt3R" in message
    assert MAST3R_LICENCE.url in message
    assert run(named_command(message, "accept")) == ExitCode.OK
    assert "agreement to CC-BY-NC-SA-4.0" in capsys.readouterr().err
    run(["-c", str(config), "run"])
    assert "not accepted" not in capsys.readouterr().err


def test_an_accepted_licence_does_not_verify_files(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nor does it need to be accepted again when the weights come into the folder."""
    assert run(["-c", str(config), "models", "accept", "mast3r"]) == ExitCode.OK
    place_by_hand(config.parent / "weights" / "mast3r", CARDS["mast3r"])
    assert run(["-c", str(config), "run"]) == ExitCode.MODEL
    assert "are there, but not verified yet" in capsys.readouterr().err
    assert run(["-c", str(config), "models", "verify", "mast3r"]) == ExitCode.OK


def test_missing_depth_weights_name_what_gives_depth(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(config.read_text().replace('"mast3r"', '"sift"') + '[depth]\nsource = "depth_pro"\n')
    assert run(["-c", str(config), "run"]) == ExitCode.MODEL
    message = capsys.readouterr().err
    assert "instead: depth_anything_v2_outdoor_small (99 MB, Apache-2.0)" in message
    assert 'or:      [depth] source = "triangulated", which needs no weights' in message
    assert "sift" not in message

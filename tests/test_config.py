"""geocorrect.toml and the environment: precedence, origins, refusals."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.weights_world import runtime_with

from geocorrect.cli.app import write_starter
from geocorrect.config import load_settings
from geocorrect.errors import ConfigError
from geocorrect.networks.cards import CARDS


def place_anything(folder: Path) -> None:
    for file in CARDS["aliked_lightglue"].files:
        (folder / file.name).write_bytes(b"weights")


def write(folder: Path, text: str) -> Path:
    path = folder / "geocorrect.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_environment_beats_file_beats_default(tmp_path: Path) -> None:
    file = write(tmp_path, "[batch]\nworkers = 2\nseed = 5\n")
    resolved = load_settings(file, {"GEOCORRECT__BATCH__WORKERS": "3"})
    assert (resolved.settings.batch.workers, resolved.settings.batch.seed) == (3, 5)
    origin = {key: where for key, _, where in resolved.rows()}
    assert origin["batch.workers"] == "environment GEOCORRECT__BATCH__WORKERS"
    assert origin["batch.seed"] == str(file)
    assert origin["match.sift.ratio"] == "default"


def test_nested_sections_and_text_from_the_environment(tmp_path: Path) -> None:
    file = write(tmp_path, "")
    environment = {"GEOCORRECT__MATCH__SIFT__RATIO": "0.7", "GEOCORRECT__CATALOG__URL": "postgresql://db/x"}
    settings = load_settings(file, environment).settings
    assert settings.match.sift.ratio == 0.7
    assert settings.catalog.url == "postgresql://db/x"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("[bach]\nworkers = 2", ["[bach]", "unknown key"]),
        ("[batch]\nworker = 2", ["[batch.worker]", "unknown key"]),
        ("[batch]\ncached_anchors = 64", ["[batch.cached_anchors]", "use batch.cached_anchors_mib"]),
        ("[match.sift]\nratios = 2", ["[match.sift.ratios]", "unknown key"]),
        ("[batch]\nworkers = 'many'", ["[batch.workers]", "many"]),
        ("[batch]\nworkers = 0", ["[batch]", "at least 1"]),
        ("[depth]\nsource = 'guess'", ["[depth.source]", "lidar"]),
        ("[match.sift]\nratio = nan", ["[match.sift]", "ratio"]),
        ("[batch\n", ["not valid TOML"]),
    ],
)
def test_wrong_files_are_explained(tmp_path: Path, text: str, names: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(write(tmp_path, text), {})
    for name in [*names, str(tmp_path)]:
        assert name in str(caught.value)


def test_wrong_environment_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="environment GEOCORRECT__BATCH__WORKERS"):
        load_settings(write(tmp_path, ""), {"GEOCORRECT__BATCH__WORKERS": "lots"})


def test_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_settings(tmp_path / "absent.toml", {})


def test_relative_paths_belong_to_the_file(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, "[catalog]\nurl = 'a.gpkg'"), {}).settings
    assert settings.catalog.url == str(tmp_path / "a.gpkg")
    assert settings.images.folder == tmp_path / "images"


def test_fingerprint_follows_what_changes_results_only(tmp_path: Path) -> None:
    def fingerprint(text: str) -> str:
        return load_settings(write(tmp_path, text), {}).settings.fingerprint()

    plain = fingerprint("")
    assert fingerprint("[batch]\nworkers = 7\n[catalog]\nurl = 'x.gpkg'") == plain
    assert fingerprint("[depth.files]\nlicence = 'apple-amlr'") == plain
    assert fingerprint("[batch]\nseed = 1") != plain
    files = "[depth]\nsource = 'files'\n"
    assert fingerprint(f"{files}scale = {{ factor = 0.8 }}") != fingerprint(files)
    assert fingerprint("[match.sift]\nratio = 0.75") != plain
    assert fingerprint("[localize.gate]\nmin_inliers = 31") != plain


def test_the_starter_file_is_valid_and_says_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And asks whether another place is as similar, which takes visual words, once per scene."""
    monkeypatch.setenv("GEOCORRECT_WEIGHTS", str(tmp_path / "none"))
    settings = load_settings(write_starter(tmp_path), {}).settings
    asked = write(tmp_path, '[retrieve.appearance]\nmode = "check"\n')
    assert settings == load_settings(asked, {}).settings


def test_where_the_cascade_can_run_the_starter_file_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime_with(tmp_path / "weights", "aliked_lightglue", place_anything)
    monkeypatch.setenv("GEOCORRECT_WEIGHTS", str(tmp_path / "weights"))
    match = load_settings(write_starter(tmp_path), {}).settings.match
    assert (match.matcher, match.stages) == ("cascade", ("sift", "aliked_lightglue"))

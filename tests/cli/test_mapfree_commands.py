"""The commands around Map-free sets: what they print, write, and how they end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import typer
from support.mapfree_world import write_set
from support.mickey_world import TINY, seeded_model
from typer.testing import CliRunner

from geocorrect.cli import evaluate as commands
from geocorrect.cli.app import root
from geocorrect.config import load_settings
from geocorrect.errors import ConfigError, InputError, ModelError, Reason
from geocorrect.evaluate.mapfree.pair_estimators import LocalizedPairs
from geocorrect.evaluate.mapfree.submission import Estimate
from geocorrect.geometry.pose import Pose
from geocorrect.localize.estimators.pooled import OpenCvEstimator
from geocorrect.match.verify import PairVerifyOptions
from geocorrect.networks.mickey.sizes import BACKBONE


class Guess:
    """The reference's own pose for the first query of a scene, nothing for the others."""

    fingerprint = "guess"

    def estimate(self, reference: object, query: object, seed: int) -> Estimate | Reason:
        first = str(query.name).endswith("frame_00000.jpg")  # type: ignore[attr-defined]
        return Estimate(Pose.identity(), 1.0) if first else Reason.TOO_FEW_MATCHES


@pytest.fixture
def app() -> typer.Typer:
    """A command line with these commands alone."""
    found = typer.Typer()
    found.callback()(root)
    found.command("mapfree")(commands.mapfree)
    found.add_typer(commands.train_app, name="train")
    return found


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_set_is_evaluated(app: typer.Typer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_set(tmp_path / "val", n_scenes=1)
    monkeypatch.setattr(commands, "_pair_estimator", lambda settings, name: Guess())
    ran = CliRunner().invoke(app, ["mapfree", "val", "--out", "s.zip", "--json"], catch_exceptions=False)
    assert ran.exit_code == 0
    report = json.loads(ran.stdout)
    assert (report["n_queries"], report["n_answered"], report["estimator"]) == (2, 1, "guess")
    assert report["reasons"] == {"too_few_matches": 1}
    assert report["scores"]["position_median_m"] == pytest.approx(0.412, abs=0.001)
    assert (tmp_path / "s.zip").is_file()
    told = CliRunner().invoke(app, ["mapfree", "val", "--out", "s.zip"], catch_exceptions=False)
    assert "1 of 2 queries answered, 1 scenes" in told.stderr
    assert "median of scenes: 0.41 m" in told.stderr


def test_the_configured_estimator_and_verification_are_used(tmp_path: Path) -> None:
    """So that `--preset thesis` can be judged on this benchmark, too."""
    (tmp_path / "geocorrect.toml").write_text(
        '[localize]\nestimator = "opencv"\n[match.verify]\nmodel = "fundamental"\nmin_inliers = 200\n'
    )
    settings = load_settings(tmp_path / "geocorrect.toml", {}).settings
    found = commands._pair_estimator(settings, commands.PairEstimatorName.CONFIGURED)
    assert isinstance(found, LocalizedPairs)
    assert isinstance(found.estimator, OpenCvEstimator)
    assert found.verify == settings.match.verify == PairVerifyOptions("fundamental", min_inliers=200)


def test_what_is_missing_is_said(app: typer.Typer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setenv("GEOCORRECT_WEIGHTS", str(tmp_path / "weights"))
    with pytest.raises(ModelError, match="models fetch mickey --accept-licence"):
        CliRunner().invoke(app, ["mapfree", "val", "--estimator", "mickey"], catch_exceptions=False)
    (tmp_path / "geocorrect.toml").write_text('[depth]\nsource = "triangulated"\n')
    with pytest.raises(ConfigError, match="needs neighbours of the reference"):
        CliRunner().invoke(app, ["mapfree", "val"], catch_exceptions=False)
    (tmp_path / "geocorrect.toml").unlink()
    monkeypatch.setattr(commands, "_pair_estimator", lambda settings, name: Guess())
    with pytest.raises(InputError, match="val: no such folder"):
        CliRunner().invoke(app, ["mapfree", "val"], catch_exceptions=False)


@pytest.mark.long
def test_training_runs_and_continues(app: typer.Typer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a tiny network in place of the released size."""
    from geocorrect.evaluate.mapfree import training_pairs

    state, prefix = seeded_model().state_dict(), f"{BACKBONE}."
    torch.save({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}, tmp_path / "dino.pth")
    write_set(tmp_path / "train", n_scenes=1, training=True)
    original, pairs = training_pairs.build_trainer, training_pairs.TrainingPairOptions
    monkeypatch.setattr(training_pairs, "build_trainer", lambda training: original(training, TINY))
    monkeypatch.setattr(
        training_pairs,
        "TrainingPairOptions",
        lambda **given: pairs(**given | {"size": (160, 120), "pairs_per_scene": 1}),
    )
    words = ["train", "mickey", "train", "run", "--backbone", "dino.pth", "--warm-up"]
    for epochs in (1, 2, 2):
        ran = CliRunner().invoke(app, [*words, "--epochs", str(epochs)], catch_exceptions=False)
        assert ran.exit_code == 0
        assert "done: run/training.ckpt" in ran.stderr
        assert f"step {epochs}: error" in ran.stderr or epochs == 2
    assert torch.load(tmp_path / "run" / "training.ckpt", weights_only=True)["progress"]["step"] == 2

"""`geocorrect match A B` on a real street pair, with the matcher that needs no weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image as PillowImage
from typer.testing import CliRunner

from geocorrect.cli.console import Invocation
from geocorrect.cli.localize import match
from geocorrect.errors import InputError, ModelError, UsageError


@pytest.fixture
def app() -> typer.Typer:
    application = typer.Typer()

    @application.callback()
    def root(context: typer.Context) -> None:
        context.obj = Invocation(None)

    application.command("match")(match)
    return application


@pytest.fixture
def pair(shared_data: Path) -> list[str]:
    folder = next((shared_data / "kitti_raw").rglob("image_02")) / "data"
    return [str(path) for path in sorted(folder.iterdir())[:2]]


@pytest.mark.long
@pytest.mark.data
def test_street_pair_with_sift(
    app: typer.Typer, pair: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["match", *pair, "--matcher", "sift", "--focal", "0.58", "--json"])
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    assert summary["n_inliers"] > 0.6 * summary["n_matches"] > 100
    assert (tmp_path / summary["picture"]).stat().st_size > 50_000


@pytest.mark.data
def test_unknown_names_and_missing_weights(
    app: typer.Typer, pair: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GEOCORRECT_WEIGHTS", str(tmp_path))
    runner = CliRunner()
    for arguments, kind, message in (
        (["--matcher", "magic"], UsageError, "--matcher 'magic': use one of sift, aliked_lightglue"),
        (["--depth", "magic"], UsageError, "--depth 'magic': use one of lidar"),
        (["--matcher", "mast3r"], ModelError, "geocorrect models fetch mast3r --accept-licence"),
        (["--depth", "depth_pro"], ModelError, "geocorrect models fetch depth_pro --accept-licence"),
    ):
        done = runner.invoke(app, ["match", *pair, *arguments])
        assert isinstance(done.exception, kind)
        assert message in str(done.exception)
    assert runner.invoke(app, ["match", *pair, "--focal", "-1"]).exit_code == 2
    assert not list(tmp_path.glob("*.png"))


CALIBRATED = """
[depth]
source = "files"
calibrate = true

[depth.files]
folder = "."
name = "net-1"
"""


@pytest.fixture
def strangers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two photos and the second one's depth, beside a configuration that calibrates depth against neighbours."""
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    for name in ("a.png", "b.png"):
        PillowImage.fromarray(pixels).save(name)
    np.save("b.png.npy", np.full((120, 160), 7.0, np.float32))
    Path("geocorrect.toml").write_text(CALIBRATED)
    return ["a.png", "b.png"]


def test_depth_is_shown_as_predicted_for_a_photo_has_no_neighbours(app: typer.Typer, strangers: list[str]) -> None:
    done = CliRunner().invoke(app, ["match", *strangers, "--depth", "files", "--json"])
    assert done.exit_code == 0, done.exception
    summary = json.loads(done.stdout)
    assert (summary["depth"], summary["depth_median_m"]) == ("net-1", 7.0)


@pytest.mark.parametrize(("source", "why"), [("lidar", "no laser scan"), ("triangulated", "neighbours are not known")])
def test_measured_depth_says_what_a_lone_photo_lacks(
    app: typer.Typer, strangers: list[str], source: str, why: str
) -> None:
    done = CliRunner().invoke(app, ["match", *strangers, "--depth", source])
    assert isinstance(done.exception, InputError)
    assert why in str(done.exception)

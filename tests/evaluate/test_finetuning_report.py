"""Tables and figures of trainings whose course is known, and the grid that trains them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.drawn import panels
from typer.testing import CliRunner

from geocorrect.cli.app import app
from geocorrect.config import Settings
from geocorrect.errors import InputError
from geocorrect.evaluate.finetuning import grid
from geocorrect.evaluate.finetuning.report import read_training, training_pictures, training_table
from geocorrect.jobs.anchors.finetune import FinetuneJob
from geocorrect.networks.mast3r.train.options import FinetuneOptions

DISTANCE_M = [2.0, 0.5, 0.25, 0.3]


def write_training(folder: Path, confidence: list[float]) -> Path:
    """A base and three epochs; the second is the best."""
    (folder / "views").mkdir(parents=True)
    rows = []
    for epoch, (distance, c) in enumerate(zip(DISTANCE_M, confidence, strict=True)):
        rows.append({
            "epoch": epoch, "train_loss": None if epoch == 0 else distance / 2, "validation_m": distance,
            "validation_abs_rel": distance / 10, "confidence": c, "learning_rate": 1e-5,
        })  # fmt: skip
        content = io.BytesIO()
        np.savez_compressed(
            content, z_m=np.full((6, 8), 10.0 + distance, np.float32), confidence=np.full((6, 8), c, np.float32),
            measured_px=np.array([[1.0, 2.0], [5.0, 4.0]], np.float32), measured_z_m=np.array([10.0, 11.0], np.float32),
        )  # fmt: skip
        (folder / "views" / f"{epoch:03d}.npz").write_bytes(content.getvalue())
    (folder / "history.json").write_text(json.dumps(rows))
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    return [
        write_training(tmp_path / "metric", [2.5, 1.5, 1.1, 1.01]),
        write_training(tmp_path / "relative", [2.5, 2.6, 2.8, 3.0]),
    ]


def test_the_table_says_what_collapsed(folders: list[Path]) -> None:
    table = training_table([read_training(folder) for folder in folders])
    assert table.rows == (
        ("metric", "3", "2", "2.000", "0.250", "0.200", "0.025", "1.500", "0.500", "0.010"),
        ("relative", "3", "2", "2.000", "0.250", "0.200", "0.025", "1.500", "1.600", "2.000"),
    )


def test_the_figures_show_the_course(folders: list[Path]) -> None:
    pictures = {picture.name: picture for picture in training_pictures([read_training(folder) for folder in folders])}
    assert list(pictures) == [
        "finetuning_grid",
        "figure_12_metric",
        "figure_6_metric",
        "figure_12_relative",
        "figure_6_relative",
        "figure_14",
    ]
    confidence, distance = panels(pictures["finetuning_grid"]).values()
    np.testing.assert_allclose([line.get_ydata()[-1] for line in confidence.lines], [0.01, 2.0])
    np.testing.assert_array_equal(distance.lines[0].get_ydata(), DISTANCE_M)
    loss = next(iter(panels(pictures["figure_12_metric"]).values()))
    np.testing.assert_array_equal(loss.lines[0].get_ydata(), [np.nan, 0.25, 0.125, 0.15])
    shown = panels(pictures["figure_6_metric"])
    assert float(shown["depth, m: base"].images[0].get_array().max()) == 12.0
    assert float(shown["depth, m: epoch 2"].images[0].get_array().max()) == 10.25
    assert float(shown["confidence: epoch 2"].images[0].get_array().max()) == pytest.approx(1.1)
    maps = panels(pictures["figure_14"])
    assert float(maps["relative, epoch 3"].images[0].get_array().max()) == 3.0
    limits = {axes.images[0].get_clim() for title, axes in maps.items() if "epoch" in title}
    assert limits == {(1.0, 3.0)}


@pytest.mark.long
def test_the_command_writes_one_page(folders: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ["models", "finetune", "report", str(folders[0]), "--out", str(out)]
    ran = CliRunner().invoke(app, command, catch_exceptions=False)
    assert "| metric | 3 | 2 |" in ran.stdout
    assert (out / "report.html").read_text().count("<figure") == 4
    assert {"finetuning.tex", "tables.md", "figure_14.png", "figure_12_metric.svg"} <= {p.name for p in out.iterdir()}


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("history.json", None, "history.json: cannot be read"),
        ("history.json", b"{", "not the folder of a training"),
        ("history.json", b"[]", "no epoch is finished"),
        ("history.json", b'[{"epoch": 0}]', "not the folder of a training"),
        ("views/002.npz", None, "002.npz: cannot be read"),
        ("views/002.npz", b"PK\x03\x04", "not the folder of a training"),
        ("views/002.npz", b"", "not the folder of a training"),
    ],
)
def test_what_is_missing_or_damaged_is_named(
    folders: list[Path], file: str, content: bytes | None, message: str
) -> None:
    path = folders[0] / file
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_training(folders[0])


def test_the_grid_trains_every_loss_with_every_rate_and_encodes_each_pair_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[tuple[Settings, Any]] = []
    monkeypatch.setattr(grid, "finetune_mast3r", lambda settings, job, stop, report: jobs.append((settings, job)))
    options = FinetuneOptions(learning_rate=5e-5, min_learning_rate=5e-6, epochs=2)
    scene: Any = object()
    plan, rates = FinetuneJob(scene, scene, ("a", "b"), tmp_path, options), (5e-5, 1e-6)
    folders = grid.train_grid(Settings(), plan, rates)
    assert folders == [job.folder for _, job in jobs]
    chosen = {(str(job.options.confidence), job.options.learning_rate) for _, job in jobs}
    assert chosen == {(c, rate) for c in ("none", "metric", "relative", "metric_scaled") for rate in (5e-5, 1e-6)}
    assert all(job.options.min_learning_rate == pytest.approx(job.options.learning_rate / 10) for _, job in jobs)
    assert {settings.models.cache_folder for settings, _ in jobs} == {tmp_path / "tokens"}
    assert len(set(folders)) == 8
    jobs.clear()
    assert grid.train_grid(Settings(), plan, rates, stop=lambda: len(jobs) == 3) is None
    assert len(jobs) == 3

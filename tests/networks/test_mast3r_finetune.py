"""Fine-tuning a point head: it is repaired on its street, stays wrong elsewhere, and nothing else moves."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.finetune_world import WIDTH, Street, damaged, facade, samples, street_model
from torch import Tensor

from geocorrect.depth.mast3r import Mast3rDepth, Mast3rDepthOptions, TunedHead
from geocorrect.errors import InputError, ModelError, UsageError
from geocorrect.evaluate.finetuning.report import read_training
from geocorrect.networks.mast3r.engine import Mast3rEngine
from geocorrect.networks.mast3r.head_file import load_head
from geocorrect.networks.mast3r.model import Mast3r
from geocorrect.networks.mast3r.sizes import DPT_HEAD
from geocorrect.networks.mast3r.train.files import HEAD_FILE, HISTORY_FILE, STATE_FILE
from geocorrect.networks.mast3r.train.losses import pixel_losses
from geocorrect.networks.mast3r.train.options import ConfidenceLoss, FinetuneOptions, PointLoss
from geocorrect.networks.mast3r.train.samples import nearest_per_pixel, require_points
from geocorrect.networks.mast3r.train.trainer import EpochReport, HeadTrainer
from geocorrect.networks.store import TensorStore

BASE = "0" * 64
OPTIONS = FinetuneOptions(epochs=14, batch_size=2, accumulation=1)


@dataclass
class Tuned:
    """A finished training."""

    truth: Mast3r
    model: Mast3r
    before: dict[str, Tensor]
    street: Street
    reports: list[EpochReport]
    folder: Path


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    """The damaged head, 14 epochs on twelve views of a street of which a scanner sees a tenth; four are held out."""
    truth, folder = street_model(), tmp_path_factory.mktemp("tuned")
    model, reports = damaged(truth), []
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    street = Street(truth, range(12))
    held_out = samples(model, Street(truth, range(100, 104), share=1.0))
    trainer = HeadTrainer(model, BASE, samples(model, street), held_out, OPTIONS, folder)
    assert trainer.run(report=reports.append)
    return Tuned(truth, model, before, street, reports, folder)


def abs_rel(tuned: Tuned, street: Street, tmp_path: Path) -> float:
    """Of the tuned head on another street."""
    seen = samples(tuned.model, street)
    trainer = HeadTrainer(tuned.model, BASE, seen, seen, OPTIONS, tmp_path)
    trainer.head.load_state_dict(load_head(tuned.folder / HEAD_FILE, BASE, tuned.model.sizes).state_dict())
    return trainer._judge(0.0).validation_abs_rel


@pytest.mark.long
def test_a_head_scaled_by_0_3_comes_back_on_its_street_and_stays_wrong_on_another(tuned: Tuned, tmp_path: Path) -> None:
    first, best = tuned.reports[0], min(tuned.reports, key=lambda report: report.validation_m)
    assert first.validation_abs_rel == pytest.approx(0.7, abs=0.05)
    assert best.validation_abs_rel < 0.03
    assert abs_rel(tuned, Street(tuned.truth, range(300, 304), share=1.0), tmp_path / "same") < 0.03
    assert abs_rel(tuned, Street(tuned.truth, range(300, 304), 2.0, 1.0), tmp_path / "other") == pytest.approx(
        0.5, abs=0.05
    )


def test_only_tensors_of_the_first_point_head_are_stored_and_differ(tuned: Tuned) -> None:
    after, stored = tuned.model.state_dict(), load_file(tuned.folder / HEAD_FILE)
    assert all(torch.equal(after[key], tensor) for key, tensor in tuned.before.items())
    assert not any(parameter.requires_grad for parameter in tuned.model.parameters())
    of_head = {key for key in tuned.before if key.startswith(f"{DPT_HEAD}.")}
    assert set(stored) == of_head
    moved = {key for key in of_head if not torch.equal(stored[key], tuned.before[key])}
    assert of_head - moved == {key for key in of_head if "refinenet4.resConfUnit1" in key}


def test_the_frozen_network_sees_each_pair_once(tuned: Tuned) -> None:
    assert sorted(tuned.street.loads) == list(range(12))


def test_counting_a_samples_points_again_reads_no_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = street_model()
    seen = samples(truth, Street(truth, range(1)))
    count = seen.prepare(0)
    monkeypatch.setattr(seen.engine.store, "get", lambda key: pytest.fail("tokens were read to count points"))
    assert seen.prepare(0) == count > 0


def test_the_history_has_every_epoch_and_the_published_schedule(tuned: Tuned) -> None:
    rows = json.loads((tuned.folder / HISTORY_FILE).read_text())
    assert [row["epoch"] for row in rows] == list(range(15))
    assert rows[0]["train_loss"] is None
    assert rows[-1]["train_loss"] < 0.1 * rows[1]["train_loss"]
    rates = [row["learning_rate"] for row in rows]
    assert (rates[0], rates[7], rates[14]) == pytest.approx((5e-5, (5e-5 + 3e-6) / 2, 3e-6))


def test_the_kept_views_show_the_repair(tuned: Tuned) -> None:
    training = read_training(tuned.folder)
    assert sorted(training.views) == list(range(15))
    wrong = []
    for epoch in (0, training.best):
        view = training.views[epoch]
        column, row = view.measured_px.astype(int).T
        wrong.append(np.median(np.abs(view.z_m[row, column] / view.measured_z_m - 1)))
    assert wrong[0] == pytest.approx(0.7, abs=0.1)
    assert wrong[1] < 0.05
    assert training.views[0].confidence.min() > 1.0


def test_the_depth_source_uses_the_head_and_says_so(tuned: Tuned) -> None:
    engine = Mast3rEngine(tuned.model, "base", TensorStore(), long_side_px=WIDTH)
    network = load_head(tuned.folder / HEAD_FILE, BASE, tuned.model.sizes)
    own, other = (Mast3rDepth(engine, Mast3rDepthOptions(), head) for head in (None, TunedHead(network, "tuned")))
    distances = [np.linalg.norm(s.points_of_pair(facade(0), facade(10_000)).xyz_m, axis=-1) for s in (own, other)]
    assert np.median(distances[0] / distances[1]) == pytest.approx(0.3, abs=0.03)
    assert own.fingerprint != other.fingerprint


@pytest.mark.long
@pytest.mark.parametrize("accumulation", [1, 2])
def test_interrupted_and_resumed_is_uninterrupted_bit_for_bit(accumulation: int, tmp_path: Path) -> None:
    truth = street_model()
    options = FinetuneOptions(epochs=2, batch_size=2, accumulation=accumulation, seed=3)

    def trainer(folder: str) -> HeadTrainer:
        model = damaged(truth)
        streets = Street(truth, range(5)), Street(truth, range(50, 52))
        return HeadTrainer(model, BASE, *(samples(model, street) for street in streets), options, tmp_path / folder)

    whole = trainer("whole")
    assert whole.run()
    parts = 1
    while not (part := trainer("parts")).run(stop=lambda: True):
        parts += 1
    assert parts == 2 * (3 if accumulation == 1 else 2) + 1
    for name in (HEAD_FILE, HISTORY_FILE):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
    states = [one.optimizer.state_dict()["state"] for one in (whole, part)]
    for key, moments in states[0].items():
        assert all(torch.equal(value, states[1][key][name]) for name, value in moments.items())
    assert all(torch.equal(a, b) for a, b in zip(whole.head.parameters(), part.head.parameters(), strict=True))


@pytest.mark.parametrize(
    ("confidence", "error", "wants_more"),
    [
        ("metric", 0.1, True), ("metric", 0.5, False), ("metric_scaled", 0.5, True), ("metric_scaled", 3.0, False),
        ("relative", 0.5, True), ("relative", 3.0, False),
    ],
)  # fmt: skip
def test_confidence_moves_towards_alpha_over_the_error(confidence: str, error: float, wants_more: bool) -> None:
    """Points 10 m away, α = 0.2: in metres the balance is at an error of 0.2 / c, relative to the distance at 2 / c."""
    logit = torch.zeros(1, requires_grad=True)
    truth = torch.tensor([[0.0, 0.0, 10.0]])
    options = FinetuneOptions(confidence=ConfidenceLoss(confidence))
    pixel_losses(truth + torch.tensor([[error, 0.0, 0.0]]), truth, 1.0 + (logit - 4.0).exp(), options).sum().backward()
    assert (logit.grad.item() < 0) == wants_more


@pytest.mark.long
def test_confidence_collapses_with_the_metric_loss_only(tmp_path: Path) -> None:
    """A head that is 10 % wrong at 18 m, 1.8 m: in metres no confidence is worth its price, relative to 18 m it is."""
    truth, model = street_model(far=2.7), street_model(far=2.6)
    medians = {}
    for confidence in ConfidenceLoss:
        options = FinetuneOptions(
            confidence=confidence, epochs=4, batch_size=1, accumulation=1, learning_rate=2e-4, min_learning_rate=1e-4
        )
        reports: list[EpochReport] = []
        streets = samples(model, Street(truth, range(3))), samples(model, Street(truth, range(50, 51)))
        HeadTrainer(model, BASE, *streets, options, tmp_path / confidence).run(report=reports.append)
        medians[confidence] = [report.confidence - 1.0 for report in reports]
    metric, relative = medians[ConfidenceLoss.METRIC], medians[ConfidenceLoss.RELATIVE]
    assert metric[-1] < 0.87 * metric[0]
    assert relative[-1] > 1.15 * relative[0]
    assert medians[ConfidenceLoss.METRIC_SCALED][-1] > 1.15 * relative[0]


def test_the_losses_are_what_their_names_say() -> None:
    found, truth = torch.tensor([[3.0, 4.0, 1.0]]), torch.tensor([[0.0, 0.0, 1.0]])
    losses = [pixel_losses(found, truth, torch.ones(1), FinetuneOptions(kind)).item() for kind in PointLoss]
    assert losses == pytest.approx([5.0, 7.0])


def test_of_points_in_one_pixel_the_nearest_counts() -> None:
    px = np.array([[1.2, 0.0], [0.8, 0.4], [3.6, 1.0], [-0.6, 0.0], [2.0, 1.0], [2.0, 1.0]])
    points = np.array([[1, 0, 9.0], [2, 0, 5.0], [3, 0, 1.0], [4, 0, 1.0], [5, 0, -1.0], [6, 0, np.nan]])
    place, kept = nearest_per_pixel(px, points, (4, 2))
    np.testing.assert_array_equal(place, [1])
    np.testing.assert_array_equal(kept, [[2, 0, 5.0]])


@pytest.fixture
def small(tmp_path: Path) -> Callable[..., HeadTrainer]:
    truth = street_model()
    model = damaged(truth)

    def make(options: FinetuneOptions, base: str = BASE, scale: float = 1.0) -> HeadTrainer:
        streets = samples(model, Street(truth, range(2), scale)), samples(model, Street(truth, range(50, 51)))
        return HeadTrainer(model, base, *streets, options, tmp_path / "out")

    return make


def test_a_loss_that_is_not_finite_stops_with_the_pair_and_keeps_the_state(
    small: Callable[..., HeadTrainer], tmp_path: Path
) -> None:
    options = FinetuneOptions(epochs=3, batch_size=1, accumulation=1, learning_rate=1e4)
    with pytest.raises(ModelError, match=r"(pair view \d+: the loss|the gradient) is not finite at step \d"):
        small(options).run()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [HISTORY_FILE, STATE_FILE, "views"]
    assert small(options).progress.step == 0


def test_another_base_scene_or_options_cannot_continue_a_training(small: Callable[..., HeadTrainer]) -> None:
    options = FinetuneOptions(epochs=1, batch_size=1, accumulation=1)
    small(options).run()
    with pytest.raises(UsageError, match="base checkpoint: 0+ then, f+ now"):
        small(options, "f" * 64)
    with pytest.raises(UsageError, match="epochs: 1 then, 2 now"):
        small(replace(options, epochs=2))
    with pytest.raises(UsageError, match="training: street"):
        small(options, scale=2.0)


def test_damaged_states_and_heads_are_named(small: Callable[..., HeadTrainer], tmp_path: Path) -> None:
    options = FinetuneOptions(epochs=1, batch_size=1, accumulation=1)
    trainer = small(options)
    trainer.run()
    head = tmp_path / "out" / HEAD_FILE
    sizes = damaged(street_model()).sizes
    with pytest.raises(ModelError, match="belongs to the checkpoint with sha256 0+, but the one in use has f+"):
        load_head(head, "f" * 64, sizes)
    with pytest.raises(ModelError, match="a point head of this network|instead of"):
        load_head(head, BASE, replace(sizes, dpt_feature_dim=32))
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(head.read_bytes()[:1000])
    with pytest.raises(ModelError, match="cut.safetensors: truncated or damaged"):
        load_head(cut, BASE, sizes)
    with pytest.raises(ModelError, match="finetune mast3r` writes one"):
        load_head(tmp_path / "none.safetensors", BASE, sizes)
    state = tmp_path / "out" / STATE_FILE
    state.write_bytes(state.read_bytes()[:500])
    with pytest.raises(ModelError, match="begin in another folder"):
        small(options)


def test_a_scene_without_a_measured_point_is_named() -> None:
    truth = street_model()
    with pytest.raises(InputError, match="town.gpkg: none of 2 pairs has a scanned point"):
        require_points(samples(truth, Street(truth, range(2), share=0.0)), "town.gpkg")
    with pytest.raises(InputError, match="town.gpkg: no pair"):
        require_points(samples(truth, Street(truth, range(0))), "town.gpkg")


@pytest.mark.parametrize(
    "wrong",
    [{"epochs": 0}, {"learning_rate": 1e-7}, {"alpha": 0.0}, {"batch_size": 0}, {"weight_decay": -1.0}],
)
def test_impossible_options_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must|learning rates"):
        FinetuneOptions(**wrong)

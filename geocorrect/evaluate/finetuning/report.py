"""The thesis' figures 6 and 12–14 from the folders of finished trainings."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np

from geocorrect.errors import InputError
from geocorrect.evaluate.render import Picture, TextTable, file_name, number, with_colours, without_ticks
from geocorrect.networks.mast3r.train.files import HISTORY_FILE, VIEWS_FOLDER
from geocorrect.records import NAN, Float32

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_EPOCHS = 5
"""Columns of figure 14, spread over the training."""


@dataclass(frozen=True, eq=False)
class EpochView:
    """What the head saw of one validation picture after an epoch."""

    z_m: Float32
    """(h, w)."""
    confidence: Float32
    """(h, w) > 1."""
    measured_px: Float32
    """(N, 2) pixels of the network image with a measured point."""
    measured_z_m: Float32
    """(N,)."""


@dataclass(frozen=True, eq=False)
class Training:
    """A training and its course."""

    name: str
    history: Sequence[Mapping[str, float]]
    """A row per epoch from 0, the base; keys: fields of `networks.mast3r.train.trainer.EpochReport`."""
    views: Mapping[int, EpochView]
    """By epoch."""

    def course(self, column: str) -> list[float]:
        """A column of the history."""
        return [row[column] for row in self.history]

    @property
    def best(self) -> int:
        """The epoch of least validation distance."""
        return int(np.argmin(self.course("validation_m")))


def read_training(folder: Path) -> Training:
    """A training from its folder; InputError naming a file that is missing or damaged."""
    path = folder / HISTORY_FILE
    try:
        rows = [
            {key: NAN if value is None else float(value) for key, value in row.items()}
            for row in json.loads(path.read_bytes())
        ]
        views = {int(row["epoch"]): _view(folder / VIEWS_FOLDER / f"{int(row['epoch']):03d}.npz") for row in rows}
        training = Training(folder.name, rows, views)
        for column in ("train_loss", "validation_m", "validation_abs_rel", "confidence"):
            training.course(column)
    except OSError as error:
        raise InputError(f"{error.filename or path}: cannot be read ({error.strerror}); a training writes it") from None
    except (ValueError, TypeError, KeyError, AttributeError, EOFError, BadZipFile) as error:
        raise InputError(f"{folder}: not the folder of a training ({error})") from None
    if not rows:
        raise InputError(f"{path}: no epoch is finished")
    return training


def _view(path: Path) -> EpochView:
    with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as content:
        return EpochView(**{name: content[name] for name in EpochView.__dataclass_fields__})


def training_table(trainings: Sequence[Training]) -> TextTable:
    """Before and after, by training."""
    headings = ("training", "epochs", "best epoch", "distance m: base", "best", "AbsRel: base", "best",
                "c − 1: base", "first epoch", "last epoch")  # fmt: skip
    lines = []
    for one in trainings:
        distances, relative, confidence = map(one.course, ("validation_m", "validation_abs_rel", "confidence"))
        above = [value - 1.0 for value in (confidence[0], confidence[min(1, len(confidence) - 1)], confidence[-1])]
        lines.append((
            one.name, str(len(one.history) - 1), str(one.best), number(distances[0], 3), number(distances[one.best], 3),
            number(relative[0], 3), number(relative[one.best], 3), *(number(value, 3) for value in above),
        ))  # fmt: skip
    caption = "Trainings: mean distance and AbsRel on the validation scene, median confidence c above its floor of 1"
    return TextTable("finetuning", caption, headings, tuple(lines))


def training_pictures(trainings: Sequence[Training]) -> list[Picture]:
    """The grid, figures 12 and 13 by training, 6 by training, and 14 over all."""
    grid = "The grid: confidence above its floor, and mean distance on the validation scene, by epoch"
    found = [Picture("finetuning_grid", grid, (9, 3.2), _grid(trainings))]
    for one in trainings:
        name = file_name(one.name)
        curves = f"Figures 12 and 13, {one.name}: training loss, validation distance and confidence by epoch"
        before_after = f"Figure 6, {one.name}: one validation picture with the base head and after epoch {one.best}"
        found += [
            Picture(f"figure_12_{name}", curves, (9, 2.6), _curves(one)),
            Picture(f"figure_6_{name}", before_after, (9, 4.5), _before_after(one)),
        ]
    caption = "Figure 14: confidence of one validation picture by training and epoch, in one scale of colours"
    return [*found, Picture("figure_14", caption, (9, 1.9 * len(trainings)), _confidence_maps(trainings))]


def _grid(trainings: Sequence[Training]) -> Callable[[Figure], None]:
    def draw(figure: Figure) -> None:
        confidence, distance = figure.subplots(1, 2)
        for one in trainings:
            epochs = one.course("epoch")
            confidence.plot(epochs, np.array(one.course("confidence")) - 1.0, marker=".", label=one.name)
            distance.plot(epochs, one.course("validation_m"), marker=".", label=one.name)
        confidence.set(yscale="log", xlabel="epoch", ylabel="median of c − 1")
        distance.set(yscale="log", xlabel="epoch", ylabel="validation, m")
        distance.legend(fontsize=6)

    return draw


def _curves(one: Training) -> Callable[[Figure], None]:
    columns = {"train_loss": "training loss", "validation_m": "validation, m", "confidence": "median confidence"}

    def draw(figure: Figure) -> None:
        for axes, (column, label) in zip(figure.subplots(1, 3), columns.items(), strict=True):
            axes.plot(one.course("epoch"), one.course(column), marker=".")
            axes.set(xlabel="epoch", ylabel=label)

    return draw


def _before_after(one: Training) -> Callable[[Figure], None]:
    chosen = {"base": one.views[0], f"epoch {one.best}": one.views[one.best]}
    most = max(float(np.percentile(view.confidence, 98)) for view in chosen.values())
    far_m = float(np.percentile(np.concatenate([view.measured_z_m for view in chosen.values()]), 98))

    def draw(figure: Figure) -> None:
        panels = figure.subplots(2, 3)
        view = one.views[0]
        dots = panels[0, 0].scatter(*view.measured_px.T, c=view.measured_z_m, s=2, cmap="turbo_r", vmin=0, vmax=far_m)
        panels[0, 0].set(xlim=(0, view.z_m.shape[1]), ylim=(view.z_m.shape[0], 0), aspect="equal")
        with_colours(panels[0, 0], dots, "measured, m")
        panels[1, 0].set_axis_off()
        for (top, bottom), (name, shown) in zip(panels.T[1:], chosen.items(), strict=True):
            with_colours(top, top.imshow(shown.z_m, cmap="turbo_r", vmin=0, vmax=far_m), f"depth, m: {name}")
            with_colours(
                bottom, bottom.imshow(shown.confidence, cmap="viridis", vmin=1.0, vmax=most), f"confidence: {name}"
            )

    return draw


def _confidence_maps(trainings: Sequence[Training]) -> Callable[[Figure], None]:
    def draw(figure: Figure) -> None:
        panels = figure.subplots(len(trainings), MAX_EPOCHS, squeeze=False)
        highest = max(float(np.percentile(view.confidence, 98)) for one in trainings for view in one.views.values())
        for row, one in zip(panels, trainings, strict=True):
            epochs = np.unique(np.linspace(0, len(one.history) - 1, MAX_EPOCHS).round().astype(int))
            for axes, epoch in zip(row, epochs, strict=False):
                drawn = axes.imshow(one.views[int(epoch)].confidence, cmap="viridis", vmin=1.0, vmax=highest)
                without_ticks(axes, f"{one.name}, epoch {epoch}")
            for axes in row[len(epochs) :]:
                axes.set_axis_off()
        figure.colorbar(drawn, ax=panels, label="confidence", shrink=0.6)

    return draw

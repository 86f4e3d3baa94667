"""`geocorrect models …`: networks, weights, fine-tuning; `geocorrect cache …`: what networks computed of each photo."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geocorrect.cli.console import invocation, leave_if_stopped, print_table, stderr, write_json
from geocorrect.networks import Profile

if TYPE_CHECKING:
    from geocorrect.networks.mast3r.train.trainer import EpochReport
    from geocorrect.networks.weights import ModelAccess

app = typer.Typer(help="Networks: list, fetch, verify, locate their weights.", no_args_is_help=True)
finetune_app = typer.Typer(help="Adapt a network to one's own laser scans.", no_args_is_help=True)
cache_app = typer.Typer(help="What networks computed of each photo, kept between runs.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of the model, see `geocorrect models list`.")]
Folder = Annotated[
    Path | None,
    typer.Option(
        "--folder",
        help="Folder of the weights; default: [models.access] folder, else $GEOCORRECT_WEIGHTS, else the user's cache.",
    ),
]
Accept = Annotated[bool, typer.Option("--accept-licence", help="I have read the licence of the weights and agree.")]
Purpose = Annotated[
    Profile | None,
    typer.Option(
        "--profile",
        help="`commercial` refuses non-commercial weights; default: [models.access] profile, which this cannot loosen.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output on stdout.")]

LIST_COLUMNS = {"name": "name", "size": "size", "licence_short": "licence", "commercial": "business", "state": "state"}
"""Key of a row and heading of `geocorrect models list`."""


@app.command("list")
def list_models(context: typer.Context, folder: Folder = None, as_json: AsJson = False) -> None:
    """All models: size, licence, whether the weights are here."""
    from geocorrect.networks.cards import CARDS
    from geocorrect.networks.weights import model_rows

    rows = model_rows(CARDS.values(), _access(context, folder).folder)
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        print_table(rows, LIST_COLUMNS, {"licence_short": None})


@app.command()
def fetch(
    context: typer.Context,
    name: Name,
    folder: Folder = None,
    accept_licence: Accept = False,
    profile: Purpose = None,
) -> None:
    """Download a model's weights, or continue an interrupted download, and verify them."""
    from geocorrect.networks.fetch import fetch as fetch_weights

    found = fetch_weights(name, _access(context, folder, profile), accept_licence)
    typer.echo(str(found.folder))


@app.command()
def verify(
    context: typer.Context,
    name: Name,
    folder: Folder = None,
    accept_licence: Accept = False,
    profile: Purpose = None,
) -> None:
    """Check the files of a model against their recorded sha256; also adopts files that were copied here by hand."""
    from geocorrect.networks.weights import comparable_files
    from geocorrect.networks.weights import verify as verify_weights

    access = _access(context, folder, profile)
    compared = comparable_files(name, access)
    found = verify_weights(name, access, accept_licence)
    new = [file.name for file in found.card.files if file.name not in compared]
    text = f"{found.identity}: whole" if compared else f"{found.identity}: taken into use"
    if new:
        text += f"; nothing to compare {', '.join(new)} with, recorded as found"
    typer.echo(text, err=True)


@app.command()
def accept(context: typer.Context, name: Name, folder: Folder = None, profile: Purpose = None) -> None:
    """Agree to the licence of a model whose weights lie in a file of your own ([match.mast3r] checkpoint)."""
    from geocorrect.networks.weights import accept as accept_licence
    from geocorrect.networks.weights import card_of

    accept_licence(name, _access(context, folder, profile))
    typer.echo(f"{name}: agreement to {card_of(name).licence.name} recorded", err=True)


@app.command()
def path(context: typer.Context, name: Name, folder: Folder = None) -> None:
    """Print the folder where the model's weights lie or will lie."""
    from geocorrect.networks.weights import model_folder

    typer.echo(str(model_folder(name, _access(context, folder))))


def _access(context: typer.Context, folder: Path | None, profile: Profile | None = None) -> ModelAccess:
    """As configured; the command line may name another folder, and make the profile stricter, not looser."""
    from geocorrect.networks.weights import ModelAccess

    configured = invocation(context).settings().models.access
    commercial = Profile.COMMERCIAL in (configured.profile, profile)
    return ModelAccess(folder or configured.folder, Profile.COMMERCIAL if commercial else Profile.RESEARCH)


@cache_app.command()
def info(context: typer.Context, as_json: AsJson = False) -> None:
    """How much lies in the cache folder, since when, and how much may."""
    from geocorrect.jobs.cache_report import cache_report

    report = cache_report(invocation(context).settings())
    if as_json:
        write_json(report.as_json())
    else:
        stderr().print(report.sentence(), soft_wrap=True, markup=False)


@cache_app.command()
def clear(
    context: typer.Context,
    unused_days: Annotated[float, typer.Option(min=0.0, help="Only what was not used for so long; 0: all.")] = 0.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove entries from the cache folder; they are computed again when they are needed. Foreign files stay."""
    from geocorrect.jobs.cache_report import clear_cache, unused_entries

    settings = invocation(context).settings()
    removed = (unused_entries if dry_run else clear_cache)(settings, unused_days)
    if as_json:
        write_json({"n_entries": len(removed.entries), "n_bytes": removed.n_bytes, "dry_run": dry_run})
    else:
        what = "would be removed" if dry_run else "removed"
        stderr().print(f"{len(removed.entries)} entries, {removed.n_bytes / 1e6:.1f} MB {what}")


@finetune_app.command("mast3r")
def finetune_mast3r(
    context: typer.Context,
    train: Annotated[str, typer.Option(help="Catalog whose anchors and their scans are learnt from.")],
    validate: Annotated[str, typer.Option(help="Catalog of another scene, which chooses the epoch.")],
    out: Annotated[Path, typer.Option(help="Folder for state, tokens and head; a training in it continues.")],
    epochs: Annotated[int, typer.Option(min=1, help="Epochs in all.")] = 20,
    batch_size: Annotated[int, typer.Option(min=1, help="Pairs that go through the head together.")] = 8,
    accumulation: Annotated[int, typer.Option(min=1, help="Batches per step.")] = 4,
    learning_rate: Annotated[float, typer.Option(help="At the start; falls along half a cosine.")] = 5e-5,
    min_learning_rate: Annotated[float, typer.Option(help="At the end.")] = 3e-6,
    loss: Annotated[str, typer.Option(help="l21 (distance of points) or l1.")] = "l21",
    confidence: Annotated[
        str, typer.Option(help="none; metric, relative, metric_scaled: weigh the loss by the head's confidence.")
    ] = "none",
    seed: Annotated[int, typer.Option(help="Of the order of the pairs.")] = 0,
) -> None:
    """Fine-tune MASt3R's point head on laser scans. Interrupt it at any time: the same command continues.

    The network's other weights stay as they are. Use the result with [depth.mast3r] head = "file".
    """
    from geocorrect.api.scene import AnchorSource
    from geocorrect.catalog.store import Catalog
    from geocorrect.errors import UsageError
    from geocorrect.jobs.anchors.finetune import FinetuneJob
    from geocorrect.jobs.anchors.finetune import finetune_mast3r as finetune
    from geocorrect.networks.mast3r.train.options import ConfidenceLoss, FinetuneOptions, PointLoss
    from geocorrect.workers.stop import stop_on_signal

    try:
        options = FinetuneOptions(
            PointLoss(loss), ConfidenceLoss(confidence), epochs=epochs, batch_size=batch_size,
            accumulation=accumulation, learning_rate=learning_rate, min_learning_rate=min_learning_rate, seed=seed,
        )  # fmt: skip
    except ValueError as error:
        raise UsageError(str(error)) from None
    console = stderr()

    def tell(done: EpochReport) -> None:
        learnt = "" if done.epoch == 0 else f"training {done.train_loss:.4f}, "
        console.print(
            f"epoch {done.epoch}: {learnt}validation {done.validation_m:.3f} m, AbsRel {done.validation_abs_rel:.1%}, "
            f"confidence {done.confidence:.2f}"
        )

    settings = invocation(context).settings()
    with Catalog.open(train) as first, Catalog.open(validate) as second, stop_on_signal() as request:
        sources = AnchorSource.of_catalog(first), AnchorSource.of_catalog(second)
        job = FinetuneJob(*sources, (first.address, second.address), out, options)
        written = finetune(settings, job, lambda: request.requested, tell)
    leave_if_stopped(request)
    if written is None:
        console.print("no epoch was better than the base on the validation scene: no head was written")
    else:
        console.print(f'done: {written}; use it with [depth.mast3r] head = "file", head_file = "{written}"')


Report = Annotated[Path, typer.Option(help="Folder for tables, figures and page.")]


@finetune_app.command("grid")
def finetune_grid(
    context: typer.Context,
    train: Annotated[str, typer.Option(help="Catalog whose anchors and their scans are learnt from.")],
    validate: Annotated[str, typer.Option(help="Catalog of another scene.")],
    out: Report,
    learning_rates: Annotated[str, typer.Option(help="Of each loss; several, comma-separated.")] = "5e-5,1e-6",
    epochs: Annotated[int, typer.Option(min=1, help="Of each training.")] = 20,
    batch_size: Annotated[int, typer.Option(min=1, help="Pairs that go through the head together.")] = 8,
    accumulation: Annotated[int, typer.Option(min=1, help="Batches per step.")] = 4,
    seed: Annotated[int, typer.Option(help="Of the order of the pairs.")] = 0,
) -> None:
    """Why confidence collapses: MASt3R's head with every loss and learning rate, drawn as `finetune report` does.

    Interrupted, the same command continues.
    """
    from geocorrect.api.scene import AnchorSource
    from geocorrect.catalog.store import Catalog
    from geocorrect.errors import UsageError
    from geocorrect.evaluate.finetuning.grid import train_grid
    from geocorrect.jobs.anchors.finetune import FinetuneJob
    from geocorrect.networks.mast3r.train.options import FinetuneOptions
    from geocorrect.workers.stop import stop_on_signal

    try:
        rates = tuple(float(rate) for rate in learning_rates.split(","))
        options = FinetuneOptions(epochs=epochs, batch_size=batch_size, accumulation=accumulation, seed=seed)
    except ValueError as error:
        raise UsageError(f"--learning-rates {learning_rates!r}: {error}") from None
    console = stderr()
    with Catalog.open(train) as first, Catalog.open(validate) as second, stop_on_signal() as request:
        sources = AnchorSource.of_catalog(first), AnchorSource.of_catalog(second)
        job = FinetuneJob(*sources, (first.address, second.address), out, options)
        folders = train_grid(
            invocation(context).settings(), job, rates, lambda: request.requested,
            lambda name, done: console.print(f"{name}, epoch {done.epoch}: validation {done.validation_m:.3f} m"),
        )  # fmt: skip
    leave_if_stopped(request)
    assert folders is not None
    _report_trainings(folders, out)


@finetune_app.command("report")
def finetune_report(
    trainings: Annotated[list[Path], typer.Argument(help="Folders of `geocorrect models finetune mast3r`.")],
    out: Report,
) -> None:
    """Curves, depth and confidence maps by epoch of finished trainings: table, figures and one page."""
    _report_trainings(trainings, out)


def _report_trainings(folders: Sequence[Path], out: Path) -> None:
    from geocorrect.evaluate.finetuning.report import read_training, training_pictures, training_table
    from geocorrect.evaluate.render import write_report

    trainings = [read_training(folder) for folder in folders]
    table = training_table(trainings)
    said = [f"trainings: {', '.join(str(folder) for folder in folders)}"]
    page = write_report(out, "Fine-tuning of the point head", said, [table], training_pictures(trainings))
    typer.echo(table.markdown())
    stderr().print(f"page: {page}", markup=False)

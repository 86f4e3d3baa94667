"""`geocorrect evaluate`: the pipeline against data sets with known truth; `models train`: networks from such sets."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geocorrect.cli.console import (
    CatalogOption,
    JsonOption,
    invocation,
    leave_if_stopped,
    open_catalog,
    progress_bar,
    stderr,
    write_json,
)

if TYPE_CHECKING:
    from geocorrect.config import Settings
    from geocorrect.evaluate.mapfree.pair_estimators import PairEstimator
    from geocorrect.evaluate.mining.run import MiningPlan
    from geocorrect.evaluate.render import TextTable

app = typer.Typer(help="Measure the pipeline against data sets with known truth.", no_args_is_help=True)
train_app = typer.Typer(help="Train networks from your own data.", no_args_is_help=True)

# What `mine` and `vbr` share.
Ranges = Annotated[Path | None, typer.Option(help="JSON with ranges of frames; default: they are found.")]
RadiusM = Annotated[float, typer.Option(help="Largest distance of a pair.")]
MinGapS = Annotated[float, typer.Option(help="Nearer in time is the same visit; 0: pair consecutive frames.")]
QueryStep = Annotated[int, typer.Option(help="Every n-th image of a drive is a query.")]
AnchorStep = Annotated[int, typer.Option(help="Every n-th image of a drive is an anchor.")]
Keep = Annotated[int, typer.Option(help="Best anchors kept per query and range.")]
MinScore = Annotated[int, typer.Option(help="A pair is valid with more inliers.")]
StrongScore = Annotated[int, typer.Option(help="Train, val and test1 at random have more inliers.")]
BufferM = Annotated[float, typer.Option(help="Between sets that are split by place.")]
MiningSeed = Annotated[int, typer.Option(help="Of F-RANSAC and of the splits.")]


@app.command("kitti-raw")
def kitti_raw(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="A KITTI raw drive, or a folder above it that holds one.")],
    catalog: Annotated[
        str | None, typer.Option("--catalog", help="Keep the results in this catalog; default: a temporary one.")
    ] = None,
    anchor_frames: Annotated[str, typer.Option(help="Frames of camera 02 that serve as anchors.")] = "0,4,8",
    seed: Annotated[int, typer.Option(help="Of the reported positions' error.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Some frames of camera 02 become anchors; every other image is a query, judged against the inertial truth."""
    import tempfile

    from geocorrect.errors import UsageError
    from geocorrect.evaluate.kitti import KittiProtocol, evaluate_kitti

    try:
        frames = tuple(int(number) for number in anchor_frames.split(","))
    except ValueError:
        raise UsageError(f"--anchor-frames {anchor_frames!r}: expected numbers such as 0,4,8") from None
    with tempfile.TemporaryDirectory(prefix="geocorrect-") as scratch:
        settings = invocation(context).settings(catalog or f"{scratch}/kitti.gpkg")
        with open_catalog(settings, create=True) as store:
            report = evaluate_kitti(folder, settings, store, KittiProtocol(anchor_frames=frames, seed=seed))
    if as_json:
        write_json(dict(report))
    else:
        _print_report(report)


def _print_report(report: Any) -> None:
    low_m, high_m = report["position_median_95_m"]
    out = stderr()
    out.print(f"{report['drive']}: {report['n_accepted']} of {report['n_queries']} queries accepted")
    out.print(f"reported position off by {report['reported_median_m']:.2f} m (median)")
    out.print(
        f"corrected: median {100 * report['position_median_m']:.2f} cm [{100 * low_m:.2f}–{100 * high_m:.2f}], "
        f"max {100 * report['position_max_m']:.2f} cm, rotation median {report['rotation_median_deg']:.3f}°, "
        f"false accepts {report['false_accepts']}, n = {report['n_accepted']}"
    )


class PairEstimatorName(StrEnum):
    """What finds the poses of a Map-free set."""

    CONFIGURED = "configured"
    """Matcher, depth source, [match.verify] and [localize] of the configuration, the reference as the only anchor."""
    MICKEY = "mickey"
    """MicKey's keypoints and its own solver."""


@app.command()
def mapfree(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="A Map-free set such as mapfree/val: one folder per scene.")],
    estimator: Annotated[PairEstimatorName, typer.Option(help="What finds the poses.")] = PairEstimatorName.CONFIGURED,
    out: Annotated[Path, typer.Option(help="The submission file to write.")] = Path("submission.zip"),
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Estimate the pose of every judged query relative to its reference and write a submission.

    The answers are scored where the set's poses are published. `configured` needs a matcher and a depth source that
    know nothing but the photos, such as a depth network.
    """
    from geocorrect.evaluate.mapfree.run import evaluate_mapfree

    pairs = _pair_estimator(invocation(context).settings(), estimator)
    with progress_bar("scenes") as progress:
        report = evaluate_mapfree(folder, pairs, out, seed=seed, progress=progress)
    if as_json:
        write_json(dict(report))
    else:
        _print_mapfree(report)


@app.command()
def own(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder for table, texts, figures and page.")],
    catalog: CatalogOption = None,
    photos: Annotated[int, typer.Option(min=1, help="Anchors to leave out, drawn by the seed.")] = 100,
    gaps_m: Annotated[
        str, typer.Option(help="Anchors nearer than this are left out, too; several, comma-separated.")
    ] = "0,5,10,20",
    anchors: Annotated[str, typer.Option(help="Numbers of anchors to localise from.")] = "1,2,4,8",
    reported_error_m: Annotated[
        float, typer.Option(min=0.0, help="1 sigma of the reported positions, per axis.")
    ] = 5.0,
    beside: Annotated[
        list[Path] | None, typer.Option(help="Another geocorrect.toml on the same photos and catalog; repeatable.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the choice of photos and of the reported positions.")] = 0,
) -> None:
    """How good is it on your own drive: leave anchors out, localise them from the others, compare.

    Needs nothing but a catalog with anchors. Interrupted, the same command continues.
    """
    from geocorrect.api.scene import AnchorSource
    from geocorrect.evaluate.own import beside as other
    from geocorrect.evaluate.own.leave_out import LeaveOutProtocol, evaluate_own
    from geocorrect.evaluate.own.tables import notes, pictures, sentences, tables
    from geocorrect.evaluate.render import write_report
    from geocorrect.evaluate.table import write_table
    from geocorrect.match.base import Matcher
    from geocorrect.workers.stop import stop_on_signal

    protocol = LeaveOutProtocol(
        photos, _numbers("--gaps-m", gaps_m, float), _numbers("--anchors", anchors, int), reported_error_m, seed=seed
    )
    settings = invocation(context).settings(catalog)
    named = other.configurations(settings, invocation(context).config_path, beside or ())
    with open_catalog(settings) as store, stop_on_signal() as request, progress_bar("photos") as progress:
        source = AnchorSource.of_catalog(store)
        journal, matchers = out / "journal.jsonl", dict[str, Matcher]()
        by_name = {
            name: evaluate_own(one, source, protocol, journal, progress, lambda: request.requested, matchers)
            for name, one in named.items()
        }
    leave_if_stopped(request)
    write_table([row for found in by_name.values() for row in found], out / "table.parquet")
    rows = next(iter(by_name.values()))
    said = sentences(rows, len(source.index.ids))
    shown = [*tables(rows), *([other.table(by_name)] if beside else [])]
    page = write_report(
        out, f"{source.frame.name}: anchors left out and localised", [*said, *notes(rows)], shown, pictures(rows)
    )
    _print_tables(said, shown, page)


@app.command()
def mine(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder for pairs.parquet, tables and page.")],
    catalog: CatalogOption = None,
    ranges: Ranges = None,
    radius_m: RadiusM = 25.0,
    max_turn_deg: Annotated[float, typer.Option(help="Largest difference of heading.")] = 60.0,
    min_gap_s: MinGapS = 10.0,
    query_step: QueryStep = 1,
    anchor_step: AnchorStep = 1,
    keep: Keep = 10,
    min_score: MinScore = 200,
    strong_score: StrongScore = 700,
    buffer_m: BufferM = 60.0,
    seed: MiningSeed = 42,
) -> None:
    """Find pairs of one's own anchors that see the same, score them both ways, and split them.

    Interrupted, the same command continues.
    """
    from geocorrect.api.scene import AnchorSource
    from geocorrect.evaluate.mining.run import SplitPair, mine_anchors, mining_tables, photos_of
    from geocorrect.evaluate.render import write_report
    from geocorrect.evaluate.table import write_table
    from geocorrect.workers.stop import stop_on_signal

    plan = _mining_plan(
        ranges, radius_m, max_turn_deg, min_gap_s, query_step, anchor_step, keep, min_score,
        strong_score, buffer_m, seed,
    )  # fmt: skip
    settings = invocation(context).settings(catalog)
    with open_catalog(settings) as store, stop_on_signal() as request, progress_bar("pairs") as progress:
        source = AnchorSource.of_catalog(store)
        photos = photos_of(source)
        found = mine_anchors(settings, photos, plan, out / "journal.jsonl", progress, lambda: request.requested)
    leave_if_stopped(request)
    write_table(found.rows(), out / "pairs.parquet", SplitPair)
    said = [
        f"{found.n_candidates} candidate pairs of {len(photos.anchors)} anchors, {len(found.pairs)} kept, "
        f"{sum(pair.is_valid for pair in found.pairs)} valid",
        f"processor time of this run's matching: {found.cpu_s:.1f} s",
        *(f"not split: {reason}" for reason in found.refused),
    ]
    tables = mining_tables({source.frame.name: found}, plan)
    page = write_report(out, f"{source.frame.name}: mined pairs", said, tables, [])
    _print_tables(said, tables, page)


@app.command()
def vbr(
    context: typer.Context,
    root: Annotated[Path, typer.Argument(help="A VBR drive, or a folder above several.")],
    out: Annotated[Path, typer.Option(help="Folder for table, texts, figures and page.")],
    prediction: Annotated[
        list[str] | None, typer.Option(help="NAME=FOLDER with depth maps or points, <anchor id>.npy; repeatable.")
    ] = None,
    corrected: Annotated[
        list[str] | None, typer.Option(help="NAME=CATALOG with corrected photos, for figures 9 and 10; repeatable.")
    ] = None,
    ranges: Ranges = None,
    spacing_m: Annotated[float, typer.Option(min=0.0, help="Metres between images of a drive; 0 takes all.")] = 1.0,
    radius_m: RadiusM = 25.0,
    min_gap_s: MinGapS = 10.0,
    query_step: QueryStep = 1,
    anchor_step: AnchorStep = 1,
    keep: Keep = 10,
    min_score: MinScore = 200,
    strong_score: StrongScore = 700,
    buffer_m: BufferM = 60.0,
    seed: MiningSeed = 42,
) -> None:
    """The thesis' tables and figures on VBR drives: every depth and scale on mined pairs of one anchor each.

    Compared are the laser scanner (oracle), the configured depth source unless it is that, and every --prediction.
    Interrupted, the same command continues.
    """
    from geocorrect.evaluate.vbr.command import VbrPlan, evaluate_vbr
    from geocorrect.workers.stop import stop_on_signal

    mining = _mining_plan(
        ranges, radius_m, 60.0, min_gap_s, query_step, anchor_step, keep, min_score, strong_score, buffer_m, seed
    )
    plan = VbrPlan(root, out, tuple(prediction or ()), tuple(corrected or ()), spacing_m, mining)
    with stop_on_signal() as request, progress_bar("pairs") as progress:
        report = evaluate_vbr(invocation(context).settings(), plan, progress, lambda: request.requested)
    leave_if_stopped(request)
    assert report is not None
    _print_tables(report.sentences, report.tables, report.page)


def _mining_plan(
    ranges: Path | None, radius_m: float, max_turn_deg: float, min_gap_s: float, query_step: int, anchor_step: int,
    keep: int, min_score: int, strong_score: int, buffer_m: float, seed: int,
) -> MiningPlan:  # fmt: skip
    """The plan of the options that `mine` and `vbr` share."""
    from geocorrect.evaluate.mining.candidates import CandidateOptions
    from geocorrect.evaluate.mining.mine import MiningOptions
    from geocorrect.evaluate.mining.run import MiningPlan
    from geocorrect.evaluate.mining.splits import SplitOptions

    return MiningPlan(
        CandidateOptions(radius_m, max_turn_deg, min_gap_s, query_step=query_step, anchor_step=anchor_step),
        MiningOptions(keep=keep, min_score=min_score, seed=seed),
        SplitOptions(strong_score=strong_score, buffer_m=buffer_m, seed=seed),
        ranges,
    )


def _numbers(option: str, text: str, kind: Any) -> tuple[Any, ...]:
    """Comma-separated numbers; UsageError naming the option."""
    from geocorrect.errors import UsageError

    try:
        return tuple(sorted({kind(number) for number in text.split(",")}))
    except ValueError:
        raise UsageError(f"{option} {text!r}: expected numbers such as 1,2,4") from None


def _print_tables(sentences: Sequence[str], tables: Sequence[TextTable], page: Path) -> None:
    """Sentences on stderr, tables on stdout as Markdown, where the page is."""
    out = stderr()
    for sentence in sentences:
        out.print(sentence, markup=False)
    for table in tables:
        typer.echo(table.markdown())
    out.print(f"page: {page}", markup=False)


@train_app.command("mickey")
def train_mickey(
    context: typer.Context,
    training_set: Annotated[Path, typer.Argument(help="A Map-free training set: mapfree/train.")],
    folder: Annotated[Path, typer.Argument(help="For the state and the networks; a training in it continues.")],
    backbone: Annotated[Path, typer.Option(help="DINOv2's file dinov2_vitl14_pretrain.pth.")],
    validation_set: Annotated[Path | None, typer.Option(help="Judged after every epoch: mapfree/val.")] = None,
    start: Annotated[Path | None, typer.Option(help="Heads to begin with, such as those of a warm-up.")] = None,
    warm_up: Annotated[bool, typer.Option(help="The published warm-up: 360 × 480 px, batches of 24.")] = False,
    overlap: Annotated[bool, typer.Option(help="Pairs that overlap by 40 to 80 %, instead of the curriculum.")] = False,
    epochs: Annotated[int, typer.Option(help="Epochs in all.")] = 100,
    seed: Annotated[int, typer.Option(help="Of the fresh heads, the pairs and the draws.")] = 0,
) -> None:
    """Train MicKey's heads on a frozen backbone. Interrupt it at any time: the same command continues."""
    from dataclasses import replace

    from geocorrect.evaluate.mapfree.training_pairs import MapfreeTraining, TrainingPairOptions
    from geocorrect.evaluate.mapfree.training_pairs import train_mickey as train
    from geocorrect.networks.mickey.train.options import TrainOptions
    from geocorrect.workers.stop import stop_on_signal

    options = TrainOptions(epochs=epochs, seed=seed)
    pairs = TrainingPairOptions(seed=seed, overlap=(0.4, 0.8) if overlap else None)
    if overlap:
        options = replace(options, curriculum=replace(options.curriculum, enabled=False))
    if warm_up:
        draw, loss = replace(options.draw, pairs_per_draw=64), replace(options.loss, null_hypothesis=False)
        options, pairs = replace(options, batch_size=24, draw=draw, loss=loss), replace(pairs, size=(360, 480))
    training = MapfreeTraining(
        training_set, backbone, folder, validation_set, start, pairs, options, invocation(context).settings().models
    )
    console = stderr()
    with stop_on_signal() as request:
        written = train(
            training,
            lambda: request.requested,
            lambda told: console.print(f"step {told.step}: error {told.loss:.4f}, {told.n_kept} pairs"),
        )
    if written is None:
        console.print("stopped; the same command continues")
        raise typer.Exit(request.exit_code or 0)
    console.print(f"done: {written}")


def _pair_estimator(settings: Settings, name: PairEstimatorName) -> PairEstimator:
    from geocorrect.evaluate.mapfree.pair_estimators import LocalizedPairs, MickeyPairs

    if name is PairEstimatorName.MICKEY:
        from geocorrect.match.mickey import build
        from geocorrect.networks.runtime import with_runtime

        options = with_runtime(settings.match.mickey, settings.models)
        return MickeyPairs(build(options))
    from geocorrect.api.anchor_cache import read_anchor
    from geocorrect.api.backends import build_depth, build_estimator, build_matcher
    from geocorrect.errors import ConfigError

    if settings.depth.calibrate or settings.depth.source == "triangulated":
        raise ConfigError(
            f'[depth] source = "{settings.depth.source}", as configured, needs neighbours of the reference, and a '
            "Map-free scene has none; configure a depth network without calibration by neighbours"
        )
    # A network that may look at neighbours sees the reference by itself.
    settings = settings.model_copy(update={"depth": settings.depth.alone()})
    return LocalizedPairs(
        build_matcher(settings), build_depth(settings), settings.localize, build_estimator(settings, read_anchor),
        settings.match.verify,
    )  # fmt: skip


def _print_mapfree(report: Any) -> None:
    out = stderr()
    out.print(f"{report['n_answered']} of {report['n_queries']} queries answered, {report['n_scenes']} scenes")
    for reason, count in report["reasons"].items():
        out.print(f"  {reason}: {count}")
    scores = report["scores"]
    if scores is None:
        out.print("no scores: the true poses of this set are withheld; the leaderboard has them")
    else:
        out.print(
            f"median of scenes: {scores['position_median_m']:.2f} m, {scores['rotation_median_deg']:.1f}°, "
            f"{scores['vcre_median_px']:.0f} px; precision {scores['pose_precision']:.1%} (pose), "
            f"{scores['vcre_precision']:.1%} (VCRE); AUC {scores['pose_auc']:.3f} and {scores['vcre_auc']:.3f}, "
            f"n = {scores['n_queries']}"
        )
    out.print(f"submission: {report['submission']}")

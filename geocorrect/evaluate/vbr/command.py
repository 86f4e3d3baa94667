"""All drives under a folder: mined, split, evaluated, and reported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from geocorrect.config import Settings
from geocorrect.evaluate.metrics import MIN_AXIS_M
from geocorrect.evaluate.mining.run import Mined, MiningPlan, mine_anchors, mining_tables, photos_of
from geocorrect.evaluate.render import Picture, TextTable, write_report
from geocorrect.evaluate.table import Row, write_table
from geocorrect.evaluate.vbr.corrected import corrected_pictures, read_scene
from geocorrect.evaluate.vbr.pictures import pictures
from geocorrect.evaluate.vbr.run import DriveEvaluation
from geocorrect.evaluate.vbr.scenes import find_drives, parse_predictions, read_drive
from geocorrect.evaluate.vbr.tables import manifest, result_tables, table_3, training_tables


@dataclass(frozen=True)
class VbrPlan:
    """What is evaluated, and where the report goes."""

    root: Path
    out: Path
    predictions: tuple[str, ...] = ()
    """NAME=FOLDER each."""
    corrected: tuple[str, ...] = ()
    """NAME=CATALOG each: corrected photos for figures 9 and 10."""
    spacing_m: float = 1.0
    """Between the images of a drive."""
    mining: MiningPlan = field(default_factory=MiningPlan)


@dataclass(frozen=True)
class VbrReport:
    """What was found."""

    rows: list[Row]
    sentences: list[str]
    tables: list[TextTable]
    page: Path


def evaluate_vbr(
    settings: Settings, plan: VbrPlan, on_progress: Callable[[int, int], None], stopped: Callable[[], bool]
) -> VbrReport | None:
    """Evaluate every drive; None when it was stopped, the journal then continues.

    Raises:
        InputError: there is no drive, a drive has no scans, trajectory or valid pairs, ranges overlap, or a prediction
            is missing. Nothing but the journal is written then.
    """
    files = parse_predictions(list(plan.predictions))
    corrected = corrected_pictures(read_scene(list(plan.corrected))) if plan.corrected else []
    sources = {name: read_drive(folder, plan.spacing_m) for name, folder in find_drives(plan.root).items()}
    journal = plan.out / "journal.jsonl"
    mined: dict[str, Mined] = {}
    drives: dict[str, DriveEvaluation] = {}
    rows: list[Row] = []
    for name, source in sources.items():
        photos = photos_of(source)
        mined[name] = mine_anchors(settings, photos, plan.mining, journal, on_progress, stopped)
        if stopped():
            return None
        drives[name] = DriveEvaluation(settings, name, photos, mined[name], files)
    for drive in drives.values():
        rows += drive.rows(journal, on_progress, stopped)
        if stopped():
            return None
    return _report(plan, rows, mined, drives, corrected)


def _report(
    plan: VbrPlan, rows: list[Row], mined: dict[str, Mined], drives: dict[str, DriveEvaluation],
    corrected: list[Picture],
) -> VbrReport:  # fmt: skip
    about = {
        "images every": f"{plan.spacing_m:g} m",
        "pairs": f"{plan.mining.candidates}",
        "score": f"{plan.mining.mining}",
        "splits": f"{plan.mining.splits}",
        "ε of AbsRel per axis": f"{MIN_AXIS_M:g} m",
    }
    tables = [
        *mining_tables(mined, plan.mining), *result_tables(rows), table_3(drives), *training_tables(),
        manifest(drives, about),
    ]  # fmt: skip
    n_pairs = sum(len(drive.pairs) for drive in drives.values())
    sentences = [
        f"drives: {', '.join(drives)}; {n_pairs} valid pairs, {len(rows)} answers",
        "MTE and MRE are medians of the errors of the anchor → query transform; `centre` is the distance of the camera "
        "centres. Failures are left out of a median unless it says ∞",
        "Rows with LiDAR in their name used the scan of the very anchor (oracle)",
        "Figures 6 and 12–14 are of fine-tuning: `geocorrect models finetune grid`, `report`"
        + ("" if corrected else "; 9 and 10 take corrected photos: --corrected NAME=CATALOG"),
        *(f"{name}: not split: {reason}" for name, found in mined.items() for reason in found.refused),
    ]
    write_table(rows, plan.out / "table.parquet")
    page = write_report(plan.out, "VBR: the thesis' tables", sentences, tables, [*pictures(rows, drives), *corrected])
    return VbrReport(rows, sentences, tables, page)

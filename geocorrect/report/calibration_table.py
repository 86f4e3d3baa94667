"""What a depth calibration did, anchor by anchor: a CSV table, or an HTML page."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np

from geocorrect.depth.calibration.stored import CalibrationReport
from geocorrect.errors import UsageError
from geocorrect.io.atomic_file import atomic_file
from geocorrect.report.page import filled_template
from geocorrect.report.wording import UNKNOWN

HEADINGS = (
    "anchor", "neighbours", "points", "scale before", "scale after", "spread before", "spread after", "note",
)  # fmt: skip


def write_calibration_table(rows: Sequence[CalibrationReport], depth: str, path: Path) -> None:
    """Write .csv or .html, whole or not at all. depth: fingerprint of the source; UsageError for another ending."""
    ending = path.suffix.lower()
    if ending not in (".csv", ".html"):
        raise UsageError(f"--report {path}: name a .csv or .html file")
    with atomic_file(path) as file:
        file.write((_csv(rows) if ending == ".csv" else _html(rows, depth)).encode())


def calibration_sentences(rows: Sequence[CalibrationReport]) -> list[str]:
    """The calibration in a few sentences: medians with quartiles, and what could not be calibrated."""
    done = [row for row in rows if row.n_tracks > 0]
    counts = _spread([row.n_tracks for row in done])
    sentences = [
        f"{len(done)} of {len(rows)} anchors have depth from neighbours, {counts} points each (median, quartiles)"
    ]
    if any(math.isfinite(row.scale_before) for row in done):
        sentences.append(
            f"predicted over triangulated depth: before {_spread([r.scale_before for r in done], 3)}, "
            f"after {_spread([r.scale_after for r in done], 3)}"
        )
        sentences.append(
            f"spread of log depth: before {_spread([r.spread_before for r in done], 3)}, "
            f"after {_spread([r.spread_after for r in done], 3)}"
        )
    elif done:
        sentences.append(f"sigma of log depth: {_spread([r.spread_after for r in done], 3)}")
    alone = [row.anchor_id for row in rows if row.n_neighbours == 0]
    if alone:
        sentences.append(f"{len(alone)} anchors have no neighbour under their own alignment: {_some(alone)}")
    poor = [row.anchor_id for row in rows if row.n_neighbours and row.n_tracks == 0]
    if poor:
        sentences.append(f"the neighbours of {len(poor)} anchors do not say enough: {_some(poor)}")
    return sentences


def _csv(rows: Sequence[CalibrationReport]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(CalibrationReport)], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: "" if value != value else value for name, value in asdict(row).items()})
    return text.getvalue()


def _html(rows: Sequence[CalibrationReport], depth: str) -> str:
    cells = [_cells(row) for row in rows]
    sentences = calibration_sentences(rows)
    return filled_template("calibration.html.j2", depth=depth, sentences=sentences, headings=HEADINGS, rows=cells)


def _cells(row: CalibrationReport) -> tuple[str, ...]:
    """Under HEADINGS; a note marks a row without calibrated depth."""
    note = "no neighbour" if row.n_neighbours == 0 else "neighbours do not suffice" if row.n_tracks == 0 else ""
    numbers = (row.scale_before, row.scale_after, row.spread_before, row.spread_after)
    shown = (UNKNOWN if math.isnan(value) else f"{value:.3f}" for value in numbers)
    return (row.anchor_id, str(row.n_neighbours), str(row.n_tracks), *shown, note)


def _spread(values: Sequence[float], digits: int = 0) -> str:
    """Median and quartiles."""
    if not values:
        return UNKNOWN
    low, middle, high = np.percentile(values, [25, 50, 75])
    return f"{middle:.{digits}f} [{low:.{digits}f}–{high:.{digits}f}]"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")

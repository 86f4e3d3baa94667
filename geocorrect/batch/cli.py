"""`geocorrect sequences`: every recording as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from geocorrect.console import invocation, open_catalog, progress_bar, stderr, write_json

if TYPE_CHECKING:
    from geocorrect.catalog.sequences import SequenceFinding


def sequences(
    context: typer.Context,
    catalog: Annotated[str | None, typer.Option("--catalog", help="PATH.gpkg or postgresql://…")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what is due; show what is known.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> None:
    """Compare the results of every sequence with each other: place photos between them, sharpen, flag wrong ones.

    What changed since the last time is computed and stored as a run of its own, which `geocorrect db rollback` takes
    back; then the findings in force are listed. Options: [sequence] in geocorrect.toml.
    """
    from geocorrect.batch.sequences import adjust_due_sequences

    settings = invocation(context).settings(catalog)
    with open_catalog(settings) as store, progress_bar("sequences") as progress:
        outcome = adjust_due_sequences(settings, store, dry_run=dry_run, on_progress=progress)
    if as_json:
        write_json(outcome.as_json())
    else:
        stderr().print(outcome.sentence(), markup=False)
        for line in finding_lines(outcome.findings):
            typer.echo(line)
    raise typer.Exit(outcome.exit_code)


def finding_lines(findings: Sequence[SequenceFinding]) -> list[str]:
    """A table for people: a line per sequence, the recordings with most photos first. Signs: corrected minus reported."""
    if not findings:
        return []
    rows = [_HEADER, *(_cells(f) for f in sorted(findings, key=lambda f: (-f.n_photos, f.sequence_id)))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    aligned = [
        [
            cell.ljust(w) if column in _TEXT_COLUMNS else cell.rjust(w)
            for column, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        for row in rows
    ]
    return ["  ".join(row).rstrip() for row in aligned]


_HEADER = [
    "sequence", "device", "photos", "results", "agree", "placed", "sharper", "flagged", "doubted",
    "east m", "north m", "spread m", "heading °", "lag s", "motion",
]  # fmt: skip
_TEXT_COLUMNS = {0, 1, len(_HEADER) - 1}


def _cells(f: SequenceFinding) -> list[str]:
    counts = (f.n_photos, f.n_results, f.n_trusted, f.n_placed, f.n_sharpened, f.n_flagged, f.n_doubted)
    device = " ".join(word for word in (f.device_make, f.device_model) if word) or "-"
    measures = ((f.median_east_m, 2), (f.median_north_m, 2), (f.spread_m, 2), (f.heading_bias_deg, 1), (f.lag_s, 2))
    told = ["-" if value != value else f"{value:.{digits}f}" for value, digits in measures]
    return [f.sequence_id[:22], device[:24], *map(str, counts), *told, f.note or f.motion]

"""`geocorrect sequences`: every recording as a whole."""

from __future__ import annotations

from typing import Annotated

import typer

from geocorrect.cli.console import invocation, open_catalog, progress_bar, stderr, write_json

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


def sequences(
    context: typer.Context,
    catalog: Annotated[str | None, typer.Option("--catalog", help="PATH.gpkg or postgresql://…")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what is due; show what is known.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare the results of every sequence with each other: place photos between them, sharpen, flag wrong ones.

    What changed since the last time is computed and stored as a run of its own, which `geocorrect db rollback` takes
    back; then the findings in force are listed. Options: [sequence] in geocorrect.toml.
    """
    from geocorrect.jobs.sequence_report import finding_lines
    from geocorrect.jobs.sequences import adjust_due_sequences

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

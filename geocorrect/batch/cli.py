"""`geocorrect cache`: how much, and away with it. `geocorrect sequences`: every recording as a whole."""

from __future__ import annotations

from typing import Annotated

import typer

from geocorrect.console import invocation, open_catalog, progress_bar, stderr, write_json

cache_app = typer.Typer(help="What networks computed and keep on disk.", no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


@cache_app.command("info")
def cache_info(context: typer.Context, as_json: JsonOption = False) -> None:
    """Say where the cache lies, how much it holds, and when it was used last."""
    from geocorrect.batch.cache_report import cache_report

    report = cache_report(invocation(context).settings())
    if as_json:
        write_json(report.as_json())
    else:
        stderr().print(report.sentence(), markup=False)


@cache_app.command("clear")
def cache_clear(
    context: typer.Context,
    unused_days: Annotated[float, typer.Option(min=0.0, help="Only what was not used for so many days.")] = 0.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove entries, and what killed writers left behind; safe while runs use the cache."""
    from geocorrect.batch.cache_report import clear_cache, unused_entries

    settings = invocation(context).settings()
    found = unused_entries(settings, unused_days) if dry_run else clear_cache(settings, unused_days)
    if as_json:
        write_json({"n_entries": len(found.entries), "n_bytes": found.n_bytes, "dry_run": dry_run})
        return
    said = "would be removed" if dry_run else "removed"
    stderr().print(f"{len(found.entries)} entries, {found.n_bytes / 1e6:.1f} MB {said}", markup=False)


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
    from geocorrect.batch.sequence_outcome import finding_lines
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

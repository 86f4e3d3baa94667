"""`geocorrect report`: one self-contained page that a person looks at, and plots."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geocorrect.cli.console import invocation, open_catalog, stderr, write_json


def report(
    context: typer.Context,
    out: Annotated[Path, typer.Option("--out", "-o", help="The HTML file to write.")] = Path("report.html"),
    catalog: Annotated[
        str | None, typer.Option("--catalog", help="Catalog instead of the configured one: PATH.gpkg or postgresql://…")
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(help="True places of the photos (JSON, such as the demo's world/truth.json).")
    ] = None,
    run: Annotated[
        str | None, typer.Option(help="Only this run (key or its beginning); default: the results in force.")
    ] = None,
    plots: Annotated[Path | None, typer.Option(help="Also write PNG plots into this folder.")] = None,
    title: Annotated[str | None, typer.Option(help="Heading of the page; default: the scene's name.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be shown; write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON on stdout.")] = False,
) -> None:
    """Write one self-contained HTML page about the results: map, charts, tables, provenance. It needs no network."""
    from geocorrect.report.page import PageOptions
    from geocorrect.report.truth import read_truth_file
    from geocorrect.report.write import ReportRequest, publish

    known = None if truth is None else read_truth_file(truth)
    page, folder = (None, None) if dry_run else (out, plots)
    with open_catalog(invocation(context).settings(catalog)) as store:
        written = publish(store, ReportRequest(page, folder, known, run, PageOptions(title)))
    if as_json:
        write_json(written.as_json())
    else:
        stderr().print(written.sentence())

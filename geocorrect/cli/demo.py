"""`geocorrect demo`: the whole pipeline on a synthetic street with known truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from geocorrect.cli.console import JsonOption, progress_bar, stderr, write_json
from geocorrect.redaction import redact


def demo(
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for everything; default: out/demo, out/demo-triangulated.")
    ] = None,
    depth: Annotated[
        str,
        typer.Option(help="lidar (measured), or triangulated: from the anchors' neighbours, no scanner, no network."),
    ] = "lidar",
    seed: Annotated[int, typer.Option(help="Seed of the street.")] = 7,
    size: Annotated[str, typer.Option(help="full, or small for a quick look.")] = "full",
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    catalog: Annotated[
        str | None, typer.Option("--catalog", help="A PostGIS URL instead of the GeoPackage in the folder.")
    ] = None,
    serve: Annotated[
        bool,
        typer.Option(
            "--serve",
            help='Only start the Mapillary server of a demo that was built, and print its environment: eval "$(…)".',
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run the main job on a synthetic street, end to end, and compare with the known truth."""
    from geocorrect.demo.demo import DemoOptions, run_demo
    from geocorrect.errors import UsageError

    if size not in ("full", "small"):
        raise UsageError(f"--size {size!r}: use full or small")
    if depth not in ("lidar", "triangulated"):
        raise UsageError(f"--depth {depth!r}: use lidar or triangulated")
    out = out or Path("out/demo" if depth == "lidar" else "out/demo-triangulated")
    if serve:
        _serve(out, as_json=as_json)
        return
    console = stderr()
    with progress_bar("demo") as progress:
        outcome = run_demo(DemoOptions(out, seed, size, workers, catalog, depth), console.print, progress)
    if outcome.exit_code:
        console.print(f"stopped after {outcome.recomputed} photos; run the same command again to go on")
        raise typer.Exit(outcome.exit_code)
    if as_json:
        write_json(outcome.summary)
        return
    console.print(_table(outcome.summary))
    what = f"{outcome.recomputed} images computed" if outcome.recomputed else "nothing was due: outputs are unchanged"
    database = f"{out}/corrections.gpkg" if catalog is None else redact(catalog)
    console.print(f"{what}. What to open next:")
    for file, content in (
        (f"{out}/report.html", "a page with figures, maps and photos, for any browser"),
        (f"{out}/before_after.png", "the street before and after, in one picture"),
        (database, "the catalog with its styles, for QGIS"),
    ):
        console.print(f"  {file}: {content}", soft_wrap=True, highlight=False)


def _serve(out: Path, *, as_json: bool) -> None:
    from geocorrect.demo.serve import PROCESS, shell_lines, start_server

    environment = start_server(out / "world")
    if as_json:
        write_json(environment)
        return
    typer.echo("\n".join(shell_lines(environment)))
    stderr().print(
        f"the demo's Mapillary server answers; `kill ${PROCESS}` ends it, and so does an hour without a request"
    )


def _table(summary: dict[str, Any]) -> Any:
    from rich.table import Table

    table = Table("figure", "value", title="demo street: error against the known truth", title_justify="left")
    units = {"_m": " m", "_deg": "°", "_s": " s"}
    for name, value in summary.items():
        unit = next((text for ending, text in units.items() if name.endswith(ending)), "")
        if isinstance(value, dict):
            shown = ", ".join(f"{key} {count}" for key, count in value.items()) or "none"
        elif isinstance(value, float):
            shown = f"{value:.3f}{unit}"
        else:
            shown = f"{value}{unit}"
        table.add_row(name, shown)
    return table

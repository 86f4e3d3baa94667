"""The command line: parse → one call → print. Heavy imports happen inside the commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from geocorrect import __version__
from geocorrect.cli.console import Invocation, invocation, open_catalog, progress_bar, stderr, write_json

if TYPE_CHECKING:
    from geocorrect.config import Settings
    from geocorrect.jobs.correct import RunLimits

app = typer.Typer(
    name="geocorrect",
    help="Put crowd-sourced street photos back where they were really taken.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)

CatalogOption = Annotated[
    str | None, typer.Option("--catalog", help="Catalog instead of the configured one: PATH.gpkg or postgresql://…")
]
MaxImagesOption = Annotated[int | None, typer.Option(min=1, help="Correct that many images at most.")]
MaxRuntimeOption = Annotated[
    str | None, typer.Option("--max-runtime", help="Finish the image at hand after that long: 90s, 30m, 2h.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"geocorrect {__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Configuration file; default: geocorrect.toml here.")
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error; default: [log] level.")] = None,
    log_format: Annotated[str | None, typer.Option(help="text, or json: one object per line of stderr.")] = None,
    log_json: Annotated[bool, typer.Option("--log-json", help="Short for --log-format json.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options that come before the command."""
    from geocorrect.cli.console import LogChoice

    context.obj = Invocation(config, LogChoice.parsed(log_level, "json" if log_json else log_format))


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder of the new scene.")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing geocorrect.toml.")] = False,
) -> None:
    """Write a commented geocorrect.toml to start from, and an empty catalog beside it."""
    from geocorrect.cli.starter import write_starter

    config = write_starter(folder, force=force)
    settings = Invocation(config).settings()
    with open_catalog(settings, create=True):
        stderr().print(f"wrote {config} and {settings.catalog.url}; next: geocorrect anchors add --help")


@app.command()
def correct(
    context: typer.Context,
    catalog: CatalogOption = None,
    max_images: MaxImagesOption = None,
    max_runtime: MaxRuntimeOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what is due.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Correct every image of the catalog that is due (no result yet, or it or its anchors changed)."""
    from geocorrect.jobs.correct import RunLimits, correct_due

    allowance, settings = RunLimits.of(max_images, max_runtime), invocation(context).settings(catalog)
    _work("correct", correct_due, settings, allowance, dry_run=dry_run, as_json=as_json)


@app.command()
def run(
    context: typer.Context,
    catalog: CatalogOption = None,
    max_images: MaxImagesOption = None,
    max_runtime: MaxRuntimeOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what would be done; store nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """The scheduled job: harvest the configured area, correct what is due, write the configured exports.

    Without [area] in the configuration nothing is harvested; when the harvest fails, what is there is corrected. The
    exit code is the gravest failure's. --max-runtime counts from the start; the harvest is not interrupted, and what is
    there at the end is exported.
    """
    from geocorrect.jobs.correct import RunLimits
    from geocorrect.jobs.pipeline import run_pipeline

    allowance, settings = RunLimits.of(max_images, max_runtime), invocation(context).settings(catalog)
    _work("run", run_pipeline, settings, allowance, dry_run=dry_run, as_json=as_json)


def _work(
    name: str, job: Callable[..., Any], settings: Settings, allowance: RunLimits, *, dry_run: bool, as_json: bool
) -> NoReturn:
    """Do a job, hold the scene and be observed meanwhile, say what came of it and leave with its exit code."""
    from geocorrect.jobs.context import work_session
    from geocorrect.jobs.observe import observed

    with (
        observed(settings, name) as observer,
        open_catalog(settings) as store,
        work_session(store, allowance.left_s, dry_run=dry_run) as session,
        progress_bar("correct") as bar,
    ):
        if not dry_run:
            observer.begin()
        outcome = job(
            settings, store, allowance=allowance, dry_run=dry_run, on_progress=observer.following(bar), session=session
        )
        observer.ended(outcome)
    if as_json:
        write_json(outcome.as_json())
    else:
        stderr().print(outcome.sentence(), markup=False)
    raise typer.Exit(outcome.exit_code)


@app.command()
def status(context: typer.Context, catalog: CatalogOption = None, as_json: JsonOption = False) -> None:
    """Show what the catalog holds: anchors, images, results, reasons of rejections, last runs."""
    from geocorrect.jobs.status import catalog_status, status_lines

    with open_catalog(invocation(context).settings(catalog)) as store:
        facts = catalog_status(store)
    if as_json:
        write_json(facts)
    else:
        stderr().print("\n".join(status_lines(facts)))


@app.command()
def doctor(
    context: typer.Context,
    online: Annotated[bool, typer.Option("--online", help="Also ask the imagery service: token, clock.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check configuration, catalog, disk, token, weights, GPU and clock; say how to mend what is wrong."""
    from geocorrect.cli.doctor import examine, examine_online, print_findings

    findings = (examine_online if online else examine)(invocation(context))
    if as_json:
        write_json([finding.as_json() for finding in findings])
    else:
        print_findings(findings)
    raise typer.Exit(next((finding.exit_code for finding in findings if not finding.ok), 0))


config_app = typer.Typer(help="The resolved configuration.", no_args_is_help=True)
app.add_typer(config_app, name="config")


@config_app.command("show")
def config_show(context: typer.Context, as_json: JsonOption = False) -> None:
    """Print every setting with its value and where the value comes from."""
    resolved = invocation(context).resolved()
    if as_json:
        write_json(resolved.settings.as_json())
        return
    for key, value, origin in resolved.rows():
        typer.echo(f"{key} = {value!r}  # {origin}")


def _mount_rooms() -> None:
    """Each room brings its own commands; their modules import nothing heavy. The order is that of the help."""
    from geocorrect.cli.anchors import app as anchors_app
    from geocorrect.cli.catalog import app as db_app
    from geocorrect.cli.demo import demo
    from geocorrect.cli.depth import app as depth_app
    from geocorrect.cli.evaluate import app as evaluate_app
    from geocorrect.cli.export import export
    from geocorrect.cli.georeference import georeference
    from geocorrect.cli.harvest import harvest, import_photos
    from geocorrect.cli.localize import localize
    from geocorrect.cli.match import match
    from geocorrect.cli.models import app as models_app
    from geocorrect.cli.models import cache_app
    from geocorrect.cli.report import report
    from geocorrect.cli.sequences import sequences

    app.command("georeference")(georeference)
    app.command("harvest")(harvest)
    app.command("import")(import_photos)
    app.command("sequences")(sequences)
    app.command("export")(export)
    app.command("report")(report)
    app.command("localize")(localize)
    app.command("match")(match)
    app.command("demo")(demo)
    app.add_typer(anchors_app, name="anchors")
    app.add_typer(depth_app, name="depth")
    app.add_typer(models_app, name="models")
    app.add_typer(evaluate_app, name="evaluate")
    app.add_typer(db_app, name="db")
    app.add_typer(cache_app, name="cache")


_mount_rooms()

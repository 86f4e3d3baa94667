"""`geocorrect correct`, `run`, `sequences`, `devices` and `status`: the jobs, how far they are, what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from geocorrect.cli.console import (
    CatalogOption,
    JsonOption,
    invocation,
    open_catalog,
    print_report,
    progress_bar,
    stderr,
    write_json,
)  # fmt: skip
from geocorrect.errors import GeocorrectError, UsageError
from geocorrect.redaction import redact

if TYPE_CHECKING:
    from geocorrect.config import Settings
    from geocorrect.jobs.context import RunLimits

MaxImagesOption = Annotated[int | None, typer.Option(min=1, help="Correct that many images at most.")]
MaxRuntimeOption = Annotated[
    str | None, typer.Option("--max-runtime", help="Finish the image at hand after that long: 90s, 30m, 2h.")
]


def correct(
    context: typer.Context,
    catalog: CatalogOption = None,
    max_images: MaxImagesOption = None,
    max_runtime: MaxRuntimeOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what is due.")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="With --dry-run: say what changed since the results that are there.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Correct every image of the catalog that is due (no result yet, or it or its anchors changed)."""
    from geocorrect.jobs.context import RunLimits
    from geocorrect.jobs.run import correct_due

    with _error_as_json(as_json):
        limits, settings = RunLimits.of(max_images, max_runtime), invocation(context).settings(catalog)
        if explain and not dry_run:
            raise UsageError("--explain goes with --dry-run: it says why photos are due, and corrects none")
    job = partial(correct_due, explain=explain)
    _work("correct", job, settings, limits, dry_run=dry_run, as_json=as_json)


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
    exit code is that of the gravest failure. --max-runtime counts from the start; the harvest is not interrupted, and
    what is there at the end is exported.
    """
    from geocorrect.jobs.context import RunLimits
    from geocorrect.jobs.pipeline import run_pipeline

    with _error_as_json(as_json):
        limits, settings = RunLimits.of(max_images, max_runtime), invocation(context).settings(catalog)
    _work("run", run_pipeline, settings, limits, dry_run=dry_run, as_json=as_json)


def _work(
    name: str, job: Callable[..., Any], settings: Settings, limits: RunLimits, *, dry_run: bool, as_json: bool
) -> NoReturn:
    """Do a job with the scene locked and the metrics file kept up to date, print its report, leave with its code."""
    from geocorrect.jobs.context import use_or_create
    from geocorrect.jobs.observe import observed

    with (
        _error_as_json(as_json),
        observed(settings, name) as observer,
        open_catalog(settings) as store,
        use_or_create(None, store, limits.left_s, dry_run=dry_run) as own,
        progress_bar("correct") as bar,
    ):
        if not dry_run:
            observer.begin()
        report = job(settings, store, limits=limits, dry_run=dry_run, on_progress=observer.following(bar), context=own)
        observer.ended(report)
    print_report(report, as_json)


@contextmanager
def _error_as_json(as_json: bool) -> Iterator[None]:
    """Whoever reads the JSON of a job gets one also when the job cannot begin, or breaks off."""
    try:
        yield
    except GeocorrectError as error:
        if as_json:
            write_json({"error": redact(str(error)), "exit_code": int(error.exit_code)})
        raise


def sequences(
    context: typer.Context,
    catalog: CatalogOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what is due; show what is known.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare the results of every sequence with each other: place photos between them, sharpen, flag wrong ones.

    What changed since the last time is computed and stored as a run of its own, which `geocorrect db rollback` takes
    back; then the active findings are listed. Options: [sequence] in geocorrect.toml.
    """
    from geocorrect.jobs.report import finding_lines
    from geocorrect.jobs.sequences import adjust_due_sequences

    settings = invocation(context).settings(catalog)
    with open_catalog(settings) as store, progress_bar("sequences") as progress:
        report = adjust_due_sequences(settings, store, dry_run=dry_run, on_progress=progress)
    print_report(report, as_json, finding_lines(report.findings))


def devices(context: typer.Context, catalog: CatalogOption = None, as_json: JsonOption = False) -> None:
    """Show what the accepted photos of every kind of device say together about its lens.

    The lines on stdout state it: put into geocorrect.toml, all photos of the device are localised with it.
    """
    from geocorrect.jobs.devices import device_findings, device_lines, lens_toml

    settings = invocation(context).settings(catalog)
    with open_catalog(settings) as store:
        found = device_findings(store)
    if as_json:
        write_json([finding.as_row() for finding in found])
    else:
        stderr().print("\n".join(device_lines(found)), markup=False, soft_wrap=True)
        typer.echo("\n".join(lens_toml(finding.lens(settings.camera.lenses)) for finding in found), nl=bool(found))


def status(context: typer.Context, catalog: CatalogOption = None, as_json: JsonOption = False) -> None:
    """Show what the catalog holds: anchors, images, results, reasons of rejections, last runs."""
    from geocorrect.jobs.status import catalog_status, status_lines

    with open_catalog(invocation(context).settings(catalog)) as store:
        facts = catalog_status(store)
    if as_json:
        write_json(facts)
    else:
        stderr().print("\n".join(status_lines(facts)), markup=False)

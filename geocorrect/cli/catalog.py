"""`geocorrect db` and `geocorrect review`: the catalog's schema and health, taking results back, poses in doubt."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from geocorrect.cli.console import (
    CatalogOption,
    JsonOption,
    invocation,
    locked_catalog,
    open_catalog,
    print_table,
    progress_bar,
    stderr,
    write_json,
)

if TYPE_CHECKING:
    from geocorrect.catalog.curation.review import Verdict

app = typer.Typer(
    name="db",
    help="Upgrade and check the catalog; retract results, roll a run back.",
    no_args_is_help=True,
)

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
Because = Annotated[str, typer.Option("--because", help="Why; kept in the catalog.")]
RunKey = Annotated[str, typer.Argument(help="Key of the run, or its beginning, as `geocorrect db runs` prints it.")]


@app.command()
def upgrade(context: typer.Context, catalog: CatalogOption = None, dry_run: DryRun = False) -> None:
    """Bring the schema and the views of an existing or empty catalog up to date, in one transaction."""
    from geocorrect.catalog import migrate
    from geocorrect.catalog.schema import REVISION

    settings = invocation(context).settings(catalog)
    if dry_run:
        stderr().print(f"{migrate.revision_at(settings.catalog.url) or 'no catalog'} → {REVISION}")
        return
    with locked_catalog(settings, create=True) as store:
        stderr().print(f"{store.address} has schema {REVISION}")


@app.command()
def current(context: typer.Context, catalog: CatalogOption = None, as_json: JsonOption = False) -> None:
    """Print the schema revision of the catalog and the one that this version needs."""
    from geocorrect.catalog import migrate
    from geocorrect.catalog.schema import REVISION

    found = migrate.revision_at(invocation(context).settings(catalog).catalog.url)
    if as_json:
        write_json({"found": found, "needed": REVISION})
    else:
        typer.echo(f"{found or 'none'} (needed: {REVISION})")


@app.command()
def check(
    context: typer.Context,
    catalog: CatalogOption = None,
    fix: Annotated[bool, typer.Option("--fix", help="Make capture times unknown that no photo has.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Look for faults: damaged file, broken index, dangling rows, missing views. Exit code 5 when there are any."""
    from geocorrect.catalog.check import faults_of, forget_implausible_times
    from geocorrect.errors import ExitCode

    settings = invocation(context).settings(catalog)
    if fix:
        with locked_catalog(settings) as store:
            count = forget_implausible_times(store)
            stderr().print(f"{count} capture times made unknown; these photos, and those near such an anchor, are due")
    with open_catalog(settings) as store:
        faults = faults_of(store.engine)
    if as_json:
        write_json({"faults": faults})
    else:
        stderr().print("\n".join(faults) or "no fault found", markup=False)
    if faults:
        raise typer.Exit(ExitCode.DATABASE)


@app.command()
def runs(context: typer.Context, catalog: CatalogOption = None, as_json: JsonOption = False) -> None:
    """List the runs, oldest first."""
    with open_catalog(invocation(context).settings(catalog)) as store:
        listed = [(run, store.counts(run.run_key)) for run in store.runs()]
    if as_json:
        write_json(
            [
                {
                    "run_key": run.run_key,
                    "started_at": run.started_at.isoformat(),
                    "finished_at": None if run.finished_at is None else run.finished_at.isoformat(),
                    "matcher": run.matcher,
                    "depth": run.depth,
                    "results": counts,
                    "rolled_back": run.rolled_back_at is not None,
                    "active": run.is_active,
                    "state": run.state,
                }
                for run, counts in listed
            ]
        )
        return
    for run, counts in listed:
        summary = ", ".join(f"{count} {status}" for status, count in counts.items()) or "no results"
        typer.echo(f"{run.run_key[:12]}  {run.started_at:%Y-%m-%d %H:%M}  {run.matcher}  {summary}  {run.state}")


@app.command()
def retract(
    context: typer.Context,
    image_ids: Annotated[list[str], typer.Argument(help="Ids of the photos.")],
    because: Because = "",
    run_key: Annotated[str | None, typer.Option("--run", help="Only their results of this run.")] = None,
    catalog: CatalogOption = None,
    dry_run: DryRun = False,
) -> None:
    """Withdraw the results of some photos; what was active before them comes back."""
    from geocorrect.catalog import ResultFilter

    opened = open_catalog if dry_run else locked_catalog
    with opened(invocation(context).settings(catalog)) as store:
        key = None if run_key is None else store.run_key_of(run_key)
        if dry_run:
            wanted = ResultFilter(image_ids=image_ids, run_key=key, active=key is None)
            stderr().print(f"{sum(1 for _ in store.results(wanted))} results would be retracted")
            return
        stderr().print(f"{store.retract(image_ids, because, key)} results retracted")


@app.command()
def rollback(
    context: typer.Context,
    run_key: RunKey,
    because: Because = "",
    catalog: CatalogOption = None,
    dry_run: DryRun = False,
) -> None:
    """Take all results of a run back; what was active before them comes back."""
    opened = open_catalog if dry_run else locked_catalog
    with opened(invocation(context).settings(catalog)) as store:
        key = store.run_key_of(run_key)
        if dry_run:
            stderr().print(f"{sum(store.counts(key).values())} results of run {key[:12]} would be rolled back")
            return
        stderr().print(f"{store.rollback(key, because)} results of run {key[:12]} rolled back")


@app.command()
def restore(context: typer.Context, run_key: RunKey, catalog: CatalogOption = None) -> None:
    """Undo a rollback."""
    with locked_catalog(invocation(context).settings(catalog)) as store:
        key = store.run_key_of(run_key)
        stderr().print(f"{store.restore(key)} results of run {key[:12]} are active again")


@app.command("copy")
def copy_to(
    context: typer.Context,
    target: Annotated[str, typer.Argument(help="Where to: PATH.gpkg or postgresql://…; made when missing, and empty.")],
    catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy the whole catalog, versions and runs included, to another file or server; every row is compared."""
    from geocorrect.catalog.curation.move import copy_catalog
    from geocorrect.config import CatalogSection

    settings = invocation(context).settings(catalog)
    elsewhere = settings.model_copy(update={"catalog": CatalogSection(target)})
    with (
        open_catalog(settings) as source,
        locked_catalog(elsewhere, create=True) as store,
        progress_bar("copy") as progress,
    ):
        counts = copy_catalog(source, store, progress)
        address = store.address
    if as_json:
        write_json({"target": address, "rows": counts})
        return
    stderr().print(f"{sum(counts.values())} rows copied to {address}, and all of them read there as they do here")


@app.command()
def grant(
    context: typer.Context,
    writer: Annotated[str, typer.Option(help="Role that may store results.")] = "geocorrect_writer",
    reader: Annotated[str, typer.Option(help="Role that may only read.")] = "geocorrect_reader",
    catalog: CatalogOption = None,
) -> None:
    """Make two group roles with the least rights on a PostGIS catalog; add members with `grant ROLE to USER`."""
    from geocorrect.catalog.postgis.roles import grant_roles

    with open_catalog(invocation(context).settings(catalog)) as store:
        grant_roles(store.engine, writer, reader)
        stderr().print(f"{writer} may store results in {store.address}, {reader} may read them")


# --- reviews ------------------------------------------------------------------------------------------------

review_app = typer.Typer(
    name="review",
    help="Poses that wait for a person: list, accept or reject them.",
    no_args_is_help=True,
)

Photos = Annotated[list[str], typer.Argument(help="Ids of the photos, as `geocorrect review list` prints them.")]
Note = Annotated[str, typer.Option("--note", help="Why; kept in the catalog.")]
By = Annotated[str | None, typer.Option("--by", help="Who decides; default: the user of this machine.")]

_HEADINGS = {
    "image_id": "photo", "expected_error": "predicted", "displacement": "moved", "evidence": "evidence",
    "place": "lat, lon, heading", "path": "picture",
}  # fmt: skip


@review_app.command("list")
def review_list(
    context: typer.Context,
    decided: Annotated[bool, typer.Option("--decided", help="What was decided instead, oldest first.")] = False,
    catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the photos whose pose waits for a review, least sure first, with their picture files."""
    from geocorrect.catalog.curation.review import Reviews

    with open_catalog(invocation(context).settings(catalog)) as store:
        decisions = Reviews(store).decisions() if decided else []
        waiting = [] if decided else Reviews(store).waiting()
    if as_json:
        write_json([*map(asdict, decisions), *map(asdict, waiting)])
    elif decided:
        rows = [asdict(d) | {"run": d.run_key[:12], "when": f"{d.reviewed_at:%Y-%m-%d %H:%M}"} for d in decisions]
        names = {"image_id": "photo", "verdict": "verdict", "reviewer": "by", "when": "when", "is_active": "active",
                 "run": "run", "note": "note"}  # fmt: skip
        print_table(rows, names, {"note": 20})
    elif not waiting:
        stderr().print("nothing waits for a review")
    else:
        rows = [
            {
                "image_id": p.image_id,
                "expected_error": f"{p.expected_error_m:.2f} m",
                "displacement": f"{p.displacement_m:.1f} m",
                "evidence": f"{p.n_inliers} inliers, {p.n_anchors} anchors",
                "place": f"{p.lat_deg:.6f}, {p.lon_deg:.6f}, {p.heading_deg:.0f}°",
                "path": p.path or p.page_url,
            }
            for p in waiting
        ]
        print_table(rows, _HEADINGS, {"path": 20})


@review_app.command()
def accept(
    context: typer.Context, image_ids: Photos, note: Note = "", by: By = None, catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Accept the poses of photos: they are published from now on."""
    from geocorrect.catalog.curation.review import Verdict

    _decide(context, image_ids, Verdict.ACCEPT, note, by, catalog, as_json=as_json)


@review_app.command()
def reject(
    context: typer.Context, image_ids: Photos, note: Note = "", by: By = None, catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Reject the poses of photos, waiting or accepted: they count as not corrected from now on."""
    from geocorrect.catalog.curation.review import Verdict

    _decide(context, image_ids, Verdict.REJECT, note, by, catalog, as_json=as_json)


def _decide(
    context: typer.Context, image_ids: list[str], verdict: Verdict, note: str, by: str | None, catalog: str | None,
    *, as_json: bool,
) -> None:  # fmt: skip
    from getpass import getuser

    from geocorrect.catalog.curation.review import Reviews

    with locked_catalog(invocation(context).settings(catalog)) as store:
        keys = Reviews(store).decide(image_ids, verdict, by if by is not None else getuser(), note)
    if as_json:
        write_json({"verdict": verdict.value, "image_ids": image_ids, "run_keys": keys})
        return
    photos = " ".join(dict.fromkeys(image_ids))
    stderr().print(
        f"{len(set(image_ids))} photos {verdict.value}ed; to take it back: `geocorrect db retract {photos}`",
        markup=False,
    )

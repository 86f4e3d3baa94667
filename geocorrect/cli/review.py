"""`geocorrect review`: poses that wait for a person, and what people decide about them."""

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
    stderr,
    write_json,
)

if TYPE_CHECKING:
    from geocorrect.catalog.review import Verdict

app = typer.Typer(
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


@app.command("list")
def waiting(
    context: typer.Context,
    decided: Annotated[bool, typer.Option("--decided", help="What was decided instead, oldest first.")] = False,
    catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the photos whose pose waits for a review, least sure first, with their picture files."""
    from geocorrect.catalog.review import Reviews

    with open_catalog(invocation(context).settings(catalog)) as store:
        found = Reviews(store).decisions() if decided else Reviews(store).waiting()
    if as_json:
        write_json([asdict(one) for one in found])
    elif decided:
        rows = [asdict(d) | {"run": d.run_key[:12], "when": f"{d.reviewed_at:%Y-%m-%d %H:%M}"} for d in found]
        names = {"image_id": "photo", "verdict": "verdict", "reviewer": "by", "when": "when", "is_active": "active",
                 "run": "run", "note": "note"}  # fmt: skip
        print_table(rows, names, {"note": 20})
    elif not found:
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
            for p in found
        ]
        print_table(rows, _HEADINGS, {"path": 20})


@app.command()
def accept(
    context: typer.Context, image_ids: Photos, note: Note = "", by: By = None, catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Accept the poses of photos: they are published from now on."""
    from geocorrect.catalog.review import Verdict

    _decide(context, image_ids, Verdict.ACCEPT, note, by, catalog, as_json=as_json)


@app.command()
def reject(
    context: typer.Context, image_ids: Photos, note: Note = "", by: By = None, catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Reject the poses of photos, waiting or accepted: they count as not corrected from now on."""
    from geocorrect.catalog.review import Verdict

    _decide(context, image_ids, Verdict.REJECT, note, by, catalog, as_json=as_json)


def _decide(
    context: typer.Context, image_ids: list[str], verdict: Verdict, note: str, by: str | None, catalog: str | None,
    *, as_json: bool,
) -> None:  # fmt: skip
    from getpass import getuser

    from geocorrect.catalog.review import Reviews

    with locked_catalog(invocation(context).settings(catalog)) as store:
        keys = Reviews(store).decide(image_ids, verdict, by if by is not None else getuser(), note)
    if as_json:
        write_json({"verdict": verdict.value, "image_ids": image_ids, "run_keys": keys})
        return
    undo = ", ".join(f"`geocorrect db rollback {key[:12]}`" for key in keys)
    stderr().print(f"{len(set(image_ids))} photos {verdict.value}ed; to take it back: {undo}", markup=False)

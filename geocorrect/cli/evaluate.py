"""`geocorrect evaluate`: the pipeline against data sets with known truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from geocorrect.cli.console import JsonOption, invocation, open_catalog, stderr, write_json

app = typer.Typer(help="Measure the pipeline against data sets with known truth.", no_args_is_help=True)


@app.command("kitti-raw")
def kitti_raw(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="A KITTI raw drive, or a folder above it that holds one.")],
    catalog: Annotated[
        str | None, typer.Option("--catalog", help="Keep the results in this catalog; default: a temporary one.")
    ] = None,
    anchor_frames: Annotated[str, typer.Option(help="Frames of camera 02 that serve as anchors.")] = "0,4,8",
    seed: Annotated[int, typer.Option(help="Of the reported positions' error.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Some frames of camera 02 become anchors; every other image is a query, judged against the inertial truth."""
    import tempfile

    from geocorrect.errors import UsageError
    from geocorrect.evaluate.kitti import KittiProtocol, evaluate_kitti

    try:
        frames = tuple(int(number) for number in anchor_frames.split(","))
    except ValueError:
        raise UsageError(f"--anchor-frames {anchor_frames!r}: expected numbers such as 0,4,8") from None
    with tempfile.TemporaryDirectory(prefix="geocorrect-") as scratch:
        settings = invocation(context).settings(catalog or f"{scratch}/kitti.gpkg")
        with open_catalog(settings, create=True) as store:
            report = evaluate_kitti(folder, settings, store, KittiProtocol(anchor_frames=frames, seed=seed))
    if as_json:
        write_json(dict(report))
    else:
        _print_report(report)


def _print_report(report: Any) -> None:
    low_m, high_m = report["position_median_95_m"]
    out = stderr()
    out.print(f"{report['drive']}: {report['n_accepted']} of {report['n_queries']} queries accepted")
    out.print(f"reported position off by {report['reported_median_m']:.2f} m (median)")
    out.print(
        f"corrected: median {100 * report['position_median_m']:.2f} cm [{100 * low_m:.2f}–{100 * high_m:.2f}], "
        f"max {100 * report['position_max_m']:.2f} cm, rotation median {report['rotation_median_deg']:.3f}°, "
        f"false accepts {report['false_accepts']}, n = {report['n_accepted']}"
    )

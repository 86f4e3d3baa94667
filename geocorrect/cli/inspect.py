"""`geocorrect anchors inspect`: one verdict on anchors before they are trusted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geocorrect.cli.console import CatalogOption, JsonOption, invocation, open_catalog, progress_bar, stderr, write_json

if TYPE_CHECKING:
    from geocorrect.config import Settings
    from geocorrect.records import Anchor, AnchorView, DepthMap


def inspect(
    context: typer.Context,
    page: Annotated[Path, typer.Option(help="The page to write.")] = Path("anchors.html"),
    pairs: Annotated[int, typer.Option(min=3, help="Pairs of neighbouring pictures to compare.")] = 40,
    catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look at the anchors of a catalog: whether poses, axes, clocks, heights and scans fit what the pictures show.

    Writes one page with a verdict, a map and depth drawn into sample pictures. Where neighbours disagree, the usual
    other readings of the same numbers are tried, and the one that makes them agree is named. Exit code 3: something is
    wrong.
    """
    from geocorrect.api.anchor_cache import read_anchor
    from geocorrect.api.scene import AnchorSource
    from geocorrect.jobs.anchors.inspect.inspect import inspect_anchors
    from geocorrect.jobs.anchors.inspect.page import write_page

    settings = invocation(context).settings(catalog)
    with open_catalog(settings) as store, progress_bar("inspect") as progress:
        source = AnchorSource.of_catalog(store)
        found = inspect_anchors(settings, source, pairs, progress)
        write_page(page, found, source.frame, read_anchor, lambda anchor, view: _depth(settings, anchor, view))
    if as_json:
        write_json(found.as_json())
    else:
        lines = [f"{finding.severity:8} {finding.check}: {finding.text}" for finding in found.findings]
        stderr().print("\n".join([*lines, found.verdict, f"page: {page}"]), markup=False, soft_wrap=True)
    raise typer.Exit(found.exit_code)


def _depth(settings: Settings, anchor: Anchor, view: AnchorView) -> DepthMap | None:
    """From the anchor's own scan, else from the configured point clouds."""
    from geocorrect.api.backends import build_depth
    from geocorrect.config import with_depth

    if anchor.lidar is not None:
        return build_depth(with_depth(settings, "lidar")).depth(anchor, view.pixels)
    if (settings.depth.pointcloud.folder / "index.json").is_file():
        return build_depth(with_depth(settings, "pointcloud")).depth(anchor, view.pixels)
    return None

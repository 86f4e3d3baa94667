"""`geocorrect match A B`: try a matcher, and a depth source, on two photos and look at the result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

if TYPE_CHECKING:
    from geocorrect.match.options import MatcherName

Photo = Annotated[Path, typer.Argument(help="A photo.")]


def match(
    context: typer.Context,
    query: Photo,
    anchor: Photo,
    matcher: Annotated[str, typer.Option(help="sift, mast3r, eloftr, lightglue_disk or lightglue_superpoint.")] = "",
    depth: Annotated[
        str, typer.Option(help="Also show the anchor's depth as predicted: depth_anything_v2, depth_pro, …")
    ] = "",
    out: Annotated[Path, typer.Option(help="Picture to write, .png or .jpg.")] = Path("matches.png"),
    focal: Annotated[
        float, typer.Option(min=0.0, help="Focal length over the long side of both photos; 0: 0.85.")
    ] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON on stdout.")] = False,
) -> None:
    """Match two photos, draw the matches with the inliers, and the depth of the second photo beside them."""
    from geocorrect.cli.console import invocation, stderr, write_json
    from geocorrect.config import with_depth
    from geocorrect.report.pictures.match_picture import draw, match_pair, write_picture
    from geocorrect.workers.backends import build_depth, build_matcher

    settings = invocation(context).settings()
    if matcher:
        match_section = replace(settings.match, matcher=_matcher_name(matcher))
        settings = settings.model_copy(update={"match": match_section})
    if depth:
        settings = with_depth(settings, depth)
        # A photo out of nowhere has no neighbours that could calibrate its depth.
        settings = settings.model_copy(update={"depth": replace(settings.depth, calibrate=False)})
    pair = match_pair(query, anchor, build_matcher(settings), build_depth(settings) if depth else None, focal)
    write_picture(draw(pair), out)
    summary = pair.summary() | {"picture": str(out)}
    if as_json:
        write_json(summary)
    else:
        stderr().print(f"{summary['n_inliers']} of {summary['n_matches']} matches agree; picture: {out}")


def _matcher_name(name: str) -> MatcherName:
    """The name, if there is such a matcher; UsageError listing them when not."""
    from geocorrect.errors import UsageError
    from geocorrect.match.options import MatcherName

    if name not in get_args(MatcherName):
        raise UsageError(f"--matcher {name!r}: use one of {', '.join(get_args(MatcherName))}")
    return name  # type: ignore[return-value]

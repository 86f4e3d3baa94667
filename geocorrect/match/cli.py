"""`geocorrect match A B`: try a matcher, and a depth source, on two photos and look at the result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

Photo = Annotated[Path, typer.Argument(help="A photo.")]


def match(
    context: typer.Context,
    query: Photo,
    anchor: Photo,
    matcher: Annotated[str, typer.Option(help="sift, mast3r, eloftr, lightglue_disk or lightglue_superpoint.")] = "",
    depth: Annotated[str, typer.Option(help="Also show the anchor's depth: depth_anything_v2, depth_pro, …")] = "",
    out: Annotated[Path, typer.Option(help="Picture to write, .png or .jpg.")] = Path("matches.png"),
    focal: Annotated[
        float, typer.Option(min=0.0, help="Focal length over the long side of both photos; 0: 0.85.")
    ] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON on stdout.")] = False,
) -> None:
    """Match two photos, draw the matches with the inliers, and the depth of the second photo beside them."""
    from geocorrect.batch.backends import build_depth, build_matcher
    from geocorrect.config import DepthName, MatcherName
    from geocorrect.console import invocation, stderr, write_json
    from geocorrect.report.match_picture import draw, match_pair, write_picture

    settings = invocation(context).settings()
    if matcher:
        match_section = replace(settings.match, matcher=_one_of(MatcherName, matcher, "--matcher"))
        settings = settings.model_copy(update={"match": match_section})
    if depth:
        depth_section = replace(settings.depth, source=_one_of(DepthName, depth, "--depth"))
        settings = settings.model_copy(update={"depth": depth_section})
    pair = match_pair(query, anchor, build_matcher(settings), build_depth(settings) if depth else None, focal)
    write_picture(draw(pair), out)
    summary = pair.summary() | {"picture": str(out)}
    if as_json:
        write_json(summary)
    else:
        stderr().print(f"{summary['n_inliers']} of {summary['n_matches']} matches agree; picture: {out}")


def _one_of(names: Any, name: str, option: str) -> Any:
    """The name, if it is one of a Literal's; UsageError listing them when not."""
    from geocorrect.errors import UsageError

    if name not in get_args(names):
        raise UsageError(f"{option} {name!r}: use one of {', '.join(get_args(names))}")
    return name

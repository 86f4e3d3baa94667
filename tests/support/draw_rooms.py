"""Draws the rooms of the package from its imports: `make rooms` writes docs/img/rooms.svg."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from support.import_graph import ORDER, ImportGraph, room_of

ROOT = Path(__file__).resolve().parents[2]
PICTURE = ROOT / "docs" / "img" / "rooms.svg"
DOES = {
    "__main__": "entry point: errors become messages and exit codes",
    "cli": "commands: parse, one call, print",
    "serve": "pages to work in: review, landmarks, city",
    "demo": "the synthetic street and its fake Mapillary server",
    "evaluate": "error against known truth",
    "jobs": "plan → run → store; pipeline, status",
    "workers": "who computes: processes, Ray actors, limits",
    "api": "Localizer: one photo from file to result",
    "config": "geocorrect.toml → frozen settings",
    "report": "a page and pictures that people look at",
    "sequences": "a recording as a whole",
    "georeference": "map clicks → where a drive lies",
    "localize": "matches and depth → pose, covariance, decision",
    "depth": "H: metric depth of anchors",
    "retrieve": "photo → ranked anchors",
    "match": "G: correspondences",
    "anchors": "drives and tables → georeferenced images",
    "harvest": "area → photos on disk and in the catalog",
    "networks": "weights, licences, own inference",
    "export": "files for GIS",
    "catalog": "the only room that speaks SQL",
    "io": "atomic files, locks, caches, pixels",
    "records": "what travels between rooms",
    "geometry": "poses, cameras, frames",
    "errors": "what can go wrong",
    "log": "log lines without secrets",
    "redaction": "addresses of databases, secrets in texts",
}
FOUNDATION = {"io", "records", "geometry", "errors", "log", "redaction"}
"""Imported by almost everybody: no arcs are drawn to them."""
RUNTIME = {"__main__", "cli", "serve", "demo", "evaluate", "jobs", "workers", "api", "config", "report"}
ROW_PX, BOX_PX, LEFT_PX, WIDTH_PX = 40, 420, 170, 760


def draw(graph: ImportGraph) -> str:
    """The SVG: a box per room from top to bottom, an arc per pair of rooms, as thick as there are imports."""
    rooms = [room for line in ORDER for room in sorted(line) if any(room_of(m) == room for m in graph.modules)]
    y_px = {room: 50 + ROW_PX * number for number, room in enumerate(rooms)}
    counts = Counter(
        (room_of(module), room_of(other))
        for module, others in graph.imports.items()
        for other in others
        if module and room_of(module) != room_of(other)
    )
    files = Counter(room_of(module) for module in graph.modules)
    arcs = [
        _arc(y_px[a], y_px[b], count, a in RUNTIME) for (a, b), count in sorted(counts.items()) if b not in FOUNDATION
    ]
    boxes = [_box(room, y_px[room], files[room]) for room in rooms]
    height_px = 60 + ROW_PX * len(rooms)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH_PX} {height_px}" '
            'font-family="sans-serif" font-size="13">',
            f'<rect width="{WIDTH_PX}" height="{height_px}" fill="white"/>',
            '<text x="20" y="22" fill="#b35806">runtime imports</text>',
            f'<text x="{WIDTH_PX - 20}" y="22" text-anchor="end" fill="#2166ac">method imports</text>',
            f'<text x="{LEFT_PX + BOX_PX // 2}" y="22" text-anchor="middle" fill="#555">'
            "every arc goes down; the thicker, the more imports</text>",
            *arcs,
            *boxes,
            "</svg>",
            "",
        ]
    )


def _box(room: str, y_px: int, n_files: int) -> str:
    colour, fill = ("#b35806", "#fef3e6") if room in RUNTIME else ("#2166ac", "#eef4fb")
    middle = y_px + 5
    return (
        f'<rect x="{LEFT_PX}" y="{y_px - 15}" width="{BOX_PX}" height="30" rx="5" fill="{fill}" stroke="{colour}"/>'
        f'<text x="{LEFT_PX + 10}" y="{middle}" font-weight="bold">{room}</text>'
        f'<text x="{LEFT_PX + 115}" y="{middle}" font-size="11" fill="#333">{DOES[room]}</text>'
        f'<text x="{LEFT_PX + BOX_PX - 8}" y="{middle}" font-size="11" text-anchor="end" fill="#777">{n_files}</text>'
    )


def _arc(from_px: int, to_px: int, count: int, is_runtime: bool) -> str:
    """From the lower edge of a room's side to the upper edge of another's, wider the farther it reaches."""
    side, way = (LEFT_PX, -1) if is_runtime else (LEFT_PX + BOX_PX, 1)
    reach = side + way * min(12 + (to_px - from_px) * 0.16, 160)
    colour = "#e08214" if is_runtime else "#4393c3"
    thickness = min(0.6 + count**0.5 * 0.45, 5)
    return (
        f'<path d="M {side} {from_px + 6} C {reach:.0f} {from_px + 6} {reach:.0f} {to_px - 6} {side} {to_px - 6}" '
        f'fill="none" stroke="{colour}" stroke-opacity="0.55" stroke-width="{thickness:.1f}"/>'
    )


if __name__ == "__main__":
    PICTURE.write_text(draw(ImportGraph(ROOT / "geocorrect")), encoding="utf-8")

"""The inspection as one self-contained page: verdict, findings, map with view directions, depth in sample pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from geocorrect import __version__
from geocorrect.errors import InputError
from geocorrect.geometry.frame import Frame
from geocorrect.io.atomic_file import write_atomically
from geocorrect.jobs.anchors.inspect.inspect import Inspection
from geocorrect.records import Anchor, AnchorView, DepthMap
from geocorrect.report.pictures.figure import scaled_by

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
img{max-width:100%}
table{border-collapse:collapse}td,th{padding:.3rem .8rem;text-align:left;border-bottom:1px solid #ccc}
.wrong{color:#a30000;font-weight:600}.ok{color:#00622d}.unknown{color:#6b5b00}"""
PICTURE_PX = 900
FRUSTUM_M = 2.0


def write_page(
    path: Path,
    inspection: Inspection,
    frame: Frame,
    view: Callable[[Anchor], AnchorView],
    depth: Callable[[Anchor, AnchorView], DepthMap | None],
    n_pictures: int = 3,
) -> None:
    """Write the page.

    Args:
        path: Of the .html file.
        inspection: What was found.
        frame: That of the anchors' poses.
        view: Reads an anchor's pixels.
        depth: Of an anchor, None where it has none.
        n_pictures: Sample pictures with depth drawn into them.
    """
    rows = "".join(
        f'<tr><td>{escape(f.check)}</td><td class="{f.severity}">{f.severity}</td><td>{escape(f.text)}</td></tr>'
        for f in inspection.findings
    )
    facts = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in _facts(inspection))
    pictures = "".join(_sample(anchor, view, depth) for anchor in _spread(inspection.anchors, n_pictures))
    kind = "wrong" if inspection.exit_code else "ok"
    html = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Anchors: {escape(frame.name)}</title>"
        f"<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; img-src data:; "
        f"style-src 'unsafe-inline'\"><style>{STYLE}</style><h1>Anchors: {escape(frame.name)}</h1>"
        f'<p class="{kind}">{escape(inspection.verdict)}</p><table>{rows}</table><h2>Coverage and noise</h2>'
        f"<table>{facts}</table><h2>Map</h2>{_image(_map(inspection), 'Positions and view directions')}"
        f"<h2>Depth in sample pictures</h2>{pictures or '<p>No anchor has a depth here.</p>'}"
        f"<p>geocorrect {__version__}</p></html>\n"
    )
    write_atomically(path, html)


def _facts(inspection: Inspection) -> list[tuple[str, str]]:
    anchors, noise = inspection.anchors, inspection.noise
    places = np.array([anchor.world_from_cam.translation_m for anchor in anchors])
    span = np.ptp(places, axis=0)
    drives = {(anchor.dataset, anchor.drive_id) for anchor in anchors}
    facts = [
        ("anchors", f"{len(anchors)} in {len(drives)} drives, {sum(a.lidar is not None for a in anchors)} with a scan"),
        ("extent", f"{span[0]:.0f} m east, {span[1]:.0f} m north, {span[2]:.1f} m up"),
        ("neighbours that match", f"{len(inspection.pairs)} pairs looked at"),
    ]
    if len(inspection.pairs):
        text = f"{noise.rotation_deg:.3f}° in rotation, {noise.across_m:.3f} m across the line of sight (1 sigma)"
        facts.append(("a pose against its neighbours'", text))
    return facts


def _map(inspection: Inspection) -> Figure:
    figure = _figure((9, 7))
    axes = figure.add_subplot(aspect="equal", xlabel="east, m", ylabel="north, m")
    drives = sorted({(anchor.dataset, anchor.drive_id or "") for anchor in inspection.anchors})
    for number, drive in enumerate(drives):
        poses = [a.world_from_cam for a in inspection.anchors if (a.dataset, a.drive_id or "") == drive]
        colour = f"C{number % 10}"
        places = np.array([pose.translation_m[:2] for pose in poses])
        axes.plot(*places.T, ".", color=colour, label="/".join(filter(None, drive)))
        for pose in poses[:: max(1, len(poses) // 300)]:
            corners = pose.apply(FRUSTUM_M * np.array([[-0.5, 0, 1], [0, 0, 0], [0.5, 0, 1]]))
            axes.plot(corners[:, 0], corners[:, 1], "-", color=colour, linewidth=0.7)
    axes.legend()
    return figure


def _sample(
    anchor: Anchor, view: Callable[[Anchor], AnchorView], depth: Callable[[Anchor, AnchorView], DepthMap | None]
) -> str:
    try:
        shown = view(anchor)
        found = depth(anchor, shown)
    except InputError as error:
        return f'<p class="wrong">{escape(str(error))}</p>'
    if found is None:
        return ""
    small, scale = scaled_by(shown.pixels, min(1.0, PICTURE_PX / shown.pixels.shape[1]))
    px, z_m = found.known()
    figure = _figure((9, 9 * small.shape[0] / small.shape[1] + 0.6))
    axes = figure.add_subplot()
    axes.imshow(small)
    some = np.linspace(0, len(z_m) - 1, min(len(z_m), 6000)).astype(int)
    place = (px[some] + 0.5) * scale - 0.5
    dots = axes.scatter(place[:, 0], place[:, 1], c=z_m[some], s=1.5, cmap="turbo", vmin=2, vmax=40)
    figure.colorbar(dots, ax=axes, label="depth, m", shrink=0.8)
    axes.set(title=f"{anchor.id} ({found.name})", xticks=[], yticks=[])
    return _image(figure, f"{anchor.id}: depth of {found.name}")


def _spread(anchors: tuple[Anchor, ...], n: int) -> list[Anchor]:
    return [anchors[i] for i in np.unique(np.linspace(0, len(anchors) - 1, min(n, len(anchors))).astype(int))]


def _figure(size_inch: tuple[float, float]) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=size_inch, layout="constrained")


def _image(figure: Figure, alt: str) -> str:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'

"""Figures drawn off screen, and what several of them draw."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from geocorrect.io.atomic_file import atomic_path
from geocorrect.records import Float, ImageArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@contextmanager
def saved_figure(path: Path, size_inch: tuple[float, float], dpi: int, style: Any = None) -> Iterator[Figure]:
    """A figure that is written as a PNG, whole or not at all, when the block ends well; OutputError names the file."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(style):
        figure = Figure(figsize=size_inch, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        with atomic_path(path) as unfinished:
            figure.savefig(unfinished, dpi=dpi, format="png", metadata={"Software": "geocorrect"})


def draw_dots(axes: Axes, points: Float, **style: Any) -> None:
    """Scatter (N, 2) points."""
    axes.scatter(points[:, 0], points[:, 1], **style)


def scaled_by(pixels: ImageArray, scale: float) -> tuple[ImageArray, Float]:
    """A photo shrunk or enlarged to whole pixels, and the scale (x, y) of its pixels."""
    height, width = pixels.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    resized = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    return resized, np.array([size[0] / width, size[1] / height])

"""Tables as Markdown, LaTeX and HTML, figures as PNG and SVG, and the one page that shows them all."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geocorrect.evaluate.metrics import Median
from geocorrect.io.atomic_file import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

STYLE: Any = {
    "svg.hashsalt": "geocorrect",
    "svg.fonttype": "path",
    "font.size": 9.0,
    "axes.grid": True,
    "grid.alpha": 0.3,
}
LATEX_SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "≤": r"$\le$", "≥": r"$\ge$", "°": r"$^\circ$",
    "∞": r"$\infty$", "χ": r"$\chi$", "²": r"$^2$", "σ": r"$\sigma$", "×": r"$\times$", "–": "--", "−": "$-$",
    "…": r"\dots{}", "→": r"$\to$", "✓": r"\checkmark{}",
}  # fmt: skip


@dataclass(frozen=True)
class TextTable:
    """A table of finished texts."""

    name: str
    """Of its files."""
    caption: str
    """What it shows, and how."""
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """A GitHub table under its caption."""
        lines = [self.headings, tuple("---" if i == 0 else "---:" for i in range(len(self.headings))), *self.rows]
        body = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
        return f"**{self.caption}**\n\n{body}\n"

    def latex(self) -> str:
        """A `table` with booktabs' rules."""
        lines = [" & ".join(map(_latex, line)) + r" \\" for line in (self.headings, *self.rows)]
        columns = "l" + "r" * (len(self.headings) - 1)
        return "\n".join([
            r"\begin{table}", r"\centering", rf"\caption{{{_latex(self.caption)}}}", rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule", r"\end{tabular}", r"\end{table}", "",
        ])  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """A figure, drawn when it is written."""

    name: str
    """Of its files."""
    caption: str
    size_inch: tuple[float, float]
    draw: Callable[[Figure], None]


def write_report(
    out: Path, title: str, sentences: Sequence[str], tables: Sequence[TextTable], pictures: Sequence[Picture]
) -> Path:
    """Write `tables.md`, `<table>.tex`, `<figure>.png` and `.svg`, and `report.html` last; returns its path.

    Raises:
        OutputError: a file cannot be written; the message names it.
    """
    from geocorrect.report.page import filled_template

    text = "\n".join(
        [f"# {title}\n", *(f"- {sentence}" for sentence in sentences), "", *(t.markdown() for t in tables)]
    )
    write_atomically(out / "tables.md", text.encode())
    for table in tables:
        write_atomically(out / f"{table.name}.tex", table.latex().encode())
    drawn = []
    for picture in pictures:
        png, svg = _drawn(picture)
        write_atomically(out / f"{picture.name}.png", png)
        write_atomically(out / f"{picture.name}.svg", svg)
        drawn.append((picture.caption, svg[svg.index(b"<svg") :].decode()))
    page = filled_template("evaluation.html.j2", title=title, sentences=sentences, tables=tables, pictures=drawn)
    write_atomically(out / "report.html", page.encode())
    return out / "report.html"


def _drawn(picture: Picture) -> tuple[bytes, bytes]:
    """PNG and SVG; the same data give the same bytes."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=picture.size_inch, layout="constrained")
        FigureCanvasAgg(figure)
        picture.draw(figure)
        png, svg = io.BytesIO(), io.BytesIO()
        figure.savefig(png, format="png", dpi=150, metadata={"Software": "geocorrect"})
        figure.set_layout_engine("none")  # what the first drawing found holds for the second
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": "geocorrect"})
    return png.getvalue(), svg.getvalue()


def with_colours(axes: Axes, drawn: ScalarMappable, title: str, unit: str = "") -> None:
    """A panel that shows a map: its bar of colours, a title, no ticks."""
    axes.figure.colorbar(drawn, ax=axes, label=unit, shrink=0.75)
    without_ticks(axes, title)


def without_ticks(axes: Axes, title: str) -> None:
    """A panel that shows a picture."""
    axes.set_title(title, fontsize=7)
    axes.set(xticks=[], yticks=[])
    axes.grid(False)


def file_name(text: str) -> str:
    """A name as part of a file's."""
    return "".join(letter if letter.isalnum() else "_" for letter in text)


def number(value: float, digits: int = 2) -> str:
    """A number as tables show it: – when unknown, ∞ when infinite."""
    if math.isnan(value):
        return "–"
    return "∞" if math.isinf(value) else f"{value:.{digits}f}"


def with_interval(median: Median, digits: int = 2) -> str:
    """`0.31 [0.28–0.40]`."""
    if median.n == 0:
        return "–"
    low, high = number(median.low, digits), number(median.high, digits)
    return f"{number(median.value, digits)} [{low}–{high}]"


def _latex(text: str) -> str:
    return "".join(LATEX_SPECIAL.get(letter, letter) for letter in text)

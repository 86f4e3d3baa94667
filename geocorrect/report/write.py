"""A report page and plots from a catalog: what the rest of the system calls."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from geocorrect.catalog.run import ResultFilter
from geocorrect.catalog.store import Catalog
from geocorrect.errors import OutputError, UsageError
from geocorrect.io.atomic_file import atomic_file
from geocorrect.report.contents import Contents, read_contents
from geocorrect.report.page import PageOptions, render_page
from geocorrect.report.pictures.plots import draw_plots
from geocorrect.report.truth import Truth


@dataclass(frozen=True)
class ReportRequest:
    """What is wanted."""

    page: Path | None
    """The HTML file; None: no page."""
    plots: Path | None = None
    """A folder, made when missing; None: no plots."""
    truth: Truth | None = None
    run: str | None = None
    """Key of a run, or its beginning; None: the active results."""
    options: PageOptions = field(default_factory=PageOptions)


@dataclass(frozen=True)
class Written:
    """What a report shows, and what was written."""

    n_photos: int
    n_bytes: int
    files: tuple[Path, ...]
    """None on a dry run."""

    def as_json(self) -> dict[str, Any]:
        """Plain values for --json."""
        return {"n_photos": self.n_photos, "n_bytes": self.n_bytes, "files": [str(path) for path in self.files]}

    def sentence(self) -> str:
        """The same in words."""
        if not self.files:
            return f"{self.n_photos:,} photos would be shown; nothing was written"
        names = ", ".join(str(path) for path in self.files)
        return f"{self.n_photos:,} photos shown in {names} ({self.n_bytes / 1e6:.2f} MB in all)"


def write_report(
    catalog: Catalog,
    path: Path,
    truth: Truth | None = None,
    wanted: ResultFilter | None = None,
    options: PageOptions | None = None,
) -> int:
    """Write one self-contained HTML file about the active results (or those wanted); returns how many it shows.

    The same catalog gives the same bytes. Raises OutputError when the file cannot be written; then nothing is left
    behind.
    """
    contents = read_contents(catalog, truth, wanted)
    _write_page(contents, path, options)
    return len(contents.photos)


def publish(catalog: Catalog, request: ReportRequest) -> Written:
    """Page and plots of one reading of the catalog.

    Raises:
        UsageError: the run does not exist.
        DatabaseError: it was rolled back: its numbers would look as if they were active.
        OutputError: a file cannot be written.
    """
    contents = read_contents(catalog, request.truth, _filter(catalog, request.run))
    files: list[Path] = []
    if request.page is not None:
        _write_page(contents, request.page, request.options)
        files.append(request.page)
    if request.plots is not None:
        try:
            request.plots.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{request.plots}: cannot be made ({error.strerror})") from None
        files += draw_plots(contents, request.plots)
    return Written(len(contents.photos), sum(path.stat().st_size for path in files), tuple(files))


def _write_page(contents: Contents, path: Path, options: PageOptions | None) -> None:
    text = render_page(contents, options)
    with atomic_file(path) as file:
        file.write(text.encode())


def _filter(catalog: Catalog, run: str | None) -> ResultFilter | None:
    if run is None:
        return None
    keys = [stored.run_key for stored in catalog.runs() if stored.run_key.startswith(run)]
    if len(keys) != 1:
        known = ", ".join(stored.run_key[:12] for stored in catalog.runs()) or "none"
        raise UsageError(f"--run {run!r} names {len(keys)} runs of {catalog.address}; its runs: {known}")
    catalog.require_active_run(keys[0])
    return ResultFilter(run_key=keys[0], active=False, withdrawn=False)

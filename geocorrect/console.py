"""What every command shares: the settings it was started with, progress on a terminal, JSON on stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import typer
    from rich.console import Console

    from geocorrect.catalog.store import Catalog
    from geocorrect.config import ResolvedSettings, Settings


@dataclass(frozen=True)
class Invocation:
    """Options given before the command: which configuration file."""

    config_path: Path | None

    def resolved(self) -> ResolvedSettings:
        """The settings with the origin of each value."""
        from geocorrect.config import load_settings

        return load_settings(self.config_path)

    def settings(self, catalog_url: str | None = None) -> Settings:
        """The settings, with the catalog replaced when a command was given `--catalog`."""
        from geocorrect.config import CatalogSection

        settings = self.resolved().settings
        if catalog_url is None:
            return settings
        return settings.model_copy(update={"catalog": CatalogSection(catalog_url)})


def invocation(context: typer.Context) -> Invocation:
    """The invocation that the root callback stored."""
    found = context.find_object(Invocation)
    assert found is not None
    return found


@contextmanager
def open_catalog(settings: Settings, *, create: bool = False) -> Iterator[Catalog]:
    """The configured catalog, closed at the end of the block."""
    from geocorrect.catalog.store import Catalog

    catalog = Catalog.open(settings.catalog.url, create=create)
    try:
        yield catalog
    finally:
        catalog.close()


def stderr() -> Console:
    """Console for people; plain when stderr is not a terminal."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def write_json(value: Mapping[str, Any] | list[Any]) -> None:
    """One JSON document on stdout; nan becomes null."""
    import orjson

    sys.stdout.buffer.write(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY))
    sys.stdout.buffer.write(b"\n")
    sys.stdout.flush()


class Progress(Protocol):
    """Called with (done, total)."""

    def __call__(self, done: int, total: int, /) -> None:
        """Show that `done` of `total` are finished."""


@contextmanager
def progress_bar(label: str) -> Iterator[Progress]:
    """A progress bar on stderr; silent when stderr is not a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr(), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(label, total=None)

        def update(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield update

"""What every command shares: the settings it was started with, progress on a terminal, JSON on stdout."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal, NoReturn, Protocol, Self, cast

import typer

from geocorrect import log
from geocorrect.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from geocorrect.catalog.store import Catalog
    from geocorrect.config import ResolvedSettings, Settings
    from geocorrect.workers.stop import StopRequest

CatalogOption = Annotated[
    str | None, typer.Option("--catalog", help="Catalog instead of the configured one: PATH.gpkg or postgresql://…")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


@dataclass(frozen=True)
class LogChoice:
    """What the command line says about logging; None leaves it to the configuration."""

    level: log.Level | None = None
    format: log.Format | None = None

    @classmethod
    def parsed(cls, level: str | None, form: str | None) -> Self:
        """From the words on the command line, applied at once; UsageError naming the words that are understood."""
        for option, word, known in (("level", level, log.LEVELS), ("format", form, log.FORMATS)):
            if word is not None and word.lower() not in known:
                raise UsageError(f"--log-{option} {word!r}: use {', '.join(known)}")
        words = (cast("log.Level | None", level and level.lower()), cast("log.Format | None", form and form.lower()))
        choice = cls(*words)
        log.end_run()
        choice.apply(log.LogOptions())
        return choice

    def apply(self, configured: log.LogOptions) -> None:
        """Log as configured, except for what the command line says."""
        level, form = self.level or configured.level, self.format or configured.format
        log.set_up_logging(replace(configured, level=level, format=form))


@dataclass(frozen=True)
class Invocation:
    """Options given before the command: which configuration file, how to log."""

    config_path: Path | None
    log_choice: LogChoice = field(default_factory=LogChoice)

    def resolved(self) -> ResolvedSettings:
        """The settings with the origin of each value; the log follows them from here on."""
        from geocorrect.config import load_settings

        resolved = load_settings(self.config_path)
        self.log_choice.apply(resolved.settings.log)
        return resolved

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


@contextmanager
def locked_catalog(settings: Settings, *, create: bool = False) -> Iterator[Catalog]:
    """The configured catalog, locked for this process: for commands that write. Raises SceneBusyError.

    Locked before it is opened, because opening one to create it may change its schema.
    """
    from geocorrect.catalog.connect import engine_for
    from geocorrect.catalog.lock import lock_scene

    engine = engine_for(settings.catalog.url, create=create)
    try:
        with lock_scene(engine), open_catalog(settings, create=create) as catalog:
            yield catalog
    finally:
        engine.dispose()


def stderr() -> Console:
    """Human-readable console; plain when stderr is not a terminal, lines of the JSON log when that is asked for."""
    from rich.console import Console

    if log.current_setup().options.format == "json":
        return Console(file=cast("IO[str]", _LogLines()), highlight=False, width=10_000)
    return Console(stderr=True, highlight=False)


def _is_terminal() -> bool:
    return sys.stderr.isatty() and log.current_setup().options.format == "text"


class _LogLines(io.StringIO):
    """A text stream whose lines become messages of the log."""

    def write(self, text: str) -> int:
        for line in text.splitlines():
            if line.strip():
                log.say(line.rstrip())
        return len(text)


def write_json(value: Mapping[str, Any] | list[Any]) -> None:
    """One JSON document on stdout; nan becomes null."""
    import orjson

    sys.stdout.buffer.write(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY))
    sys.stdout.buffer.write(b"\n")
    sys.stdout.flush()


def print_table(
    rows: Sequence[Mapping[str, Any]], headings: Mapping[str, str], wrapped: Mapping[str, int | None]
) -> None:
    """A human-readable table on stdout.

    Args:
        rows: values by key; true and false read yes and no.
        headings: heading of each key to show, in order.
        wrapped: keys whose cells may be broken into lines, and the width that they have at least; all other cells are
            whole on any terminal, because they are what is typed.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for key, heading in headings.items():
        align: Literal["left", "right"] = "right" if key == "size" else "left"
        table.add_column(heading, no_wrap=key not in wrapped, min_width=wrapped.get(key), justify=align)
    words = {True: "yes", False: "no"}
    for row in rows:
        table.add_row(*(words[row[key]] if isinstance(row[key], bool) else str(row[key]) for key in headings))
    Console().print(table)


def print_report(report: Any, as_json: bool, lines: Sequence[str] = ()) -> NoReturn:
    """Print what a job did, as JSON or in words, and leave with its exit code.

    Args:
        report: has as_json(), sentence() and exit_code.
        as_json: JSON on stdout instead of words on stderr.
        lines: data that follows the words, on stdout.
    """
    if as_json:
        write_json(report.as_json())
    else:
        stderr().print(report.sentence(), markup=False)
        for line in lines:
            typer.echo(line)
    raise typer.Exit(report.exit_code)


def leave_if_stopped(request: StopRequest) -> None:
    """End a command that continues where it was with the exit code of the signal, if there was one."""
    if request.exit_code is not None:
        stderr().print("stopped; the same command continues")
        raise typer.Exit(request.exit_code)


class Progress(Protocol):
    """Called with (done, total)."""

    def __call__(self, done: int, total: int, /) -> None:
        """Show that `done` of `total` are finished."""


PROGRESS_LOG_S = 60.0
"""Off a terminal, a long step says this often how far it is: whoever reads the log of a night sees that it lives."""


class ProgressLines:
    """How far a step is, as lines of the log, where there is no terminal for a bar."""

    def __init__(self, label: str) -> None:
        self._label, self._said_s = label, time.monotonic()

    def __call__(self, done: int, total: int | None, more: str = "") -> None:
        """Say it, unless something was said within the last minute."""
        if time.monotonic() - self._said_s >= PROGRESS_LOG_S:
            self._said_s = time.monotonic()
            log.say(f"{self._label}: {done} of {'?' if total is None else total}{more}")


@contextmanager
def progress_bar(label: str) -> Iterator[Progress]:
    """A progress bar on stderr; off a terminal, a line a minute."""
    if not _is_terminal():
        yield ProgressLines(label)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr()) as bar:
        task = bar.add_task(label, total=None)

        def update(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield update

"""Logging: text or JSON lines on stderr, without secrets, every line with the run and the image it belongs to.

The run is a fact of the process (one job per process); the image is a fact of the code that is working on it, so it is
a context variable. Worker processes take both over with `current_setup` and `resume`. stdout is for data.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal

from geocorrect.redaction import redact

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["text", "json"]
LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")
ROOTS = ("geocorrect", "py.warnings")

_image_id: ContextVar[str | None] = ContextVar("image_id", default=None)


@dataclass(frozen=True)
class LogOptions:
    """What is logged, and how."""

    level: Level = "warning"
    """Lines below it are left out."""
    format: Format = "text"
    """text: human-readable; json: every line of stderr is one object."""


@dataclass(frozen=True)
class LogSetup:
    """How this process logs and for which run; picklable, for worker processes."""

    options: LogOptions = field(default_factory=LogOptions)
    run_facts: dict[str, str] = field(default_factory=dict)


_setup = LogSetup()
_collected: list[str] | None = None


class RedactingFilter(logging.Filter):
    """Cleans every record before any handler sees it, exception texts included."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always keeps the record, without its secrets."""
        record.msg = redact(record.getMessage())
        record.args = ()
        if record.exc_info and not record.exc_text:
            record.exc_text = redact(logging.Formatter().formatException(record.exc_info))
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, message, process; run_id, run_key and image_id when known."""

    def format(self, record: logging.LogRecord) -> str:
        """Render a record as one line of JSON with a UTC time stamp."""
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
            **_setup.run_facts,
        }
        image_id = getattr(record, "image_id", None) or _image_id.get()
        if image_id is not None:
            entry["image_id"] = image_id
        if record.exc_text:
            entry["exception"] = record.exc_text
        return json.dumps(entry, ensure_ascii=False)


class _TextFormatter(logging.Formatter):
    """Human-readable: `WARNING geocorrect.room: [image 42] text`."""

    def format(self, record: logging.LogRecord) -> str:
        image_id = getattr(record, "image_id", None) or _image_id.get()
        subject = f"[image {image_id}] " if image_id else ""
        text = f"{record.levelname} {record.name}: {subject}{record.getMessage()}"
        return f"{text}\n{record.exc_text}" if record.exc_text else text


class _StderrHandler(logging.Handler):
    """Writes to whatever sys.stderr is at that moment: a progress bar or a test may have put another one in place."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if _collected is None:
                relay([self.format(record)])
            else:
                _collected.append(self.format(record))
        except Exception:
            self.handleError(record)


def set_up_logging(options: LogOptions) -> None:
    """Send the package's log, and Python's warnings, to stderr, redacted, as text or as JSON lines."""
    global _setup
    _setup = LogSetup(options, dict(_setup.run_facts))
    handler = _StderrHandler()
    handler.addFilter(RedactingFilter())
    handler.setFormatter(JsonFormatter() if options.format == "json" else _TextFormatter())
    for name in ROOTS:
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(options.level.upper())
        logger.propagate = False
    logging.captureWarnings(options.format == "json")
    sys.excepthook = _log_crash if options.format == "json" else _print_crash


def current_setup() -> LogSetup:
    """How this process logs, to be handed to a worker process."""
    return _setup


def resume(setup: LogSetup) -> None:
    """Log in this process as in the one that started it; nothing changes where that is already so."""
    global _setup
    if setup == _setup:
        return
    _setup = setup
    set_up_logging(setup.options)


def begin_run() -> str:
    """From now on every line of this process belongs to a new run; returns its id."""
    global _setup
    run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.urandom(3).hex()}"
    _setup = LogSetup(_setup.options, {"run_id": run_id})
    return run_id


def end_run() -> None:
    """Lines belong to no run any more: another command begins in this process."""
    global _setup
    _setup = LogSetup(_setup.options)


def note_run_key(run_key: str) -> None:
    """From now on the lines of this run name its key in the catalog too (shortened, as commands accept it)."""
    global _setup
    _setup = LogSetup(_setup.options, {**_setup.run_facts, "run_key": run_key[:12]})


@contextmanager
def logged_image(image_id: str) -> Iterator[None]:
    """Name the image in every line that is logged within the block."""
    token = _image_id.set(image_id)
    try:
        yield
    finally:
        _image_id.reset(token)


@contextmanager
def collected_lines() -> Iterator[list[str]]:
    """What this process logs within the block goes into the list, for another process to `relay`."""
    global _collected
    before, _collected = _collected, []
    try:
        yield _collected
    finally:
        _collected = before


def relay(lines: Iterable[str]) -> None:
    """Write finished lines of the log, of this process or another."""
    for line in lines:
        sys.stderr.write(line + "\n")
    sys.stderr.flush()


def say(text: str, *, error: bool = False) -> None:
    """Print one message: plain on stderr, or a line of the JSON log."""
    clean = redact(text)
    if _setup.options.format == "json":
        # Whatever the level: a command's own messages are never left out.
        logger = logging.getLogger("geocorrect.cli.console")
        level = logging.ERROR if error else logging.INFO
        logger.handle(logger.makeRecord(logger.name, level, "", 0, clean, (), None))
    else:
        print(clean, file=sys.stderr)  # noqa: T201


def _print_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.stderr.write(redact("".join(traceback.format_exception(kind, error, trace))))


def _log_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger("geocorrect").critical("a bug: please report this", exc_info=(kind, error, trace))

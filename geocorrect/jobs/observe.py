"""A job as its operator sees it: a run id on every log line, and a metrics file kept up to date to the end."""

from __future__ import annotations

import logging
import math
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from geocorrect import __version__
from geocorrect.config import Settings
from geocorrect.errors import ExitCode, GeocorrectError, OutputError, SceneBusyError
from geocorrect.jobs.metrics import RunMetrics, last_success_s
from geocorrect.log import begin_run, redact

log = logging.getLogger(__name__)
UPDATE_S = 10.0
"""The metrics file is written this often while the run works."""
Progress = Callable[[int, int], None]


class Ended(Protocol):
    """What a finished job tells: its exit code and, as plain values, what it did."""

    @property
    def exit_code(self) -> ExitCode:
        """How the process should end."""
        ...

    def as_json(self) -> dict[str, Any]:
        """Plain values, as for --json."""
        ...


@dataclass
class Observer:
    """Follows one job. Nothing is written when no metrics file is configured.

    `begin` writes the file, and a thread of its own keeps it fresh from then on: a slow photo, a harvest, an export are
    no reason for it to look like that of a dead process.
    """

    settings: Settings
    run_id: str
    started_s: float = field(default_factory=time.time)
    _metrics: RunMetrics = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _over: threading.Event = field(default_factory=threading.Event)
    _beating: threading.Thread | None = None

    def __post_init__(self) -> None:
        self._metrics = RunMetrics(redact(self.settings.catalog.url), {"run_id": self.run_id, "version": __version__})

    @property
    def has_begun(self) -> bool:
        """Whether the scene is ours, and with it the metrics file."""
        return self._beating is not None

    def begin(self) -> None:
        """The scene is held: the job begins."""
        self.write()
        self._beating = threading.Thread(target=self._beat, name="metrics", daemon=True)
        self._beating.start()

    def rest(self) -> None:
        """No further writing by itself."""
        self._over.set()
        if self._beating is not None:
            self._beating.join()

    def _beat(self) -> None:
        while not self._over.wait(UPDATE_S):
            self.write()

    def following(self, progress: Progress) -> Progress:
        """A progress callback that keeps the metrics file up to date as well."""

        def follow(done: int, due: int) -> None:
            progress(done, due)
            with self._lock:
                self._metrics.values |= {"run_images_done": done, "run_images_due": due}

        return follow

    def ended(self, outcome: Ended) -> None:
        """The job has ended by itself: take over what it did."""
        facts = outcome.as_json()
        corrected, harvested = facts.get("correct", facts), facts.get("harvest")
        if corrected["dry_run"]:
            return
        self.rest()
        self._metrics.info = {**self._metrics.info, "run_key": corrected["run_key"]}
        self._metrics.values |= {
            "run_images_due": corrected["n_due"],
            "run_images_done": corrected["n_computed"],
            "run_unusable_anchors": len(corrected["unusable_anchors"]),
        }
        statuses = {status: corrected[f"n_{status}"] for status in ("accepted", "review", "rejected")}
        self._metrics.count_results(statuses, corrected["reasons"])
        if harvested:
            changes = {change: harvested[f"n_{change}"] for change in ("new", "updated", "unchanged", "gone")}
            self._metrics.values |= {
                "harvest_images": changes,
                "harvest_holes": len(harvested["holes"]),
                "harvest_received_bytes": harvested["bytes_downloaded"],
            }
        self.write(outcome.exit_code)

    def write(self, exit_code: ExitCode | None = None) -> None:
        """Write the metrics file, if one is configured. exit_code: None while the run works."""
        path = self.settings.batch.metrics_file
        if path is None:
            return
        with self._lock:
            self._write(path, exit_code)

    def _write(self, path: Path, exit_code: ExitCode | None) -> None:
        now_s = time.time()
        usage, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
        values = self._metrics.values
        values |= {
            "run_active": float(exit_code is None),
            "run_started_timestamp_seconds": self.started_s,
            "run_updated_timestamp_seconds": now_s,
            "run_duration_seconds": now_s - self.started_s,
            "run_cpu_seconds": usage.ru_utime + usage.ru_stime + children.ru_utime + children.ru_stime,
            "run_peak_memory_bytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        }
        if exit_code is not None:
            values["run_exit_code"] = float(exit_code)
        success_s = now_s if exit_code is ExitCode.OK else last_success_s(path)
        if not math.isnan(success_s):
            values["run_last_success_timestamp_seconds"] = success_s
        try:
            self._metrics.write(path)
        except OutputError as error:
            # A job of hours does not end because nobody can watch it.
            log.warning("%s", error)


@contextmanager
def observed(settings: Settings, job: str) -> Iterator[Observer]:
    """Observe the job of the block; call `Observer.ended` at its end. What it raises is noted, too.

    A job that found the scene busy leaves the metrics file to the one that works, unless it had begun.
    """
    observer = Observer(settings, begin_run())
    log.info("%s starts, geocorrect %s, catalog %s", job, __version__, settings.catalog.url)
    try:
        yield observer
    except BaseException as error:
        observer.rest()
        if observer.has_begun or not isinstance(error, SceneBusyError):
            observer.write(_exit_code_of(error))
        raise
    finally:
        observer.rest()


def _exit_code_of(error: BaseException) -> ExitCode:
    if isinstance(error, GeocorrectError):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    if isinstance(error, SystemExit) and error.code == ExitCode.TERMINATED:
        return ExitCode.TERMINATED
    return ExitCode.PROGRAMMING_ERROR

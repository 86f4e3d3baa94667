"""A job as its operator sees it: a run id on every log line, and a metrics file kept up to date to the end."""

from __future__ import annotations

import logging
import math
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from geocorrect import __version__
from geocorrect.config import Settings
from geocorrect.errors import ExitCode, GeocorrectError, OutputError, Reason, SceneBusyError, Status
from geocorrect.io.atomic_file import atomic_path
from geocorrect.jobs.report import CorrectReport, JobReport
from geocorrect.log import begin_run

log = logging.getLogger(__name__)
UPDATE_S = 10.0
"""The metrics file is written this often while the run works."""
Progress = Callable[[int, int], None]


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
    _ended: threading.Event = field(default_factory=threading.Event)
    _updater: threading.Thread | None = None

    def __post_init__(self) -> None:
        self._metrics = RunMetrics(self.settings.catalog.address, {"run_id": self.run_id, "version": __version__})

    @property
    def has_begun(self) -> bool:
        """Whether this job has the scene, and with it the metrics file."""
        return self._updater is not None

    def begin(self) -> None:
        """The scene is locked: the job begins."""
        self.write()
        self._updater = threading.Thread(target=self._update, name="metrics", daemon=True)
        self._updater.start()

    def stop_updates(self) -> None:
        """No further writing by itself."""
        self._ended.set()
        if self._updater is not None:
            self._updater.join()

    def _update(self) -> None:
        while not self._ended.wait(UPDATE_S):
            self.write()

    def following(self, progress: Progress) -> Progress:
        """A progress callback that keeps the metrics file up to date as well."""

        def follow(done: int, due: int) -> None:
            progress(done, due)
            with self._lock:
                self._metrics.values |= {"run_images_done": done, "run_images_due": due}

        return follow

    def ended(self, report: CorrectReport | JobReport) -> None:
        """The job has ended by itself: take over what it did."""
        correct, harvest = (report.correct, report.harvest) if isinstance(report, JobReport) else (report, None)
        if correct.dry_run:
            return
        self.stop_updates()
        self._metrics.info = {**self._metrics.info, "run_key": correct.run_key}
        self._metrics.values |= {
            "run_images_due": correct.n_due,
            "run_images_done": correct.n_computed,
            "run_unusable_anchors": len(correct.unusable_anchors),
        }
        self._metrics.count_results(correct.by_status, correct.reasons)
        if harvest is not None:
            self._metrics.values |= {
                "harvest_images": {
                    "new": harvest.n_new, "updated": harvest.n_updated, "unchanged": harvest.n_unchanged,
                    "gone": harvest.n_gone,
                },
                "harvest_holes": len(harvest.holes),
                "harvest_received_bytes": harvest.bytes_downloaded,
            }  # fmt: skip
        self.write(report.exit_code)

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
    log.info("%s starts, geocorrect %s, catalog %s", job, __version__, settings.catalog.address)
    try:
        yield observer
    except BaseException as error:
        observer.stop_updates()
        if observer.has_begun or not isinstance(error, SceneBusyError):
            observer.write(_exit_code_of(error))
        raise
    finally:
        observer.stop_updates()


def _exit_code_of(error: BaseException) -> ExitCode:
    if isinstance(error, GeocorrectError):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    if isinstance(error, SystemExit) and error.code == ExitCode.TERMINATED:
        return ExitCode.TERMINATED
    return ExitCode.PROGRAMMING_ERROR


HELP: dict[str, str] = {
    "run_info": "1; the labels say which run this is.",
    "run_active": "1 while the run works, 0 when it has ended.",
    "run_started_timestamp_seconds": "When the run started.",
    "run_updated_timestamp_seconds": "When this file was written.",
    "run_last_success_timestamp_seconds": "When a run last ended with exit code 0.",
    "run_duration_seconds": "Wall-clock time of the run until now.",
    "run_cpu_seconds": "CPU time of the run and its ended worker processes.",
    "run_peak_memory_bytes": "Largest resident memory of the run's main process.",
    "run_exit_code": "How the run ended, an exit code of geocorrect; absent while it works.",
    "run_images_due": "Images that were due when the run started.",
    "run_images_done": "Images that got a result in this run.",
    "run_images": "Results of this run by status.",
    "run_rejections": "Rejections of this run by reason.",
    "run_unusable_anchors": "Anchors whose files could not be read.",
    "harvest_images": "Images seen by the harvest, by what is new about them.",
    "harvest_holes": "Parts of the area that the service would not answer for.",
    "harvest_received_bytes": "Bytes of pictures received.",
}
LABEL_OF = {"run_images": "status", "run_rejections": "reason", "harvest_images": "change"}
LAST_SUCCESS = "geocorrect_run_last_success_timestamp_seconds"


@dataclass
class RunMetrics:
    """The samples of one run."""

    catalog: str
    """A label of every sample."""
    info: Mapping[str, str] = field(default_factory=dict)
    """Further labels of `run_info`."""
    values: dict[str, float | Mapping[str, float]] = field(default_factory=dict)
    """Value by metric name, or by the value of the metric's one label."""

    def count_results(self, by_status: Mapping[Status, int], by_reason: Mapping[str, int]) -> None:
        """Every status and every reason of the closed lists is there, so that a rate never starts from nothing."""
        self.values["run_images"] = {status.value: by_status.get(status, 0) for status in Status}
        self.values["run_rejections"] = {reason.value: by_reason.get(reason.value, 0) for reason in Reason}

    def text(self) -> str:
        """The file's content."""
        from prometheus_client import CollectorRegistry, Gauge, generate_latest

        registry = CollectorRegistry()
        for name, value in {"run_info": 1.0, **self.values}.items():
            more = self.info if name == "run_info" else {}
            kinds = {LABEL_OF[name]: value} if isinstance(value, Mapping) else {}
            gauge = Gauge(f"geocorrect_{name}", HELP[name], ["catalog", *more, *kinds], registry=registry)
            if isinstance(value, Mapping):
                for kind, number in value.items():
                    gauge.labels(self.catalog, kind).set(number)
            else:
                gauge.labels(self.catalog, *more.values()).set(value)
        return generate_latest(registry).decode()

    def write(self, path: Path) -> None:
        """Replace the file; OutputError when it cannot be written. The collector never sees a half-written one."""
        # The collector reads every *.prom, hidden ones too: the unfinished file must not end so.
        with atomic_path(path, suffix=".part") as unfinished:
            unfinished.write_text(self.text(), encoding="utf-8")


def last_success_s(path: Path) -> float:
    """When a run last succeeded, by the file of an earlier one; nan when it says nothing."""
    from prometheus_client.parser import text_string_to_metric_families

    try:
        families = list(text_string_to_metric_families(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return math.nan
    return next((f.samples[0].value for f in families if f.name == LAST_SUCCESS and f.samples), math.nan)

"""What a catalog holds and which run works on it, for `geocorrect status`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from geocorrect.catalog.run import StoredRun
from geocorrect.catalog.store import Catalog

RUNS_SHOWN = 5
RATE_WINDOW = timedelta(minutes=10)
"""The rate is that of the last ten minutes: streets differ, and an hour ago says little about the time left."""


@dataclass(frozen=True)
class RunningRun:
    """A run at work."""

    run_key: str
    started_at: datetime
    n_due: int | None
    """When it started."""
    n_done: int
    """Results since."""
    images_per_s: float | None
    """None before the first result."""

    @property
    def left_s(self) -> float | None:
        """Seconds until it ends at the present rate; None when that cannot be said."""
        if self.n_due is None or not self.images_per_s:
            return None
        return max(self.n_due - self.n_done, 0) / self.images_per_s

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "run_key": self.run_key,
            "started_at": _moment(self.started_at),
            "n_due": self.n_due,
            "n_done": self.n_done,
            "images_per_s": self.images_per_s,
            "left_s": self.left_s,
        }


def catalog_status(catalog: Catalog) -> dict[str, Any]:
    """Who works on it and how far they are; counts, frame, alignments, active results by status and reason, runs."""
    frame, holder, runs = catalog.frame(), catalog.holder(), catalog.runs()
    n_anchors, n_images = catalog.sizes()
    running = None if holder is None else running_run(catalog, runs, datetime.now(UTC))
    return {
        "catalog": catalog.address,
        "held_by": None if holder is None else {"who": holder.who, "since": _moment(holder.since)},
        "running": None if running is None else running.as_json(),
        "frame": None if frame is None else {"name": frame.name, "lon": frame.lon_deg, "lat": frame.lat_deg},
        "n_anchors": n_anchors,
        "n_images": n_images,
        "results": catalog.counts(),
        "reasons": catalog.reasons(),
        "alignments": [alignment.id for alignment in catalog.alignments()],
        "runs": [_run_facts(run, catalog) for run in runs[-RUNS_SHOWN:]],
    }


def running_run(catalog: Catalog, runs: list[StoredRun], now: datetime) -> RunningRun | None:
    """The run that was started last and has not ended; call it only while the scene is locked."""
    open_runs = [run for run in runs if run.finished_at is None]
    if not open_runs:
        return None
    run = max(open_runs, key=lambda run: run.last_started_at)
    window_start = max(run.last_started_at, now - RATE_WINDOW)
    recent, window_s = catalog.count_since(run.run_key, window_start), (now - window_start).total_seconds()
    return RunningRun(
        run_key=run.run_key,
        started_at=run.last_started_at,
        n_due=run.n_due,
        n_done=catalog.count_since(run.run_key, run.last_started_at),
        images_per_s=recent / window_s if recent and window_s > 0 else None,
    )


def status_lines(facts: Mapping[str, Any]) -> list[str]:
    """The same, human-readable, a line each."""
    lines = [
        facts["catalog"],
        *_work_lines(facts),
        f"{facts['n_anchors']} anchors, {facts['n_images']} images",
        "alignments: " + (", ".join(facts["alignments"]) or "none"),
        "active: " + (", ".join(f"{count} {status}" for status, count in facts["results"].items()) or "nothing yet"),
    ]
    by_count = sorted(facts["reasons"].items(), key=lambda item: -item[1])
    lines += [f"  rejected {reason}: {count}" for reason, count in by_count]
    for run in facts["runs"]:
        counts = ", ".join(f"{count} {status}" for status, count in run["results"].items()) or "no results"
        lines.append(f"run {run['run_key'][:12]} {run['started_at']} {run['matcher']}: {counts}; {_ended(run, facts)}")
    return lines


def _work_lines(facts: Mapping[str, Any]) -> list[str]:
    holder, running = facts["held_by"], facts["running"]
    if holder is None:
        return ["nobody works on it"]
    lines = [f"held by {holder['who']}" + (f" since {holder['since']}" if holder["since"] else "")]
    if running is not None:
        due = "?" if running["n_due"] is None else running["n_due"]
        rate = "rate unknown yet" if running["images_per_s"] is None else f"{running['images_per_s']:.2f} images/s"
        left = "" if running["left_s"] is None else f", about {_duration(running['left_s'])} left"
        lines.append(f"running: {running['n_done']} of {due} due images, {rate}{left}")
    return lines


def _ended(run: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """How a run ended, and what becomes of it: one that is not active is never gone on with."""
    running = facts["running"]
    if running and running["run_key"] == run["run_key"]:
        return "running"
    ended = f"took {run['duration_s']:.0f} s" if run["finished_at"] else "not finished"
    if run["state"] != "active":
        return f"{ended}; {run['state']}"
    return ended if run["finished_at"] else f"{ended}; the next run goes on"


def _duration(seconds: float) -> str:
    minutes, hours = round(seconds / 60), round(seconds / 3600, 1)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{hours:g} h"


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="seconds")


def _run_facts(run: StoredRun, catalog: Catalog) -> dict[str, Any]:
    return {
        "run_key": run.run_key,
        "started_at": _moment(run.started_at),
        "last_started_at": _moment(run.last_started_at),
        "n_starts": run.n_starts,
        "finished_at": _moment(run.finished_at),
        "duration_s": run.duration_s,
        "matcher": run.matcher,
        "depth": run.depth,
        "results": catalog.counts(run.run_key),
        "state": run.state,
    }

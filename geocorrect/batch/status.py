"""What a catalog holds, for `geocorrect status`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geocorrect.catalog.run import StoredRun
from geocorrect.catalog.store import Catalog

RUNS_SHOWN = 5


def catalog_status(catalog: Catalog) -> dict[str, Any]:
    """Counts, the frame, alignments, results in force by status and reason, and the last runs."""
    frame = catalog.frame()
    return {
        "catalog": catalog.address,
        "frame": None if frame is None else {"name": frame.name, "lon": frame.lon_deg, "lat": frame.lat_deg},
        "n_anchors": len(catalog.anchor_index().ids),
        "n_images": len(catalog.image_ids()),
        "results": catalog.counts(),
        "reasons": catalog.reasons(),
        "alignments": [alignment.id for alignment in catalog.alignments()],
        "runs": [_run_facts(run, catalog) for run in catalog.runs()[-RUNS_SHOWN:]],
    }


def status_lines(facts: Mapping[str, Any]) -> list[str]:
    """The same for people, a line each."""
    lines = [
        facts["catalog"],
        f"{facts['n_anchors']} anchors, {facts['n_images']} images",
        "alignments: " + (", ".join(facts["alignments"]) or "none"),
        "in force: " + (", ".join(f"{count} {status}" for status, count in facts["results"].items()) or "nothing yet"),
    ]
    by_count = sorted(facts["reasons"].items(), key=lambda item: -item[1])
    lines += [f"  rejected {reason}: {count}" for reason, count in by_count]
    for run in facts["runs"]:
        ended = f"took {run['duration_s']:.0f} s" if run["finished_at"] else "not finished"
        lines.append(f"run {run['run_key'][:12]} {run['started_at']} {ended}: {run['results']}")
    return lines


def _run_facts(run: StoredRun, catalog: Catalog) -> dict[str, Any]:
    return {
        "run_key": run.run_key,
        "started_at": run.started_at.isoformat(timespec="seconds"),
        "finished_at": None if run.finished_at is None else run.finished_at.isoformat(timespec="seconds"),
        "duration_s": run.duration_s,
        "matcher": run.matcher,
        "depth": run.depth,
        "results": catalog.counts(run.run_key),
    }

"""What a catalog holds, for `geocorrect status`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geocorrect.catalog.store import Catalog


def catalog_status(catalog: Catalog) -> dict[str, Any]:
    """Counts, the frame, alignments, the last runs and their rejections by reason."""
    frame = catalog.frame()
    runs = catalog.runs()
    return {
        "counts": dict(catalog.counts()),
        "frame": None if frame is None else {"name": frame.name, "lon": frame.lon_deg, "lat": frame.lat_deg},
        "alignments": [alignment.id for alignment in catalog.alignments()],
        "runs": runs[-5:],
        "reasons": dict(catalog.reasons(runs[-1]["run_key"])) if runs else {},
    }


def status_lines(facts: Mapping[str, Any]) -> list[str]:
    """The same for people, a line each."""
    lines = [f"{name:>12}: {count}" for name, count in facts["counts"].items()]
    lines += [
        f"run {run['run_key'][:12]} started {run['started_at']} finished {run['finished_at'] or 'not yet'}"
        for run in facts["runs"]
    ]
    by_count = sorted(facts["reasons"].items(), key=lambda item: -item[1])
    return lines + [f"  rejected {reason}: {count}" for reason, count in by_count]

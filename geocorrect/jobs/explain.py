"""Why photos are due: which part of what their results depend on changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from geocorrect.catalog.image_positions import DueHistory
from geocorrect.catalog.run import StoredRun
from geocorrect.catalog.store import Catalog
from geocorrect.jobs.plan import RunPlan
from geocorrect.jobs.run_identity import METHOD_VERSION, run_record

FIDS_PER_READ = 20_000
SHOWN = 8
"""Changed settings that are named one by one."""
_UNUSED = ("checkpoint", "backbone", "folder", "licence", "cached_images")
"""Names of settings that say where something lies or how much is kept: no part of the key."""


def explain_due(plan: RunPlan, catalog: Catalog) -> dict[str, int]:
    """Due photos by why they are due, most frequent first."""
    runs: dict[int, str] = {}
    causes: Counter[str] = Counter()
    fids = plan.due.fid.tolist()
    for start in range(0, len(fids), FIDS_PER_READ):
        for history in catalog.due_history(fids[start : start + FIDS_PER_READ]):
            causes[_cause(history, plan, catalog, runs)] += 1
    return dict(causes.most_common())


def _cause(history: DueHistory, plan: RunPlan, catalog: Catalog, known: dict[int, str]) -> str:
    if history.run_fid is None:
        return "no result yet"
    if history.config_key != plan.config_key:
        if history.run_fid not in known:
            run = next(run for run in catalog.runs() if run.run_key == history.run_key)
            known[history.run_fid] = f"configuration: {', '.join(changed_parts(run, plan))}"
        return known[history.run_fid]
    return "the photo changed" if history.photo_changed else "its anchors changed"


def changed_parts(run: StoredRun, plan: RunPlan) -> list[str]:
    """What differs between the configuration of an earlier run and the present one, each with both values."""
    before, now = run.config, run_record(plan.settings)
    matcher, depth, *further = plan.backends.fingerprints
    parts = [
        f"{name} {old} → {new}"
        for name, old, new in (
            ("matcher", run.matcher, "+".join([matcher, *further])),
            ("depth", run.depth, depth),
            ("method version", before.get("method_version", "before 1"), METHOD_VERSION),
        )
        if old != new
    ]
    old_values, new_values = (dict(_relevant(config)) for config in (before, now))
    changed = [
        f"{name} {old_values.get(name)} → {new_values.get(name)}"
        for name in sorted(old_values.keys() | new_values.keys())
        if old_values.get(name) != new_values.get(name)
    ]
    parts += changed[:SHOWN] + ([f"and {len(changed) - SHOWN} more settings"] if len(changed) > SHOWN else [])
    return parts or ["the content of a file that it names"]


def _relevant(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Settings that are part of the key, by dotted name."""
    for section in ("retrieve", "camera", "match", "depth", "localize"):
        yield from _flat(config.get(section, {}), section)
    yield "batch.seed", config.get("batch", {}).get("seed")


def _flat(values: Any, name: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(values, Mapping):
        yield name, values
        return
    for key, value in values.items():
        if key not in _UNUSED:
            yield from _flat(value, f"{name}.{key}")

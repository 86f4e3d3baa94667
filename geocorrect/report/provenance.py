"""Where the results come from: runs, models, settings, licences."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from geocorrect.catalog.run import StoredRun
from geocorrect.redaction import redact
from geocorrect.report.contents import Contents
from geocorrect.report.statistics import by_frequency
from geocorrect.report.wording import count, moment, shortened

WHERE_NOT_WHAT = {"catalog", "images", "export", "area"}
"""Sections of a configuration that say where a run worked, not what it computed: private, and of no use to a reader."""
WEIGHTS = "weights"
"""Section of a run's record that says which networks were at work: facts, not settings."""
BINDING = "; not for commercial use, and neither are the results"
NO_LICENCE, NO_CREATOR = "licence unknown", "unknown creator"
CREATORS_NAMED = 60
LONGEST_URL = 1000


@dataclass(frozen=True)
class RunFacts:
    """One run."""

    title: str
    facts: tuple[tuple[str, str], ...]
    """Pairs of what and value, human-readable."""
    settings: tuple[tuple[str, str], ...]
    """Dotted keys and values."""


@dataclass(frozen=True)
class SourceFacts:
    """Photos or anchors under one licence and who made them."""

    licence: str
    n: str
    creators: str
    url: str
    """A page of theirs, or empty."""


def run_facts(contents: Contents) -> list[RunFacts]:
    """Every run that produced a result shown here, oldest first."""
    shown = Counter(photo.stored.run_key for photo in contents.photos)
    return [_run(run, shown[run.run_key], contents) for run in contents.runs]


def photo_sources(contents: Contents) -> list[SourceFacts]:
    """Photos by licence, with their creators."""
    creators: dict[str, Counter[str]] = {}
    for photo in contents.photos:
        source = photo.stored.attribution
        names = creators.setdefault(shortened(source.licence or NO_LICENCE), Counter())
        names[shortened(source.creator or NO_CREATOR)] += 1
    return [
        SourceFacts(licence, count(names.total(), "photo"), _names(names), "")
        for licence, names in sorted(creators.items())
    ]


def anchor_sources(contents: Contents) -> list[SourceFacts]:
    """Anchors by source and licence."""
    return [
        SourceFacts(a.licence or NO_LICENCE, count(n, "anchor"), a.creator or NO_CREATOR, safe_url(a.page_url))
        for a, n in contents.anchor_sources
    ]


def safe_url(url: str) -> str:
    """The URL when it is an ordinary web address, else nothing: a link must not run a script."""
    return url if len(url) <= LONGEST_URL and re.match(r"https?://\S+\Z", url, re.IGNORECASE) else ""


def _run(run: StoredRun, shown: int, contents: Contents) -> RunFacts:
    facts = (
        ("Results shown here", f"{shown:,}"),
        ("Started", moment(run.started_at)),
        ("Finished", moment(run.finished_at)),
        ("Work", f"{run.duration_s:,.0f} s in {count(run.n_starts, 'start')}"),
        ("geocorrect", run.code_version),
        ("Matcher", run.matcher),
        ("Depth", run.depth),
        ("Depth of the anchors", _depth_label(contents, run.run_key)),
        ("Georeference of the anchors", run.alignment_version),
        *_weights(run.config),
        ("Run key", run.run_key),
    )
    settings = tuple((key, redact(value)) for key, value in _flat(run.config))
    return RunFacts(f"Run {run.run_key[:12]}", facts, settings)


def _depth_label(contents: Contents, run_key: str) -> str:
    """Whether the depth of a run was measured or predicted."""
    oracle = {photo.stored.depth_is_oracle for photo in contents.photos if photo.stored.run_key == run_key}
    if oracle == {True}:
        return "measured (LiDAR): an oracle, not available in ordinary operation"
    return "predicted" if oracle == {False} else "measured (oracle) for some photos, predicted for others"


def _weights(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The networks at work and the licences that bind the results; nothing for runs that did not record them."""
    if WEIGHTS not in config:
        return []
    facts = [
        (f"Weights for {use['purpose']}", f"{use['name']}: {use['licence']}{'' if use['commercial'] else BINDING}")
        for use in config[WEIGHTS]
    ]
    return facts or [("Weights", "none: no network was at work")]


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in sorted(config.items()):
        if not prefix and key in WHERE_NOT_WHAT | {WEIGHTS}:
            continue
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        else:
            yield name, "–" if value is None else str(value)


def _names(names: Counter[str]) -> str:
    text = ", ".join(f"{name} ({n:,})" for name, n in by_frequency(names)[:CREATORS_NAMED])
    rest = len(names) - CREATORS_NAMED
    return f"{text} and {rest:,} more (each photo names its creator on the map)" if rest > 0 else text

"""What identifies a run: settings, code and weights; and which generation of it results belong to."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from geocorrect import __version__
from geocorrect.catalog.run import RunManifest
from geocorrect.catalog.store import Catalog
from geocorrect.config import Settings
from geocorrect.depth.registry import declare_depth
from geocorrect.jobs.plan import Plan
from geocorrect.jobs.result_inputs import anchors_version
from geocorrect.match.registry import matcher_card
from geocorrect.networks.cards import Licence
from geocorrect.records import AnchorIndex
from geocorrect.workers.backends import build_depth, build_matcher


@dataclass(frozen=True)
class RunDescription:
    """Everything that changes a result whatever photo and anchors are. matcher, depth: fingerprints with weights."""

    settings: Settings
    matcher: str
    depth: str

    @property
    def config_key(self) -> str:
        """Hex sha256; photos with a result under it are due only when their input changes."""
        parts = [self.settings.fingerprint(), __version__, self.matcher, self.depth]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def run_key(self, generation: int) -> str:
        """Hex sha256 that names one generation of results."""
        return hashlib.sha256(f"{self.config_key}/{generation}".encode()).hexdigest()


def describe_run(settings: Settings) -> RunDescription:
    """The run that these settings would be; no weights are loaded."""
    return RunDescription(settings, build_matcher(settings).fingerprint, build_depth(settings).fingerprint)


def present_run_key(description: RunDescription, catalog: Catalog) -> str:
    """The key under which the newest results of this configuration are stored, or would be."""
    newest = catalog.newest_run(description.config_key)
    return description.run_key(1) if newest is None else newest[1].run_key


def next_manifest(description: RunDescription, catalog: Catalog, plan: Plan, index: AnchorIndex) -> RunManifest:
    """The run that the results of a plan go to: the newest of its configuration, or a new generation.

    A new one begins when a photo of the plan has a result in the newest, because results are never replaced, and when
    the newest was rolled back and the anchors have changed since. While they have not, the rolled-back run is named,
    which `Catalog.begin_run` refuses: what was taken out of force must not be computed again behind its back.
    """
    version, generation = anchors_version(index), 1
    newest = catalog.newest_run(description.config_key)
    if newest is not None:
        fid, run = newest
        assert run.generation is not None
        if run.rolled_back_at is not None:
            begins = run.alignment_version != version
        else:
            begins = bool(np.any(plan.run_fid == fid))
        generation = run.generation + begins
    return RunManifest(
        run_key=description.run_key(generation),
        started_at=datetime.now(UTC),
        config=run_record(description.settings),
        code_version=__version__,
        matcher=description.matcher,
        depth=description.depth,
        alignment_version=version,
        config_key=description.config_key,
        generation=generation,
        n_due=len(plan),
    )


def run_record(settings: Settings) -> dict[str, Any]:
    """What is stored with a run: its settings, and the licences that its results are bound by."""
    return settings.as_json() | {"weights": weights_used(settings)}


def weights_used(settings: Settings) -> list[dict[str, Any]]:
    """Networks behind the results, with the licences that bind them; empty when none is used. Plain JSON values."""
    card, declared = matcher_card(settings.match), declare_depth(settings.depth)
    used = [] if card is None else [_use("matching", card.name, card.licence)]
    return used if declared.licence is None else [*used, _use("depth", declared.weights, declared.licence)]


def _use(purpose: str, name: str, licence: Licence) -> dict[str, Any]:
    return {
        "purpose": purpose,
        "name": name,
        "licence": licence.name,
        "url": licence.url,
        "commercial": licence.commercial,
    }

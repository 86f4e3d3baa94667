"""What identifies a run: settings, code and weights; and which generation of it results belong to."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from geocorrect.catalog.store import Catalog
from geocorrect.config import Settings
from geocorrect.depth.registry import declare_depth
from geocorrect.match.registry import matcher_cards
from geocorrect.networks.cards import CARDS, Licence

METHOD_VERSION = 7
"""Raised by a release in which the same photo, anchors, settings and weights give another result: everything is then
due. A release that only publishes, reads or reports differently keeps it."""


def config_key(settings: Settings, fingerprints: tuple[str, ...]) -> str:
    """Hex sha256 of all that changes a result whatever photo and anchors are.

    Args:
        settings: the configuration.
        fingerprints: of matcher, depth source and further networks, weights included.
    """
    key = [settings.fingerprint(), METHOD_VERSION, *fingerprints]
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()


def run_key(config: str, generation: int) -> str:
    """Hex sha256 that names one generation of the results of a configuration."""
    return hashlib.sha256(f"{config}/{generation}".encode()).hexdigest()


def newest_run_key(config: str, catalog: Catalog) -> str:
    """The key under which the newest results of a configuration are stored, or would be."""
    newest = catalog.newest_run(config)
    return run_key(config, 1) if newest is None else newest[1].run_key


def run_record(settings: Settings) -> dict[str, Any]:
    """What is stored with a run: its settings, the method's version, the licences that its results are bound by.

    Not where the catalog is: everybody who may read the results reads this.
    """
    record = settings.as_json() | {"weights": weights_used(settings), "method_version": METHOD_VERSION}
    del record["catalog"]
    return record


def weights_used(settings: Settings) -> list[dict[str, Any]]:
    """Networks behind the results, with the licences that bind them; empty when none is used. Plain JSON values."""
    declared = declare_depth(settings.depth)
    used = [_use("matching", card.name, card.licence) for card in matcher_cards(settings.match)]
    used += [] if declared.licence is None else [_use("depth", declared.weights, declared.licence)]
    further = {"pose": settings.localize.estimator, "focal length": settings.camera.focal}
    networks = {"mapanything": settings.depth.mapanything.weights, "mickey": "mickey"}
    return used + [_use(what, networks[n], CARDS[networks[n]].licence) for what, n in further.items() if n in networks]


def _use(purpose: str, name: str, licence: Licence) -> dict[str, Any]:
    return {
        "purpose": purpose,
        "name": name,
        "licence": licence.name,
        "url": licence.url,
        "commercial": licence.commercial,
    }

"""What identifies a run: settings, code and weights; and which generation of it results belong to."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from geocorrect import __version__
from geocorrect.catalog.store import Catalog
from geocorrect.config import Settings
from geocorrect.depth.registry import declare_depth
from geocorrect.match.registry import matcher_cards
from geocorrect.networks.cards import CARDS, Licence


def config_key(settings: Settings, fingerprints: tuple[str, ...]) -> str:
    """Hex sha256 of all that changes a result whatever photo and anchors are.

    Args:
        settings: the configuration.
        fingerprints: of matcher, depth source and further networks, weights included.
    """
    return hashlib.sha256(json.dumps([settings.fingerprint(), __version__, *fingerprints]).encode()).hexdigest()


def run_key(config: str, generation: int) -> str:
    """Hex sha256 that names one generation of the results of a configuration."""
    return hashlib.sha256(f"{config}/{generation}".encode()).hexdigest()


def newest_run_key(config: str, catalog: Catalog) -> str:
    """The key under which the newest results of a configuration are stored, or would be."""
    newest = catalog.newest_run(config)
    return run_key(config, 1) if newest is None else newest[1].run_key


def run_record(settings: Settings) -> dict[str, Any]:
    """What is stored with a run: its settings, and the licences that its results are bound by."""
    return settings.as_json() | {"weights": weights_used(settings)}


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

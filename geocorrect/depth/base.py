"""The contract of every depth source, and what each declares of itself."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from geocorrect.networks.cards import Licence, ModelCard
from geocorrect.records import NAN, Anchor, DepthMap, ImageArray

LOCAL_SHARE = 0.42
"""Part of a network's log-depth error that varies inside one image, as a share of its scale error.

See `docs/networks.md`, section Weights.
"""


@dataclass(frozen=True)
class DepthDeclaration:
    """What a depth source is, whatever the anchor."""

    needs: tuple[str, ...]
    """What it cannot do without, in words."""
    valid_range_m: tuple[float, float]
    """Nearest and farthest depth that it gives."""
    log_sigma: float = NAN
    """Standard deviation of single log depths, at most; nan: each depth map states it."""
    common_log_sigma: float = NAN
    """Standard deviation of the log-depth error that all depths of a picture share; nan: each depth map states it."""
    licence: Licence | None = None
    """Of the weights, or of what made the maps; None: nothing but this program is used."""
    weights: str = ""
    """Name of the network, empty for none."""
    is_oracle: bool = False
    """Whether depth is measured by the very sensor that a camera-only system lacks."""


@runtime_checkable
class DepthSource(Protocol):
    """Gives the depth of an anchor image in metres."""

    @property
    def fingerprint(self) -> str:
        """Back-end, parameters and weights in one line; part of the run key."""
        ...

    @property
    def declaration(self) -> DepthDeclaration:
        """What it needs, how far it sees, how wrong it is, under which licence."""
        ...

    def depth(self, anchor: Anchor, image: ImageArray) -> DepthMap:
        """Depth of the anchor's image (H, W, 3) RGB uint8.

        Raises:
            InputError: what the source needs of the anchor (a scan, a map) is missing or damaged; names the file.
        """
        ...


@runtime_checkable
class PairDepthSource(DepthSource, Protocol):
    """Depth of an anchor that depends on the photo that it is to localise."""

    def pair_depth(self, anchor: Anchor, image: ImageArray, query: ImageArray) -> DepthMap:
        """Depth of the anchor's image (H, W, 3) as seen together with the query (h, w, 3); errors as `depth`.

        `depth` of such a source raises an InputError where there is no query; `check` does not need one.
        """
        ...

    def check(self, anchor: Anchor, image: ImageArray) -> None:
        """InputError when the anchor can give no depth, whatever the query."""
        ...


def depth_for(source: DepthSource, anchor: Anchor, image: ImageArray, query: ImageArray) -> DepthMap:
    """The anchor's depth by a source of either kind."""
    if isinstance(source, PairDepthSource):
        return source.pair_depth(anchor, image, query)
    return source.depth(anchor, image)


def declared_by_card(card: ModelCard, *needs: str) -> DepthDeclaration:
    """The declaration of a network by its card; needs: what it cannot do without beside the weights."""
    if card.valid_range_m is None or card.relative_depth_sigma is None:
        raise ValueError(f"{card.name} is not a depth model")
    return DepthDeclaration(
        needs=(f"weights of `{card.name}`", *needs),
        valid_range_m=card.valid_range_m,
        log_sigma=LOCAL_SHARE * card.relative_depth_sigma,
        common_log_sigma=card.relative_depth_sigma,
        licence=card.licence,
        weights=card.name,
    )


def options_digest(*options: object) -> str:
    """Short name of a set of options, for fingerprints."""
    return hashlib.sha256(repr(options).encode()).hexdigest()[:12]

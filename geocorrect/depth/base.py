"""The contract of every depth source, and what each declares of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from geocorrect.networks.cards import Licence, ModelCard
from geocorrect.records import NAN, Anchor, DepthMap, ImageArray

LOCAL_SHARE = 0.42
"""Part of a network's log-depth error that varies inside one image, as a share of its scale error (METHOD §1)."""


@dataclass(frozen=True)
class DepthDeclaration:
    """What a depth source is, whatever the anchor.

    needs: what it cannot do without, in words. valid_range_m: nearest and farthest depth that it gives, metres.
    log_sigma: standard deviation of single log depths, at most; common_log_sigma: of the error that all depths of a
    picture share; nan: told with each depth map. licence: of the weights, or of what made the maps; None: nothing but
    this program is at work. weights: name of the network, empty for none.
    """

    needs: tuple[str, ...]
    valid_range_m: tuple[float, float]
    log_sigma: float = NAN
    common_log_sigma: float = NAN
    licence: Licence | None = None
    weights: str = ""
    is_oracle: bool = False


@runtime_checkable
class DepthSource(Protocol):
    """Gives the depth of an anchor image in metres. `fingerprint` names back-end, parameters and weights."""

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

        Raises InputError naming the file when what the source needs (a scan, weights) is missing or damaged.
        """
        ...


def declared_by_card(card: ModelCard, *needs: str) -> DepthDeclaration:
    """The declaration of a network: range, error and licence are those of its card. needs: beside the weights."""
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

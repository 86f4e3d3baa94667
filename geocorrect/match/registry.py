"""The one list of matchers. Networks are loaded when they match their first pair, not when they are built."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from geocorrect.match.aliked_lightglue import build as build_aliked_lightglue
from geocorrect.match.base import DeclaredMatcher, Matcher, layers
from geocorrect.match.cascade import CascadeMatcher, stages_of
from geocorrect.match.huggingface import build_eloftr, build_lightglue_superpoint
from geocorrect.match.lightglue_disk import build as build_lightglue_disk
from geocorrect.match.mast3r import Mast3rMatcher
from geocorrect.match.mast3r import build as build_mast3r
from geocorrect.match.mickey import build as build_mickey
from geocorrect.match.options import MatchSection, StageName
from geocorrect.match.sift import SiftMatcher
from geocorrect.match.xfeat import build as build_xfeat
from geocorrect.networks.cards import CARDS, ModelCard
from geocorrect.networks.local_features.matcher import FeatureMatcher
from geocorrect.networks.runtime import Runtime, with_runtime
from geocorrect.records import Float32, ImageArray, Matches

if TYPE_CHECKING:
    from geocorrect.networks.mast3r.engine import Mast3rEngine


@dataclass(frozen=True)
class MatcherEntry:
    """How a matcher is made; its options are the field of `MatchSection` that has its name."""

    build: Callable[[Any], Matcher]
    """Takes the matcher's options; raises ModelError when libraries or weights are missing."""
    card: str = ""
    """Name of its model card, which states the licence; empty: no weights are used."""
    describes: bool = False
    """Whether it computes local features or tokens of single photos, for retrieval by appearance."""
    any_roll: bool = False
    """Whether it matches photos whichever way up they are; one that does not is shown them the anchor's way up, where
    their orientation tag or their provider tells it."""
    any_size: bool = True
    """Whether it is shown two photos as they are; else the finer one is halved until it has at most twice the pixels
    per metre of the other, by focal lengths and expected distances (docs/accuracy.md). True where that was not
    measured."""
    enough_verified: int = 0
    """A pair with fewer verified matches is not used: so many are found between photos of different places, too.

    Above the most that `benchmarks/wrong_photos.py` found on real photos between other places and façades next door, so
    that at most 1.4 % (ALIKED, 216 pairs) and 0.7 % (XFeat, 398) of wrong pairs reach it (docs/accuracy.md). 0: the
    gate's own limits suffice (SIFT: 8 at most in 443 pairs), or unmeasured.
    """
    smooth_noise: float = 1.0
    """Errors that are smooth over a photo, as a share of those that `CovarianceOptions` assumes beside the same white
    noise. 1: unmeasured. The others: the upper end of what `benchmarks/fit_noise.py` found, rounded up."""


MATCHERS: Mapping[StageName, MatcherEntry] = {
    "sift": MatcherEntry(SiftMatcher, describes=True, any_roll=True, smooth_noise=0.25),
    "aliked_lightglue": MatcherEntry(
        build_aliked_lightglue,
        card="aliked_lightglue",
        describes=True,
        any_size=False,
        enough_verified=50,
        smooth_noise=0.3,
    ),
    "xfeat": MatcherEntry(
        build_xfeat, card="xfeat", describes=True, any_size=False, enough_verified=75, smooth_noise=0.25
    ),
    "mast3r": MatcherEntry(build_mast3r, card="mast3r", describes=True),
    "eloftr": MatcherEntry(build_eloftr, card="eloftr"),
    "lightglue_disk": MatcherEntry(build_lightglue_disk, card="lightglue_disk", describes=True),
    "lightglue_superpoint": MatcherEntry(build_lightglue_superpoint, card="lightglue_superpoint"),
    "mickey": MatcherEntry(build_mickey, card="mickey"),
}


def build_matcher(section: MatchSection, runtime: Runtime) -> Matcher:
    """The configured matcher, whose fingerprint is cheap to ask for.

    Raises:
        ModelError: weights are missing, those of a later stage included; the message names the command that fetches
            them.
    """
    if section.matcher == "cascade":
        return CascadeMatcher({name: _build_stage(name, section, runtime) for name in section.stages})
    return _build_stage(section.matcher, section, runtime)


def _build_stage(name: StageName, section: MatchSection, runtime: Runtime) -> Matcher:
    entry = MATCHERS[name]
    matcher = entry.build(with_runtime(getattr(section, name), runtime))
    if entry.enough_verified or not (entry.any_roll and entry.any_size) or entry.smooth_noise != 1.0:
        declared = entry.enough_verified, entry.any_roll, entry.any_size, entry.smooth_noise
        matcher = DeclaredMatcher(matcher, *declared)
    return SymmetricMatcher(matcher, section.agree_px) if section.agree_px > 0 else matcher


def matcher_cards(section: MatchSection) -> list[ModelCard]:
    """The cards of the networks that match, with their licences; empty when no network is used."""
    return [CARDS[card] for name in section.matchers if (card := MATCHERS[name].card)]


def describes_photos(section: MatchSection) -> bool:
    """Whether a configured matcher computes what whole photos can be compared by."""
    return any(MATCHERS[name].describes for name in section.matchers)


def token_engine(matcher: Matcher) -> Mast3rEngine | None:
    """The network whose encoder tokens describe whole photos; None for a matcher without one."""
    return next((layer.engine for layer in _all_layers(matcher) if isinstance(layer, Mast3rMatcher)), None)


def local_features(matcher: Matcher) -> tuple[Callable[[ImageArray], Float32], str] | None:
    """Photo → unit descriptors (N, D) of the first stage that has local features, and all that they depend on."""
    for layer in _all_layers(matcher):
        if isinstance(layer, SiftMatcher | FeatureMatcher):
            return layer.descriptors, layer.feature_identity
    return None


def _all_layers(matcher: Matcher) -> Iterator[Matcher]:
    """The stages of a matcher in order, each followed by what it wraps."""
    return chain.from_iterable(map(layers, stages_of(matcher).values()))


class SymmetricMatcher:
    """Another matcher, reduced to the matches that it finds from the anchor's side, too."""

    def __init__(self, matcher: Matcher, radius_px: float) -> None:
        """radius_px: how far the two answers may lie apart, in each picture."""
        self.matcher, self.radius_px = matcher, radius_px
        self.fingerprint = f"{matcher.fingerprint}+both-ways/{radius_px:g}"

    def match(self, query: ImageArray, anchors: Sequence[ImageArray]) -> list[Matches]:
        """See `match.base.Matcher.match`."""
        kept = []
        for anchor, forward in zip(anchors, self.matcher.match(query, anchors), strict=True):
            (backward,) = self.matcher.match(anchor, [query])
            kept.append(forward.subset(agreeing(forward, backward, self.radius_px)))
        return kept


def agreeing(forward: Matches, backward: Matches, radius_px: float) -> NDArray[np.bool_]:
    """(N,) which forward matches have a backward one within the radius in both pictures.

    backward: of the same pictures in the other order, so its query_px are pixels of the anchor.
    """
    if not len(forward) or not len(backward):
        return np.zeros(len(forward), bool)
    here = np.hstack([forward.query_px, forward.anchor_px]).astype(float)
    there = np.hstack([backward.anchor_px, backward.query_px]).astype(float)
    tree = cKDTree(there)
    found = np.zeros(len(here), bool)
    # A ball in four dimensions that holds the product of the two discs; the discs themselves decide.
    for row, near in enumerate(tree.query_ball_point(here, radius_px * np.sqrt(2.0))):
        apart = there[np.asarray(near, np.intp)] - here[row]
        discs = np.stack([np.hypot(apart[:, 0], apart[:, 1]), np.hypot(apart[:, 2], apart[:, 3])])
        found[row] = bool((discs <= radius_px).all(axis=0).any())
    return found

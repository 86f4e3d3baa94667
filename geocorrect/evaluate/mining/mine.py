"""Pair mining: both orders through the matcher, F-RANSAC on each, the smaller count of inliers is the pair's score.

The matcher's answer depends on which photo comes first, so each ordered pair is stored by itself, under a key of all
that it depends on: a killed run continues, and a grown drive costs its new pairs.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geocorrect.errors import InputError, UsageError
from geocorrect.evaluate.mining.candidates import Candidate, Photos
from geocorrect.evaluate.table import Journal
from geocorrect.geometry.frame import angle_difference_deg
from geocorrect.match.base import Matcher
from geocorrect.match.verify import CONFIDENCE, fundamental_inliers
from geocorrect.records import Anchor, ImageArray


@dataclass(frozen=True)
class MiningOptions:
    """How a pair is scored, and which are kept."""

    max_epipolar_px: float = 1.0
    """F-RANSAC tolerance in a picture shrunk to 512 px: what a matching network sees."""
    keep: int = 10
    """Best anchors kept per query and range."""
    min_score: int = 200
    """A pair is valid with more inliers than this."""
    seed: int = 0
    """Of F-RANSAC."""

    def __post_init__(self) -> None:
        if not self.max_epipolar_px > 0 or self.keep < 1 or self.min_score < 0:
            raise UsageError("evaluate mine: tolerance and number kept must be positive, the least score not negative")


@dataclass(frozen=True)
class MinedPair:
    """One kept pair with what each order found."""

    anchor_id: str
    query_id: str
    range_name: str
    rank: int
    """Among the anchors of its query and range, best first, from 0."""
    score: int
    """The smaller of the two counts of inliers."""
    is_valid: bool
    matches_forward: int
    inliers_forward: int
    """With the anchor as first image."""
    matches_backward: int
    inliers_backward: int
    """With the query as first image."""
    distance_m: float
    turn_deg: float
    gap_s: float
    """nan: a time is unknown."""
    anchor_drive: str
    query_drive: str


@dataclass(frozen=True)
class OrderedScore:
    """What one order of a pair found."""

    n_matches: int
    n_inliers: int


def mine(
    photos: Photos,
    candidates: Sequence[Candidate],
    matcher: Matcher,
    read: Callable[[Anchor], ImageArray],
    options: MiningOptions,
    journal_file: Path,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    stopped: Callable[[], bool] = lambda: False,
) -> list[MinedPair]:
    """The kept pairs in the order of queries, ranges and ranks.

    Args:
        photos: All.
        candidates: Pairs to score.
        matcher: Finds correspondences.
        read: Gives a photo's pixels (H, W, 3); InputError naming the file.
        options: See there.
        journal_file: Scores of finished ordered pairs.
        on_progress: Called with pairs done and pairs in all.
        stopped: Asked before every pair.

    Raises:
        InputError: there are no candidates, or none of the pairs is valid.
    """
    if not candidates:
        raise InputError(
            "no candidate pairs: no two photos of different visits are near each other and look the same way; raise "
            "--radius-m or --max-turn-deg, lower --min-gap-s, or give --ranges"
        )
    scores: dict[tuple[int, int], tuple[OrderedScore, OrderedScore]] = {}
    with Journal(journal_file) as journal:
        scorer = _Scorer(photos, matcher, read, options, journal)
        for done, pair in enumerate(candidates, 1):
            if stopped():
                break
            there, back = scorer.score(pair.anchor, pair.query), scorer.score(pair.query, pair.anchor)
            scores[pair.anchor, pair.query] = (there, back)
            on_progress(done, len(candidates))
    kept = _best(photos, [pair for pair in candidates if (pair.anchor, pair.query) in scores], scores, options)
    if not stopped() and not any(pair.is_valid for pair in kept):
        best = max(pair.score for pair in kept)
        raise InputError(
            f"none of {len(candidates)} candidate pairs is valid: the best has {best} inliers, more than "
            f"{options.min_score} are needed; lower --min-score, or use another matcher"
        )
    return kept


@dataclass(frozen=True, eq=False)
class _Scorer:
    photos: Photos
    matcher: Matcher
    read: Callable[[Anchor], ImageArray]
    options: MiningOptions
    journal: Journal

    def score(self, first: int, second: int) -> OrderedScore:
        """Matches and inliers with `first` as the first image."""
        pair = self.photos.anchors[first], self.photos.anchors[second]
        o = self.options
        depends_on = [*(a.sha256 or a.id for a in pair), self.matcher.fingerprint]
        key = "pair/" + hashlib.sha256(repr([*depends_on, o.max_epipolar_px, CONFIDENCE, o.seed]).encode()).hexdigest()
        if key not in self.journal.known:
            pixels = [self.read(anchor) for anchor in pair]
            (matches,) = self.matcher.match(pixels[0], [pixels[1]])
            sizes = [(image.shape[1], image.shape[0]) for image in pixels]
            inliers = fundamental_inliers(
                matches.query_px, matches.anchor_px, *sizes, px=o.max_epipolar_px, seed=o.seed
            )
            self.journal.add(key, {"n_matches": len(matches), "n_inliers": int(inliers.sum())})
        return OrderedScore(**self.journal.known[key])


def _best(
    photos: Photos,
    candidates: Sequence[Candidate],
    scores: dict[tuple[int, int], tuple[OrderedScore, OrderedScore]],
    options: MiningOptions,
) -> list[MinedPair]:
    groups: dict[tuple[int, str], list[Candidate]] = defaultdict(list)
    for pair in candidates:
        groups[pair.query, pair.range_name].append(pair)

    def score_of(pair: Candidate) -> int:
        return min(order.n_inliers for order in scores[pair.anchor, pair.query])

    kept = []
    for key in sorted(groups):
        best_first = sorted(groups[key], key=lambda pair: (-score_of(pair), pair.anchor))
        for rank, pair in enumerate(best_first[: options.keep]):
            kept.append(_mined(photos, pair, rank, scores[pair.anchor, pair.query], options.min_score))
    return kept


def _mined(
    photos: Photos, pair: Candidate, rank: int, orders: tuple[OrderedScore, OrderedScore], min_score: int
) -> MinedPair:
    there, back = orders
    a, q = pair.anchor, pair.query
    score = min(there.n_inliers, back.n_inliers)
    return MinedPair(
        anchor_id=photos.anchors[a].id,
        query_id=photos.anchors[q].id,
        range_name=pair.range_name,
        rank=rank,
        score=score,
        is_valid=score > min_score,
        matches_forward=there.n_matches,
        inliers_forward=there.n_inliers,
        matches_backward=back.n_matches,
        inliers_backward=back.n_inliers,
        distance_m=float(np.linalg.norm(photos.enu_m[a] - photos.enu_m[q])),
        turn_deg=float(np.abs(angle_difference_deg(photos.heading_deg[a], photos.heading_deg[q]))),
        gap_s=float(np.abs(photos.time_s[a] - photos.time_s[q])),
        anchor_drive=photos.drive[a],
        query_drive=photos.drive[q],
    )

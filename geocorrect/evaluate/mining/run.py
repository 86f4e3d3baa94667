"""Mining on a catalog's anchors: pairs, both splits, and their tables."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path

from geocorrect.api.anchor_cache import read_anchor
from geocorrect.api.backends import build_matcher
from geocorrect.api.scene import AnchorSource
from geocorrect.config import Settings
from geocorrect.errors import InputError
from geocorrect.evaluate.mining.candidates import (
    Candidate,
    CandidateOptions,
    Photos,
    candidates_of_ranges,
    find_candidates,
    read_ranges,
)
from geocorrect.evaluate.mining.mine import MinedPair, MiningOptions, mine
from geocorrect.evaluate.mining.splits import Split, SplitOptions, leaks, place_split, random_split
from geocorrect.evaluate.render import TextTable, number
from geocorrect.io.bounded_cache import BoundedCache
from geocorrect.records import Anchor, Float, ImageArray


@dataclass(frozen=True)
class SplitPair(MinedPair):
    """A mined pair and the sets that it is in: a row of `pairs.parquet`."""

    random_set: str = ""
    """train, val, test1 (which test2 contains) or test2; empty: none."""
    place_set: str = ""
    """train, val or test1; empty: none."""


@dataclass(frozen=True)
class MiningPlan:
    """What is mined and how it is split."""

    candidates: CandidateOptions = field(default_factory=CandidateOptions)
    mining: MiningOptions = field(default_factory=MiningOptions)
    splits: SplitOptions = field(default_factory=SplitOptions)
    ranges: Path | None = None
    """JSON file of given ranges; None: they are found."""


@dataclass(frozen=True, eq=False)
class Mined:
    """The outcome."""

    pairs: tuple[MinedPair, ...]
    n_candidates: int
    enu_m: Mapping[str, Float]
    """Position of each photo by id."""
    splits: tuple[Split, ...]
    refused: tuple[str, ...]
    """Why a split could not be made."""
    cpu_s: float
    """Processor time of this run's matching."""

    def rows(self) -> list[SplitPair]:
        """The pairs with the sets that they are in."""
        by_split = {split.name: _set_of(split) for split in self.splits}
        random, place = by_split.get("random", {}), by_split.get("place", {})
        return [
            SplitPair(**asdict(p), random_set=random.get(key, ""), place_set=place.get(key, ""))
            for p in self.pairs
            for key in [(p.anchor_id, p.query_id)]
        ]


def photos_of(source: AnchorSource) -> Photos:
    """All anchors of a source as photos that pairs are made of; InputError when there are fewer than two."""
    if len(source.index.ids) < 2:
        raise InputError(f"{len(source.index.ids)} anchor: a pair takes two; add more anchors")
    heading_deg = dict(zip(source.index.ids, source.index.heading_deg.tolist(), strict=True))
    return Photos.of(list(chain.from_iterable(source.chunks())), heading_deg)


def mine_anchors(
    settings: Settings,
    photos: Photos,
    plan: MiningPlan,
    journal_file: Path,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Mined:
    """Mine pairs with the configured matcher and split them; see `mine`.

    Raises:
        InputError: ranges overlap or name no photos, there are no candidates, or no pair is valid.
    """
    if plan.ranges is not None:
        candidates: list[Candidate] = candidates_of_ranges(photos, read_ranges(plan.ranges), plan.candidates)
    else:
        candidates = find_candidates(photos, plan.candidates)
    pixels: BoundedCache[str, ImageArray] = BoundedCache(
        settings.batch.cached_anchors_mib * 2**20, lambda array: array.nbytes, keep_newest=True
    )

    def read(anchor: Anchor) -> ImageArray:
        return pixels.get_or_make(anchor.id, lambda: read_anchor(anchor).pixels)

    began_s = time.process_time()
    matcher = build_matcher(settings)
    pairs = mine(photos, candidates, matcher, read, plan.mining, journal_file, on_progress, stopped)
    cpu_s = time.process_time() - began_s
    enu_m = {anchor.id: place for anchor, place in zip(photos.anchors, photos.enu_m, strict=True)}
    splits, refused = split_both(pairs, enu_m, plan.splits)
    return Mined(tuple(pairs), len(candidates), enu_m, splits, refused, cpu_s)


def split_both(
    pairs: Sequence[MinedPair], enu_m: Mapping[str, Float], options: SplitOptions
) -> tuple[tuple[Split, ...], tuple[str, ...]]:
    """The splits that can be made, and why others cannot."""
    made: list[Split] = []
    refused: list[str] = []
    for make in (partial(random_split, pairs, options), partial(place_split, pairs, enu_m, options)):
        try:
            made.append(make())
        except InputError as error:
            refused.append(str(error))
    return tuple(made), tuple(refused)


def _set_of(split: Split) -> dict[tuple[str, str], str]:
    """Set of each pair; of test1, which test2 contains, test1."""
    sets = reversed(list(split.sets.items()))
    return {(pair.anchor_id, pair.query_id): name for name, pairs in sets for pair in pairs}


def mining_tables(scenes: Mapping[str, Mined], plan: MiningPlan) -> list[TextTable]:
    """The thesis' Tables I (sets) and VI (mining), and what the test sets share with the training sets."""
    strong, valid = plan.splits.strong_score, plan.mining.min_score
    sets, mined, leak = [], [], []
    for scene, found in scenes.items():
        scores = [pair.score for pair in found.pairs]
        counts = [str(sum(score > limit for score in scores)) for limit in (valid, strong)]
        for split in found.splits:
            sizes = [str(len(split.sets[name])) if name in split.sets else "–" for name in SET_NAMES]
            sets.append((f"{scene}, {split.name}", *counts, *sizes, str(split.n_dropped)))
            leak += [
                (f"{scene}, {split.name} {one.test}", str(one.anchors), str(one.shared_anchors), str(one.queries),
                 str(one.shared_queries), number(one.nearest_m, 1)) for one in leaks(split, found.enu_m)
            ]  # fmt: skip
        steps = f"{plan.candidates.query_step}/{plan.candidates.anchor_step}"
        total, n_valid = len(scores), sum(pair.is_valid for pair in found.pairs)
        mined.append((scene, steps, str(plan.mining.keep), str(found.n_candidates), str(total), str(n_valid)))
    return [
        TextTable("table_1", f"Table I: pairs of more than {valid} and {strong} inliers, and their sets", (
            "scene, split", f"> {valid}", f"> {strong}", *SET_NAMES, "in no set"), tuple(sets)),
        TextTable("table_6", "Table VI: mining", (
            "scene", "steps query/anchor", "n per query and range", "candidates", "total", "valid"), tuple(mined)),
        TextTable("leak", "What the test sets share with the training set of their split: the leak", (
            "scene, split, set", "anchors", "of them in train", "queries", "of them in train", "nearest in train m"),
            tuple(leak)),
    ]  # fmt: skip


SET_NAMES = ("train", "val", "test1", "test2")

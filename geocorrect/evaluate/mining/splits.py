"""Training, validation and test sets of mined pairs: at random, as the thesis splits, and by place.

Random pairs share photos across the sets: what is learned of a place in training is asked again in the test. Splitting
by place prevents that; the difference between the two results is the leak.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from geocorrect.errors import InputError, UsageError
from geocorrect.evaluate.mining.mine import MinedPair

Float = NDArray[np.float64]
SETS = ("train", "val", "test")


@dataclass(frozen=True)
class SplitOptions:
    """Sizes and distances."""

    strong_score: int = 700
    """Random pairs: train, val and test1 have more inliers than this; test2 is test1 and the other valid pairs."""
    shares: tuple[float, float] = (0.7, 0.15)
    """Of train and of val; the test has val's share at random, and what is left by place."""
    seed: int = 42
    """Of the shuffle, and of the end at which the split by place begins."""
    cell_m: float = 20.0
    """Size of a place."""
    buffer_m: float = 60.0
    """Photos of different sets are at least this far apart, whichever way they look: beyond visible range."""

    def __post_init__(self) -> None:
        train, val = self.shares
        if not (train > 0 and val > 0 and train + val < 1) or not self.cell_m > 0 or self.buffer_m < 0:
            raise UsageError("splits: shares must be positive and leave a test set, the cell positive, the buffer ≥ 0")


@dataclass(frozen=True, eq=False)
class Split:
    """Pairs by set."""

    name: str
    sets: Mapping[str, tuple[MinedPair, ...]]
    """train, val, test1 and, at random, test2, which contains test1."""
    n_dropped: int = 0
    """Valid pairs in no set: of the buffer, of two places, or left by rounding."""


def random_split(pairs: Sequence[MinedPair], options: SplitOptions) -> Split:
    """The thesis' split: pairs are shuffled, whatever photos they share.

    Raises:
        InputError: a set would be empty.
    """
    valid = [pair for pair in pairs if pair.is_valid]
    strong = [pair for pair in valid if pair.score > options.strong_score]
    order = np.random.default_rng(options.seed).permutation(len(strong)).tolist()
    # A product such as 0.15 · 20 may lie a rounding error below the whole number that it is.
    n_train, n_val = (int(np.floor(share * len(strong) + 1e-9)) for share in options.shares)
    ends = np.cumsum([0, n_train, n_val, n_val]).tolist()
    train, val, test1 = ([strong[i] for i in order[a:b]] for a, b in pairwise(ends))
    if not (train and val and test1):
        raise InputError(
            f"random split: {len(strong)} pairs with more than {options.strong_score} inliers do not fill three sets; "
            "lower --strong-score, or mine more pairs"
        )
    weak = [pair for pair in valid if pair.score <= options.strong_score]
    sets = {"train": train, "val": val, "test1": test1, "test2": [*test1, *weak]}
    return Split("random", {name: tuple(each) for name, each in sets.items()}, len(strong) - ends[-1])


def place_split(pairs: Sequence[MinedPair], enu_m: Mapping[str, Float], options: SplitOptions) -> Split:
    """Places are ordered by their distance along the streets from one end, and cut where the shares are reached.

    Args:
        pairs: Mined pairs; those that are not valid are left out.
        enu_m: (3,) position of each photo by id.
        options: See there.

    Raises:
        InputError: a set would be empty.
    """
    valid = [pair for pair in pairs if pair.is_valid]
    ids = sorted({name for pair in valid for name in (pair.anchor_id, pair.query_id)})
    cells = {name: _cell(enu_m[name], options.cell_m) for name in ids}
    set_of_cell = _sets_of_cells(valid, cells, options)
    set_of = {name: set_of_cell[cells[name]] for name in ids}
    kept = _beyond_buffer(ids, np.array([enu_m[name][:2] for name in ids]).reshape(-1, 2), set_of, options.buffer_m)
    sets: dict[str, list[MinedPair]] = {name: [] for name in SETS}
    for pair in valid:
        if {pair.anchor_id, pair.query_id} <= kept and set_of[pair.anchor_id] == set_of[pair.query_id]:
            sets[set_of[pair.query_id]].append(pair)
    counts = {name: len(each) for name, each in sets.items()}
    if not all(counts.values()):
        raise InputError(
            f"split by place: with a buffer of {options.buffer_m:g} m there would be {counts['train']} pairs to train, "
            f"{counts['val']} to validate and {counts['test']} to test; the drive is too short: lower --buffer-m or "
            "--cell-m"
        )
    named = {"train": sets["train"], "val": sets["val"], "test1": sets["test"]}
    return Split("place", {name: tuple(each) for name, each in named.items()}, len(valid) - sum(counts.values()))


Cell = tuple[int, int]


def _cell(enu_m: Float, cell_m: float) -> Cell:
    return int(np.floor(enu_m[0] / cell_m)), int(np.floor(enu_m[1] / cell_m))


def _sets_of_cells(pairs: Sequence[MinedPair], cells: Mapping[str, Cell], options: SplitOptions) -> dict[Cell, str]:
    """Cells along the streets, cut by the number of their queries."""
    n_queries: dict[Cell, int] = defaultdict(int)
    for pair in pairs:
        n_queries[cells[pair.query_id]] += 1
    limits = np.cumsum(options.shares) * len(pairs)
    found, passed = {}, 0
    for cell in _along_streets(set(cells.values()), options.seed):
        middle = passed + n_queries[cell] / 2
        found[cell] = SETS[int(np.searchsorted(limits, middle, side="right"))]
        passed += n_queries[cell]
    return found


def _along_streets(cells: set[Cell], seed: int) -> list[Cell]:
    """Cells by their steps from one end of each connected part, so that what is cut is a stretch of street."""
    ordered: list[Cell] = []
    left = set(cells)
    while left:
        part = list(_distances(min(left), left))
        ends = [part[-1], list(_distances(part[-1], left))[-1]]
        start = sorted(ends)[seed % 2]
        distances = _distances(start, left)
        ordered += sorted(distances, key=lambda cell: (distances[cell], cell))
        left -= set(distances)
    return ordered


def _distances(start: Cell, cells: set[Cell]) -> dict[Cell, int]:
    """Steps from a cell to all that can be reached over neighbours, in the order of steps."""
    steps, waiting = {start: 0}, deque([start])
    while waiting:
        x, y = here = waiting.popleft()
        for near in sorted((x + dx, y + dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)):
            if near in cells and near not in steps:
                steps[near] = steps[here] + 1
                waiting.append(near)
    return steps


def _beyond_buffer(ids: Sequence[str], en_m: Float, set_of: Mapping[str, str], buffer_m: float) -> set[str]:
    """Photos that may stay: of two sets that come too near the earlier (train, then val) gives way."""
    kept = set(ids)
    for i, name in enumerate(SETS[:-1]):
        later = np.array([set_of[photo] in SETS[i + 1 :] and photo in kept for photo in ids])
        own = np.array([set_of[photo] == name for photo in ids])
        if later.any() and own.any():
            distance, _ = cKDTree(en_m[later]).query(en_m[own])
            kept -= {
                ids[row] for row, near in zip(np.flatnonzero(own).tolist(), distance, strict=True) if near < buffer_m
            }
    return kept


@dataclass(frozen=True)
class Leak:
    """What a test set shares with its training set."""

    test: str
    anchors: int
    shared_anchors: int
    """Anchors of the test, and those that are also in the training set."""
    queries: int
    shared_queries: int
    nearest_m: float
    """Median distance of the test's photos to the nearest photo of the training set."""


def leaks(split: Split, enu_m: Mapping[str, Float]) -> list[Leak]:
    """Of every test set of a split."""
    train = split.sets["train"]
    seen = sorted(_anchors(train) | _queries(train))
    tree = cKDTree(np.array([enu_m[name][:2] for name in seen]))
    found = []
    for name, pairs in split.sets.items():
        if name.startswith("test"):
            photos = sorted(_anchors(pairs) | _queries(pairs))
            distance, _ = tree.query(np.array([enu_m[photo][:2] for photo in photos]))
            anchors, queries = _anchors(pairs), _queries(pairs)
            shared = len(anchors & _anchors(train)), len(queries & _queries(train))
            nearest_m = float(np.median(distance))
            found.append(Leak(name, len(anchors), shared[0], len(queries), shared[1], nearest_m))
    return found


def _anchors(pairs: Sequence[MinedPair]) -> set[str]:
    return {pair.anchor_id for pair in pairs}


def _queries(pairs: Sequence[MinedPair]) -> set[str]:
    return {pair.query_id for pair in pairs}

"""Pairs of descriptors that are each other's nearest and clearly so, without comparing every one with every other.

The descriptors of an image are divided into cells around centres found among the query's (an inverted file: Sivic &
Zisserman 2003; several cells are searched per descriptor: Jégou et al. 2011). A descriptor that has a counterpart looks
like it, so one of the cells whose centres are nearest to it holds the counterpart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from geocorrect.records import Float32

Rows = NDArray[np.intp]
N_CELLS = 48
N_SEARCHED = 8
"""Cells that a descriptor is compared with: on KITTI raw and the demo's street, 0.99 of the pairs are found in a third
of the time.
"""
ALL_PAIRS = 2000 * 2000
"""Up to so many comparisons all are made."""
BLOCK = 256
"""Descriptors compared at once with all of an image: the similarities stay in the processor's cache."""
ROUNDS = 2
"""Of k-means; more do not find more pairs."""


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells of one image's descriptors, found once for all anchors that it is matched with."""

    descriptors: Float32
    """(N, D) unit vectors."""

    @cached_property
    def centres(self) -> Float32:
        """(N_CELLS, D)."""
        return _centres(self.descriptors)

    @cached_property
    def members(self) -> list[Rows]:
        """Rows by the cell that they are in."""
        return _members(self.descriptors, self.centres)

    @cached_property
    def searchers(self) -> list[Rows]:
        """Rows by each of the cells in which their counterparts are looked for."""
        return _searchers(self.descriptors, self.centres)


def distinct_pairs(query: Cells, anchor: Float32, ratio: float) -> tuple[Rows, Rows, Float32]:
    """(rows of the query, rows of the anchor, distance ratio) of the mutual nearest neighbours, by rising query row.

    Args:
        query: (N, D) unit vectors without negative components.
        anchor: (M, D) the same of the other image.
        ratio: of the distances to the nearest and to the second nearest, smaller than that in both directions.
    """
    none, these = np.zeros(0, np.intp), query.descriptors
    if len(these) < 2 or len(anchor) < 2:
        return none, none, np.zeros(0, np.float32)
    by_cells = len(these) * len(anchor) > ALL_PAIRS
    there = zip(query.searchers, _members(anchor, query.centres), strict=True) if by_cells else _all(these, anchor)
    column, forward = _nearest(these, anchor, there)
    rows = np.flatnonzero(forward < ratio)
    columns = column[rows]
    # The anchor's descriptors need looking at only where the query's have chosen them.
    chosen = anchor[columns]
    back = zip(_searchers(chosen, query.centres), query.members, strict=True) if by_cells else _all(chosen, these)
    row, backward = _nearest(chosen, these, back)
    kept = (row == rows) & (backward < ratio)
    return rows[kept], columns[kept], np.maximum(forward[rows], backward)[kept]


def _nearest(these: Float32, others: Float32, groups: Iterable[tuple[Rows, Rows]]) -> tuple[Rows, Float32]:
    """(N,) row of the nearest of the others, and the ratio of its distance to that of the second nearest.

    groups: rows of these, and the rows of the others that they are compared with.
    """
    first, second = np.full((2, len(these)), -1, np.float32)
    nearest = np.zeros(len(these), np.intp)
    for rows, group in groups:
        if not len(rows) or not len(group):
            continue
        similarity = these[rows] @ others[group].T
        best, at = similarity.argmax(axis=1), np.arange(len(rows))
        highest = similarity[at, best]
        similarity[at, best] = -1
        following = similarity.max(axis=1)
        before = first[rows]
        better = highest > before
        second[rows] = np.where(better, np.maximum(before, following), np.maximum(second[rows], highest))
        first[rows] = np.where(better, highest, before)
        nearest[rows] = np.where(better, group[best], nearest[rows])
    # Where the cells held no second one, nothing says that the nearest is clearly so.
    return nearest, np.where(second < 0, np.float32(1), _distance(first) / _distance(second))


def _all(these: Float32, others: Float32) -> Iterator[tuple[Rows, Rows]]:
    """Every one with every other."""
    everything = np.arange(len(others))
    for start in range(0, len(these), BLOCK):
        yield np.arange(start, min(start + BLOCK, len(these))), everything


def _members(descriptors: Float32, centres: Float32) -> list[Rows]:
    return _by_cell((descriptors @ centres.T).argmax(axis=1), len(centres))


def _searchers(descriptors: Float32, centres: Float32) -> list[Rows]:
    searched = np.argpartition(descriptors @ -centres.T, N_SEARCHED, axis=1)[:, :N_SEARCHED].ravel()
    return [entries // N_SEARCHED for entries in _by_cell(searched, len(centres))]


def _by_cell(cells: Rows, n_cells: int) -> list[Rows]:
    """The places of each number below n_cells."""
    order = np.argsort(cells.astype(np.uint16), kind="stable")  # 16 bits: numpy sorts them by radix
    return np.split(order, np.searchsorted(cells[order], np.arange(1, n_cells)))


def _centres(descriptors: Float32) -> Float32:
    """(N_CELLS, D) unit vectors by spherical k-means, begun with every n-th descriptor."""
    centres = descriptors[np.linspace(0, len(descriptors) - 1, N_CELLS).astype(np.intp)]
    for _ in range(ROUNDS):
        own = (descriptors @ centres.T).argmax(axis=1)
        sums = (np.arange(N_CELLS)[:, None] == own).astype(np.float32) @ descriptors
        centres = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), np.float32(1e-9))
    return np.asarray(centres, np.float32)


def _distance(similarity: Float32) -> Float32:
    """Distances of unit vectors from their scalar products."""
    return np.asarray(np.sqrt(np.maximum(2 - 2 * similarity, 1e-12)), np.float32)

"""Candidate pairs of one's own anchors: found by place, heading and time, or given as ranges of frames.

A pair is (anchor, query). The anchors that may serve one query fall into ranges, one for each time that a drive passed
the place; of every range the best few are kept, so that each pass is represented.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from geocorrect.errors import InputError, UsageError
from geocorrect.geometry.frame import angle_difference_deg
from geocorrect.io.text_file import read_json
from geocorrect.records import NAN, Anchor

Float = NDArray[np.float64]


@dataclass(frozen=True)
class CandidateOptions:
    """What may form a pair."""

    radius_m: float = 25.0
    """Largest distance of the two."""
    max_turn_deg: float = 60.0
    """Largest difference of their headings."""
    min_gap_s: float = 10.0
    """Of one drive, photos nearer in time than this are consecutive frames, no second visit; 0 pairs them, too."""
    pass_gap_s: float = 10.0
    """A drive that was away from a query for longer comes to it for another time: another range."""
    query_step: int = 1
    anchor_step: int = 1
    """Every n-th photo of each drive, in the order of time."""

    def __post_init__(self) -> None:
        if not (self.radius_m > 0 and self.max_turn_deg > 0 and self.min_gap_s >= 0 and self.pass_gap_s > 0):
            raise UsageError("evaluate mine: radius, turn and pass gap must be positive, the time gap not negative")
        if self.query_step < 1 or self.anchor_step < 1:
            raise UsageError("evaluate mine: steps must be at least 1")


@dataclass(frozen=True, eq=False)
class Photos:
    """The photos that pairs are made of, drive by drive in the order of time."""

    anchors: tuple[Anchor, ...]
    heading_deg: Float
    """(N,) clockwise from true north, nan = undefined."""
    enu_m: Float
    """(N, 3)."""
    drive: tuple[str, ...]
    """(N,) data set and drive."""
    number: NDArray[np.intp]
    """(N,) place within the drive, from 0."""
    time_s: Float
    """(N,) nan = unknown."""

    @classmethod
    def of(cls, anchors: Sequence[Anchor], heading_deg: Mapping[str, float]) -> Photos:
        """Photos of anchors and the heading of each by id."""
        drives: dict[str, list[Anchor]] = defaultdict(list)
        for anchor in anchors:
            drives[f"{anchor.dataset}/{anchor.drive_id or ''}"].append(anchor)
        ordered: list[tuple[str, int, Anchor]] = []
        for name in sorted(drives):
            members = sorted(drives[name], key=lambda a: (_time_s(a) if a.captured_at else 0.0, a.id))
            ordered += [(name, number, anchor) for number, anchor in enumerate(members)]
        records = tuple(anchor for _, _, anchor in ordered)
        return cls(
            records,
            np.array([heading_deg[a.id] for a in records], float),
            np.array([a.world_from_cam.translation_m for a in records], float).reshape(-1, 3),
            tuple(name for name, _, _ in ordered),
            np.array([number for _, number, _ in ordered], np.intp),
            np.array([_time_s(a) for a in records], float),
        )


@dataclass(frozen=True)
class Candidate:
    """A pair to be matched, as rows of `Photos`."""

    anchor: int
    query: int
    range_name: str
    """Of the anchors of one pass, or of the given range."""


def find_candidates(photos: Photos, options: CandidateOptions) -> list[Candidate]:
    """All pairs near enough that look the same way, of different drives or visits, in the order of queries."""
    tree = cKDTree(photos.enu_m[:, :2])
    drive = np.array(photos.drive, dtype=object)
    found: list[Candidate] = []
    for query in np.flatnonzero(photos.number % options.query_step == 0).tolist():
        near = np.array(sorted(tree.query_ball_point(photos.enu_m[query, :2], options.radius_m)), np.intp)
        turn = np.abs(angle_difference_deg(photos.heading_deg[near], photos.heading_deg[query]))
        apart_s = np.abs(photos.time_s[near] - photos.time_s[query])
        # A drive without times: nobody can say what is a second visit, so none of its own photos are paired.
        other_visit = (drive[near] != drive[query]) | (apart_s >= options.min_gap_s) | (options.min_gap_s == 0)
        usable = (near != query) & ~(turn > options.max_turn_deg) & other_visit
        usable &= photos.number[near] % options.anchor_step == 0
        found += _by_pass(photos, query, near[usable], options.pass_gap_s)
    return found


def _by_pass(photos: Photos, query: int, near: NDArray[np.intp], pass_gap_s: float) -> list[Candidate]:
    """The candidates of a query with the names of the passes that they belong to; near: in the order of time."""
    found: list[Candidate] = []
    last, visit = -1, 0
    for anchor in near.tolist():
        if last < 0 or photos.drive[last] != photos.drive[anchor]:
            visit = 0
        elif photos.time_s[anchor] - photos.time_s[last] > pass_gap_s:
            visit += 1
        found.append(Candidate(anchor, query, f"{photos.drive[anchor]}#{visit}"))
        last = anchor
    return found


@dataclass(frozen=True)
class GivenRange:
    """Consecutive photos of a drive, both ends included."""

    drive: str
    first: int
    last: int

    @property
    def name(self) -> str:
        """Of the range."""
        return f"{self.drive}:{self.first}-{self.last}"


def read_ranges(path: Path) -> list[tuple[GivenRange, GivenRange]]:
    """Pairs (anchor range, query range) from a JSON list of {"drive", "anchors": [a, b], "queries": [[c, d], …]}.

    `query_drive` names another drive for the queries.

    Raises:
        InputError: naming the entry, when a range is malformed or overlaps with another of its own entry.
    """
    entries = read_json(path, "no such file of ranges")
    pairs: list[tuple[GivenRange, GivenRange]] = []
    if not isinstance(entries, list) or not entries:
        raise InputError(f'{path}: expected a list of ranges, [{{"drive": …, "anchors": [a, b], "queries": [[c, d]]}}]')
    for i, entry in enumerate(entries):
        try:
            anchors = _range(entry["drive"], entry["anchors"])
            queries = [_range(entry.get("query_drive", entry["drive"]), ends) for ends in entry["queries"]]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"{path}: entry {i}: {error!r}; give drive, anchors [first, last] and queries [[first, last], …]"
            ) from None
        every = [anchors, *queries]
        for a, first in enumerate(every):
            for second in every[a + 1 :]:
                if first.drive == second.drive and first.first <= second.last and second.first <= first.last:
                    raise InputError(
                        f"{path}: entry {i}: {first.name} and {second.name} overlap; a photo would be paired with "
                        "itself or twice; make the ranges disjoint"
                    )
        pairs += [(anchors, query) for query in queries]
    return pairs


def candidates_of_ranges(
    photos: Photos, ranges: Sequence[tuple[GivenRange, GivenRange]], options: CandidateOptions
) -> list[Candidate]:
    """Every anchor with every query of the given ranges, at the steps; InputError for a range of no photo."""
    pairs: dict[tuple[int, int], Candidate] = {}
    for anchor_range, query_range in ranges:
        anchors = _rows(photos, anchor_range, options.anchor_step)
        for query in _rows(photos, query_range, options.query_step):
            for anchor in anchors:
                pairs.setdefault((query, anchor), Candidate(anchor, query, anchor_range.name))
    return [pairs[key] for key in sorted(pairs)]


def _rows(photos: Photos, wanted: GivenRange, step: int) -> list[int]:
    known = {name for name in photos.drive if name == wanted.drive or name.partition("/")[2] == wanted.drive}
    inside = [
        row
        for row, (drive, number) in enumerate(zip(photos.drive, photos.number.tolist(), strict=True))
        if drive in known and wanted.first <= number <= wanted.last
    ]
    if not inside:
        raise InputError(
            f"range {wanted.name}: no such photos; their numbers start at 0 in each of the drives "
            + ", ".join(sorted(set(photos.drive)))
        )
    return inside[::step]


def _range(drive: str, ends: Sequence[int]) -> GivenRange:
    first, last = (int(end) for end in ends)
    if not 0 <= first <= last:
        raise ValueError(f"{first}-{last} is no range")
    return GivenRange(str(drive), first, last)


def _time_s(anchor: Anchor) -> float:
    return NAN if anchor.captured_at is None else anchor.captured_at.timestamp()

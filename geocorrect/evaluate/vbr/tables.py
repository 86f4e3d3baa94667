"""The thesis' tables II–V and VII–IX, as queries on the table of answers, the scales, and what networks state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from geocorrect.depth.scale import ScaleHeuristic
from geocorrect.evaluate.metrics import MIN_AXIS_M, ErrorMedians, error_medians
from geocorrect.evaluate.render import TextTable, number, with_interval
from geocorrect.evaluate.table import Row
from geocorrect.evaluate.vbr.run import DriveEvaluation
from geocorrect.evaluate.vbr.training_sets import TRAINING_SETS, shared_training_sets
from geocorrect.report.statistics import median_of

Chosen = Callable[[Row], bool]


@dataclass(frozen=True)
class TestSet:
    """Rows that a table is about."""

    __test__ = False
    name: str
    caption: str
    holds: Chosen


TEST_SETS = (
    TestSet("test1", "test1 at random", lambda row: row.random_set == "test1"),
    TestSet("test2", "test2 at random, which contains test1", lambda row: row.random_set in ("test1", "test2")),
    TestSet("place", "test1 by place", lambda row: row.place_set == "test1"),
    TestSet("all", "all valid pairs, those of the training set among them", lambda row: True),
)


def scenes_of(rows: Sequence[Row]) -> list[str]:
    """Drives, in order."""
    return list(dict.fromkeys(row.scene for row in rows))


def depths_of(rows: Sequence[Row]) -> list[str]:
    """H, in order."""
    return list(dict.fromkeys(row.depth for row in rows))


def medians_of(rows: Sequence[Row], column: str) -> ErrorMedians:
    """Medians of a column; rows without a pose are failures."""
    return error_medians(getattr(row, column) for row in rows)


def median_of_answers(rows: Sequence[Row], column: str) -> float:
    """Median of a column over the rows that have a value."""
    return median_of(getattr(row, column) for row in rows).value


def result_tables(rows: Sequence[Row]) -> list[TextTable]:
    """II, VIII and IX on every set that there is, and by how much a split by place changes the medians."""
    found = []
    for chosen in TEST_SETS:
        kept = [row for row in rows if chosen.holds(row)]
        if kept:
            found += [_table_2(kept, chosen), _table_8(kept, chosen), _table_9(kept, chosen)]
    leak = _leak(rows)
    return [*found, leak] if leak.rows else found


def _cells(rows: Sequence[Row], cells: Callable[[list[Row]], tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """A line per H, the cells of all scenes side by side."""
    lines = []
    for depth in depths_of(rows):
        line: list[str] = [depth]
        for scene in scenes_of(rows):
            line += cells([row for row in rows if row.depth == depth and row.scene == scene])
        lines.append(tuple(line))
    return tuple(lines)


def _headings(rows: Sequence[Row], *columns: str) -> tuple[str, ...]:
    scenes = scenes_of(rows)
    return ("H", *(f"{scene}: {c}" if len(scenes) > 1 else c for scene in scenes for c in columns))


def _table_2(rows: Sequence[Row], chosen: TestSet) -> TextTable:
    def cells(group: list[Row]) -> tuple[str, ...]:
        moved = medians_of(group, "transform_m")
        return (
            str(len(group)), str(moved.n_failed), with_interval(moved.without_failures, 3),
            number(moved.with_failures.value, 3), number(median_of_answers(group, "centre_m"), 3),
            number(median_of_answers(group, "rotation_deg"), 2),
            number(median_of_answers(group, "abs_rel"), 3),
        )  # fmt: skip

    columns = ("n", "failed", "MTE m [95 %]", "MTE, failed = ∞", "centre m", "MRE °", "AbsRel")
    caption = f"Table II: median errors, {chosen.caption}"
    return TextTable(f"table_2_{chosen.name}", caption, _headings(rows, *columns), _cells(rows, cells))


def _table_8(rows: Sequence[Row], chosen: TestSet) -> TextTable:
    names = ("x_m", "y_m", "z_m", "transform_m")

    def cells(group: list[Row]) -> tuple[str, ...]:
        return tuple(number(median_of_answers(group, name), 3) for name in names)

    caption = f"Table VIII: median translation errors along the axes of the query camera, m, {chosen.caption}"
    return TextTable(f"table_8_{chosen.name}", caption, _headings(rows, "x", "y", "z", "MTE"), _cells(rows, cells))


def _table_9(rows: Sequence[Row], chosen: TestSet) -> TextTable:
    names = ("abs_rel_x", "abs_rel_y", "abs_rel_z", "abs_rel")
    predicted = [row for row in rows if row.n_depth]

    def cells(group: list[Row]) -> tuple[str, ...]:
        return tuple(number(median_of_answers(group, name), 3) for name in names)

    caption = (
        f"Table IX: AbsRel per axis, of true coordinates beyond {MIN_AXIS_M:g} m, and of points; medians over pairs, "
        f"{chosen.caption}"
    )
    return TextTable(f"table_9_{chosen.name}", caption, _headings(predicted, "x", "y", "z", "points"),
                     _cells(predicted, cells))  # fmt: skip


def _leak(rows: Sequence[Row]) -> TextTable:
    """MTE at random beside MTE by place. The scales of each split's own training set are compared with each other."""
    at_random, by_place = (
        [row for row in rows if chosen.holds(row)] for chosen in TEST_SETS if chosen.name in ("test1", "place")
    )
    lines = []
    if at_random and by_place:
        for depth in depths_of(at_random):
            partner = depth.replace("(train, random)", "(train, place)")
            if "(train, place)" not in depth:
                first = medians_of([row for row in at_random if row.depth == depth], "transform_m").without_failures
                second = medians_of([row for row in by_place if row.depth == partner], "transform_m").without_failures
                lines.append((depth.replace(", random", ""), with_interval(first, 3), with_interval(second, 3),
                              number(second.value - first.value, 3)))  # fmt: skip
    caption = "The leak: MTE m on the test set at random, by place, and their difference; all drives together"
    return TextTable("leak_results", caption, ("H", "at random", "by place", "difference"), tuple(lines))


def table_3(drives: Mapping[str, DriveEvaluation]) -> TextTable:
    """Median and variance of the per-axis L1 factors of every prediction."""
    lines = []
    for scene, drive in drives.items():
        for name, measured in drive.scales.items():
            train = {(p.anchor_id, p.query_id) for p in drive.pairs if p.random_set == "train"}
            for what, keys in (("all valid pairs", set(measured)), ("train", train & set(measured))):
                if keys:
                    factors = np.array([measured[key][ScaleHeuristic.PER_AXIS_L1].factors for key in sorted(keys)])
                    both = zip(np.median(factors, axis=0), factors.var(axis=0), strict=True)
                    texts = (f"{median:.3f} ({variance:.4f})" for median, variance in both)
                    lines.append((f"{scene}, {name}, {what}", str(len(keys)), *texts))
    headings = ("scene, prediction, pairs", "n", "x", "y", "z")
    return TextTable("table_3", "Table III: per-axis L1 factors, median (variance)", headings, tuple(lines))


def training_tables() -> list[TextTable]:
    """Tables IV and V: what the networks were trained on, and which data more than one of them has seen."""
    sets = tuple((network, ", ".join(names)) for network, names in TRAINING_SETS.items())
    shared = tuple(
        (name, *("✓" if network in networks else "–" for network in TRAINING_SETS))
        for name, networks in shared_training_sets().items()
    )
    return [
        TextTable("table_4", "Table IV: training data of the networks, as published", ("network", "data sets"), sets),
        TextTable("table_5", "Table V: data sets that several were trained on", ("data set", *TRAINING_SETS), shared),
    ]


def manifest(drives: Mapping[str, DriveEvaluation], about: Mapping[str, object]) -> TextTable:
    """Table VII: everything that the numbers depend on."""
    lines = [(name, str(value)) for name, value in about.items()]
    for scene, drive in drives.items():
        settings = drive.settings.localize
        lines += [
            (f"{scene}: matcher", drive.matcher.fingerprint),
            (f"{scene}: estimator", f"{settings.estimator}: {drive.estimator.fingerprint}"),
            (f"{scene}: pairs verified by", str(drive.settings.match.verify)),
            *((f"{scene}: {name}", source.fingerprint) for name, source in drive.sources.items()),
        ]
    return TextTable("table_7", "Table VII: the configuration", ("what", "value"), tuple(lines))

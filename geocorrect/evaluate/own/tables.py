"""What a user wants to know of their own drive: errors, decisions, false accepts, calibration; queries on the table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from geocorrect.errors import Reason, Status
from geocorrect.evaluate.metrics import error_medians
from geocorrect.evaluate.render import Picture, TextTable, number, with_interval
from geocorrect.evaluate.table import Row
from geocorrect.records import NAN
from geocorrect.report.statistics import FALSE_ACCEPT_M, by_frequency, median_of, percentile_of, share_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DISTANCES_M = (0.0, 2.0, 5.0, 10.0, 20.0, np.inf)
"""Classes of the distance to the nearest anchor in use."""
CHI2_3 = {50: 2.366, 68: 3.506, 95: 7.815}
"""Quantiles of χ² with three degrees of freedom, by their percentage."""
HEADINGS = ("n", "accepted", "review", "no answer", "false accepts", "median m [95 %]", "median, rest = ∞",
            "95th percentile m", "rotation °")  # fmt: skip


def accepted(rows: Sequence[Row]) -> list[Row]:
    """Those that would be published."""
    return [row for row in rows if row.status == Status.ACCEPTED]


def with_all_anchors(rows: Sequence[Row]) -> list[Row]:
    """Of every photo and gap the row with most anchors: the ordinary configuration."""
    best: dict[tuple[str, float], Row] = {}
    for row in rows:
        key = (row.query_id, row.gap_m)
        if key not in best or row.n_anchors > best[key].n_anchors:
            best[key] = row
    return list(best.values())


def tables(rows: Sequence[Row]) -> list[TextTable]:
    """All tables of the leave-out protocol."""
    full = with_all_anchors(rows)
    found = [
        _grouped("own_gap", "By gap: anchors nearer than this to the photo were left out with it", "gap m", full,
                 lambda row: row.gap_m, lambda gap_m: f"{gap_m:g}"),
        _grouped("own_anchors", "By number of anchors that the photo was localised from, all gaps together", "anchors",
                 [row for row in rows if row.n_anchors], lambda row: row.n_anchors, lambda n: f"{n:g}"),
        _grouped("own_distance", "By distance to the nearest anchor in use", "distance m",
                 [row for row in full if row.n_anchors], _distance_class, _distance_name),
        _grouped("own_drive", "By drive", "drive", full, lambda row: row.scene, str),
        _calibration(accepted(full)),
        _reasons(full),
    ]  # fmt: skip
    return [table for table in found if table.rows]


def _grouped(
    name: str, caption: str, heading: str, rows: Sequence[Row], key: Callable[[Row], Any], text: Callable[[Any], str]
) -> TextTable:
    lines = []
    for value in sorted({key(row) for row in rows}):
        lines.append((text(value), *_summary([row for row in rows if key(row) == value])))
    return TextTable(name, caption, (heading, *HEADINGS), tuple(lines))


def _summary(rows: Sequence[Row]) -> tuple[str, ...]:
    good = accepted(rows)
    counts = Counter(row.status for row in rows)
    medians = error_medians(row.centre_m if row.status == Status.ACCEPTED else NAN for row in rows)
    return (
        str(len(rows)),
        f"{share_of(len(good), len(rows)).value:.0%}",
        str(counts[Status.REVIEW]),
        str(counts[Status.REJECTED]),
        str(len(false_accepts(rows))),
        with_interval(medians.without_failures, 3),
        number(medians.with_failures.value, 3),
        number(percentile_of((row.centre_m for row in good), 95.0), 3),
        number(median_of(row.rotation_deg for row in good).value, 3),
    )


def false_accepts(rows: Sequence[Row]) -> list[Row]:
    """Accepted positions that are wrong by more than a metre, horizontally."""
    return [row for row in accepted(rows) if row.horizontal_m > FALSE_ACCEPT_M]


def _distance_class(row: Row) -> float:
    return float(np.searchsorted(DISTANCES_M, row.baseline_m, side="right") - 1)


def _distance_name(number_of_class: float) -> str:
    low, high = DISTANCES_M[int(number_of_class)], DISTANCES_M[int(number_of_class) + 1]
    return f"{low:g}–{high:g}" if np.isfinite(high) else f"over {low:g}"


def coverage(rows: Sequence[Row]) -> dict[int, float]:
    """Share of the three-dimensional errors inside the stated ellipsoid of 50, 68 and 95 %."""
    return {percent: share_of(sum(r.chi2 <= limit for r in rows), len(rows)).value for percent, limit in CHI2_3.items()}


def _calibration(rows: Sequence[Row]) -> TextTable:
    """By thirds of the stated error: what is said to be worse should turn out worse."""
    ordered = sorted(rows, key=lambda row: (row.expected_m, row.query_id, row.gap_m))
    thirds = [part for part in np.array_split(np.arange(len(ordered)), 3) if len(part)]
    groups = {f"third {i}": [ordered[j] for j in part] for i, part in enumerate(thirds, 1)} | {"all": ordered}
    lines = []
    for name, group in groups.items():
        if not group:
            continue
        within = share_of(sum(row.horizontal_m <= row.expected_m for row in group), len(group))
        inside = coverage(group)
        lines.append((
            name, str(len(group)), number(median_of(r.expected_m for r in group).value, 3),
            number(percentile_of((r.horizontal_m for r in group), 68.0), 3),
            f"{within.value:.0%} [{within.low:.0%}–{within.high:.0%}]", *(f"{inside[p]:.0%}" for p in CHI2_3),
        ))  # fmt: skip
    headings = ("stated error", "n", "stated m (median)", "real m (68th percentile)", "within stated (68 % promised)",
                *(f"in {p} % ellipsoid" for p in CHI2_3))  # fmt: skip
    return TextTable("own_calibration", "Do the stated errors of accepted photos hold?", headings, tuple(lines))


def _reasons(rows: Sequence[Row]) -> TextTable:
    counts = by_frequency(Counter(row.reason for row in rows if row.reason))
    return TextTable("own_reasons", "Why photos got no pose", ("reason", "n"), tuple((r, str(n)) for r, n in counts))


def sentences(rows: Sequence[Row], n_anchors: int) -> list[str]:
    """The answer in words."""
    full = with_all_anchors(rows)
    good, wrong = accepted(full), false_accepts(full)
    tried = [row for row in full if row.reason != Reason.NO_ANCHOR_NEARBY]
    said = [
        f"{len({row.query_id for row in rows})} of {n_anchors} anchors were left out one by one: {len(tried)} attempts "
        f"over all gaps, and {len(full) - len(tried)} times no anchor was left in reach",
        f"accepted: {len(good)} of {len(tried)} attempts" + (f" ({len(good) / len(tried):.0%})" if tried else ""),
    ]
    if good:
        median = error_medians(row.centre_m for row in good).without_failures
        within = share_of(sum(row.horizontal_m <= row.expected_m for row in good), len(good))
        said += [
            f"median error of the accepted: {with_interval(median, 3)} m; of the reported positions: "
            f"{median_of(row.reported_m for row in full).value:.2f} m",
            f"stated errors (68 %) held for {within.value:.0%} [{within.low:.0%}–{within.high:.0%}]",
        ]
    named = [f"{row.query_id} at gap {row.gap_m:g} m by {row.horizontal_m:.1f} m" for row in wrong[:5]]
    return [*said, "; ".join([f"false accepts (over {FALSE_ACCEPT_M:g} m): {len(wrong)}", *named])]


def notes(rows: Sequence[Row]) -> list[str]:
    """What the figures do and do not say."""
    first = rows[0]
    said = [
        f"matcher {first.matcher}, depth {first.depth}, estimator {first.estimator}, "
        f"configuration {first.config_hash}, seed {first.seed}",
        "photos and anchors come from the same camera on the same day with the same calibration: strangers' photos "
        "match worse, this is a bound from above",
        "the error of the georeference itself is shared by photo and anchors and in none of these figures",
    ]
    if any(row.depth_is_oracle for row in rows):
        said.append("depth was measured by the anchors' laser scanner (oracle): no camera-only system would know it")
    return said


def pictures(rows: Sequence[Row]) -> list[Picture]:
    """Error distributions by gap; stated against real error."""
    good = accepted(with_all_anchors(rows))
    if not good:
        return []

    def cumulative(figure: Figure) -> None:
        axes = figure.subplots()
        for gap_m in sorted({row.gap_m for row in rows}):
            tried = [row for row in with_all_anchors(rows) if row.gap_m == gap_m]
            errors = np.sort([row.centre_m for row in accepted(tried)])
            if len(errors):
                share = np.arange(1, len(errors) + 1) / len(tried)
                axes.step(errors, share, where="post", label=f"gap {gap_m:g} m, n = {len(tried)}")
        axes.set(xscale="log", ylim=(0, 1), xlabel="error of the camera centre, m", ylabel="share of photos")
        axes.legend(loc="lower right")

    def stated(figure: Figure) -> None:
        axes = figure.subplots()
        expected, real = (np.array([getattr(r, name) for r in good]) for name in ("expected_m", "horizontal_m"))
        axes.scatter(expected, np.maximum(real, 1e-4), s=10, alpha=0.6)
        ends = [min(expected.min(), 1e-3), max(expected.max(), real.max())]
        axes.plot(ends, ends, "k--", linewidth=1)
        axes.set(xscale="log", yscale="log", xlabel="stated horizontal error (68 %), m", ylabel="real, m")

    shares = "Share of photos that were accepted with at most this error, by gap"
    line = f"Stated against real error of {len(good)} accepted photos; 68 % should lie below the line"
    return [
        Picture("own_errors", shares, (6, 3.6), cumulative),
        Picture("own_stated", line, (5, 4), stated),
    ]

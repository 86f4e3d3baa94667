"""Other configurations on the same left-out photos: one table of all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from geocorrect.config import DEFAULT_FILE, Settings, load_settings
from geocorrect.errors import Status, UsageError
from geocorrect.evaluate.metrics import error_medians
from geocorrect.evaluate.own.tables import accepted, false_accepts
from geocorrect.evaluate.render import TextTable, number, with_interval
from geocorrect.evaluate.table import Row
from geocorrect.report.statistics import median_of

HEADINGS = ("configuration", "estimator", "depth", "anchors", "n", "accepted", "false accepts", "answered",
            "median m [95 %]", "rest = ∞", "largest m", "rotation °")  # fmt: skip


def configurations(settings: Settings, file: Path | None, others: Sequence[Path]) -> dict[str, Settings]:
    """All configurations by the names of their files, that of the command first.

    Raises:
        UsageError: two files have one name.
        ConfigError: a file cannot be read or is wrong.
    """
    found = {(file or DEFAULT_FILE).stem: settings}
    for other in others:
        if other.stem in found:
            raise UsageError(f"--beside {other}: another configuration is called {other.stem}, too; rename the file")
        found[other.stem] = load_settings(other).settings
    return found


def table(rows: Mapping[str, Sequence[Row]]) -> TextTable:
    """A line per configuration and number of anchors; photos that no anchor is near are left out.

    Args:
        rows: Of each configuration, by its name.
    """
    lines = []
    for name, own in rows.items():
        for count in sorted({row.n_anchors for row in own if row.n_anchors}):
            lines.append((name, *_line([row for row in own if row.n_anchors == count])))
    caption = (
        "Configurations on the same photos. Answered: accepted or for review; errors are theirs; oracle: from scans"
    )
    return TextTable("own_configurations", caption, HEADINGS, tuple(lines))


def _line(rows: Sequence[Row]) -> tuple[str, ...]:
    first = rows[0]
    answered = [row for row in rows if row.status != Status.REJECTED]
    medians = error_medians(row.centre_m for row in rows)
    is_oracle = any(row.depth_is_oracle for row in rows)
    return (
        first.estimator,
        first.depth + (" (oracle)" if is_oracle else ""),
        *(str(n) for n in (first.n_anchors, len(rows), len(accepted(rows)), len(false_accepts(rows)), len(answered))),
        with_interval(medians.without_failures, 3),
        number(medians.with_failures.value, 3),
        number(max((row.centre_m for row in answered), default=float("nan")), 3),
        number(median_of(row.rotation_deg for row in answered).value, 3),
    )

"""What the sequence step did, human-readable and for --json."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from geocorrect.catalog.sequences import SequenceFinding
from geocorrect.errors import ExitCode
from geocorrect.sequences.decide import Change


@dataclass
class SequenceReport:
    """What the step did, and how it ended."""

    run_key: str = ""
    n_sequences: int = 0
    """With results."""
    n_due: int = 0
    n_held: int = 0
    """Sequences whose results a person rolled back; they are left alone."""
    n_done: int = 0
    changes: Counter[str] = field(default_factory=Counter)
    """Photos by `Change`."""
    silent: Counter[str] = field(default_factory=Counter)
    """Sequences about which nothing could be said, by why."""
    findings: tuple[SequenceFinding, ...] = ()
    """All that are active now."""
    dry_run: bool = False
    exit_code: ExitCode = ExitCode.OK

    def as_json(self) -> dict[str, Any]:
        """Plain values for --json."""
        return {
            **{name: getattr(self, name) for name in ("run_key", "n_sequences", "n_due", "n_held", "n_done")},
            **{f"n_{change.value}": self.changes[change.value] for change in Change},
            "silent": dict(sorted(self.silent.items())),
            "dry_run": self.dry_run,
            "exit_code": int(self.exit_code),
            "sequences": [asdict(finding) for finding in self.findings],
        }

    def sentence(self) -> str:
        """Human-readable, a line per fact."""
        if self.dry_run:
            return f"{self.n_due} of {self.n_sequences} sequences are due"
        lines = []
        if self.n_due:
            counts = {change.value: self.changes[change.value] for change in Change}
            changed = ", ".join(f"{count} {change}" for change, count in counts.items() if count)
            lines.append(f"{self.n_done} of {self.n_due} due sequences computed; photos: {changed or 'none changed'}")
            lines += [f"{count} sequences say nothing: {why}" for why, count in sorted(self.silent.items())]
        else:
            lines.append(f"no sequence is due ({self.n_sequences} with results)")
        if self.n_held:
            lines.append(
                f"{self.n_held} sequences are left as they are: their results were rolled back (`geocorrect db runs`)"
            )
        if self.exit_code is ExitCode.OK and self.n_done < self.n_due:
            lines.append(f"{self.n_due - self.n_done} are left; run the same command again to go on")
        if self.exit_code is not ExitCode.OK:
            lines.append("stopped on request; run the same command again to go on")
        return "\n".join(lines)


_HEADER = [
    "sequence", "device", "photos", "results", "agree", "placed", "sharper", "flagged", "doubted",
    "east m", "north m", "spread m", "heading °", "lag s", "motion",
]  # fmt: skip
_TEXT_COLUMNS = {0, 1, len(_HEADER) - 1}


def finding_lines(findings: Sequence[SequenceFinding]) -> list[str]:
    """A table with a line per sequence, most photos first. Signs: corrected minus reported."""
    if not findings:
        return []
    rows = [_HEADER, *(_cells(f) for f in sorted(findings, key=lambda f: (-f.n_photos, f.sequence_id)))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    lines = []
    for row in rows:
        cells = enumerate(zip(row, widths, strict=True))
        aligned = [cell.ljust(w) if column in _TEXT_COLUMNS else cell.rjust(w) for column, (cell, w) in cells]
        lines.append("  ".join(aligned).rstrip())
    return lines


def _cells(f: SequenceFinding) -> list[str]:
    counts = (f.n_photos, f.n_results, f.n_trusted, f.n_placed, f.n_sharpened, f.n_flagged, f.n_doubted)
    device = " ".join(word for word in (f.device_make, f.device_model) if word) or "-"
    measures = ((f.median_east_m, 2), (f.median_north_m, 2), (f.spread_m, 2), (f.heading_bias_deg, 1), (f.lag_s, 2))
    shown = ["-" if value != value else f"{value:.{digits}f}" for value, digits in measures]
    return [f.sequence_id[:22], device[:24], *map(str, counts), *shown, f.note or f.motion]

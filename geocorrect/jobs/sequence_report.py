"""What the sequence step did, for people and for machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from geocorrect.catalog.sequences import SequenceFinding
from geocorrect.errors import ExitCode
from geocorrect.sequences.decide import Change


@dataclass
class SequenceSummary:
    """What the step did. n_held: sequences whose results a person rolled back; changes: photos by `Change`."""

    run_key: str = ""
    n_sequences: int = 0
    n_due: int = 0
    n_held: int = 0
    n_done: int = 0
    changes: Counter[str] = field(default_factory=Counter)
    silent: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> dict[str, object]:
        """Plain values for --json."""
        counts = {f"n_{change.value}": self.changes[change.value] for change in Change}
        own = {name: value for name, value in asdict(self).items() if name not in ("changes", "silent")}
        return own | counts | {"silent": dict(sorted(self.silent.items()))}


@dataclass(frozen=True)
class SequenceOutcome:
    """What the step did, the findings in force, and how the process should end."""

    summary: SequenceSummary
    findings: tuple[SequenceFinding, ...] = ()
    exit_code: ExitCode = ExitCode.OK
    dry_run: bool = False

    def as_json(self) -> dict[str, Any]:
        """Plain values for --json."""
        listed = [asdict(finding) for finding in self.findings]
        return {
            **self.summary.as_json(), "dry_run": self.dry_run, "exit_code": int(self.exit_code), "sequences": listed,
        }  # fmt: skip

    def sentence(self) -> str:
        """For people."""
        s = self.summary
        if self.dry_run:
            return f"{s.n_due} of {s.n_sequences} sequences are due"
        lines = []
        if s.n_due:
            changed = ", ".join(
                f"{s.changes[change.value]} {change.value}" for change in Change if s.changes[change.value]
            )
            lines.append(f"{s.n_done} of {s.n_due} due sequences computed; photos: {changed or 'none changed'}")
            lines += [f"{count} sequences say nothing: {why}" for why, count in sorted(s.silent.items())]
        else:
            lines.append(f"no sequence is due ({s.n_sequences} with results)")
        if s.n_held:
            lines.append(
                f"{s.n_held} sequences are left as they are: their results were rolled back (`geocorrect db runs`)"
            )
        if self.exit_code is ExitCode.OK and s.n_done < s.n_due:
            lines.append(f"{s.n_due - s.n_done} are left; run the same command again to go on")
        if self.exit_code is not ExitCode.OK:
            lines.append("stopped on request; run the same command again to go on")
        return "\n".join(lines)


def finding_lines(findings: Sequence[SequenceFinding]) -> list[str]:
    """A table for people: a line per sequence, most photos first. Signs: corrected minus reported."""
    if not findings:
        return []
    rows = [_HEADER, *(_cells(f) for f in sorted(findings, key=lambda f: (-f.n_photos, f.sequence_id)))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    aligned = [
        [
            cell.ljust(w) if column in _TEXT_COLUMNS else cell.rjust(w)
            for column, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        for row in rows
    ]
    return ["  ".join(row).rstrip() for row in aligned]


_HEADER = [
    "sequence", "device", "photos", "results", "agree", "placed", "sharper", "flagged", "doubted",
    "east m", "north m", "spread m", "heading °", "lag s", "motion",
]  # fmt: skip
_TEXT_COLUMNS = {0, 1, len(_HEADER) - 1}


def _cells(f: SequenceFinding) -> list[str]:
    counts = (f.n_photos, f.n_results, f.n_trusted, f.n_placed, f.n_sharpened, f.n_flagged, f.n_doubted)
    device = " ".join(word for word in (f.device_make, f.device_model) if word) or "-"
    measures = ((f.median_east_m, 2), (f.median_north_m, 2), (f.spread_m, 2), (f.heading_bias_deg, 1), (f.lag_s, 2))
    told = ["-" if value != value else f"{value:.{digits}f}" for value, digits in measures]
    return [f.sequence_id[:22], device[:24], *map(str, counts), *told, f.note or f.motion]

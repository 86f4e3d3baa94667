"""What a job did: workers' results are added to it, and sentences, --json and metrics are read from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from geocorrect.catalog.sequences import SequenceFinding
from geocorrect.errors import ExitCode, GeocorrectError, Reason, Status
from geocorrect.harvest.report import HarvestReport
from geocorrect.records import Correction
from geocorrect.sequences.decide import Change
from geocorrect.workers.worker import Outcome

STOPPED = (ExitCode.INTERRUPTED, ExitCode.TERMINATED)


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


@dataclass
class CorrectReport:
    """What the correction of single photos did, and how it ended."""

    run_key: str = ""
    n_due: int = 0
    """Images that were due when it began, whatever it was allowed to do."""
    by_status: Counter[Status] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    """Rejections by reason."""
    unusable_anchors: set[str] = field(default_factory=set)
    """Messages about anchor files that could not be read."""
    stage_photos: Counter[str] = field(default_factory=Counter)
    """Photos that each stage of a cascade was tried on; empty without a cascade."""
    stage_cpu_s: dict[str, float] = field(default_factory=dict)
    """Processor seconds of each stage."""
    dry_run: bool = False
    causes: Mapping[str, int] = field(default_factory=dict)
    """Of a dry run: due photos by why they are due."""
    exit_code: ExitCode = ExitCode.OK

    @property
    def n_computed(self) -> int:
        """Images that got a result."""
        return self.by_status.total()

    @property
    def rejected_share(self) -> float:
        """Rejected among computed, 0 when nothing was computed."""
        return self.by_status[Status.REJECTED] / self.n_computed if self.n_computed else 0.0

    def add(self, outcome: Outcome) -> None:
        """Count one outcome."""
        result = outcome.result
        if isinstance(result, Correction):
            self.by_status[result.status] += 1
        else:
            self.by_status[Status.REJECTED] += 1
            self.reasons[result.reason.value] += 1
        self.unusable_anchors.update(outcome.unusable_anchors)
        self.stage_photos.update(dict.fromkeys(outcome.cpu_s, 1))
        for stage, cpu_s in outcome.cpu_s.items():
            self.stage_cpu_s[stage] = self.stage_cpu_s.get(stage, 0.0) + cpu_s

    def end(self, stopped: ExitCode | None, max_rejected_share: float) -> None:
        """Decide the exit code: a signal, a bug, unreadable anchors, too many rejections."""
        if stopped is not None:
            self.exit_code = stopped
        elif self.reasons[Reason.INTERNAL_ERROR.value]:
            self.exit_code = ExitCode.PROGRAMMING_ERROR
        elif self.unusable_anchors:
            self.exit_code = ExitCode.INPUT
        elif self.rejected_share > max_rejected_share:
            self.exit_code = ExitCode.TOO_MANY_REJECTED

    def as_json(self) -> Mapping[str, object]:
        """Plain values for --json."""
        return {
            "run_key": self.run_key,
            "n_due": self.n_due,
            "n_computed": self.n_computed,
            **{f"n_{status}": self.by_status[status] for status in Status},
            "reasons": dict(sorted(self.reasons.items())),
            "unusable_anchors": sorted(self.unusable_anchors),
            "stages": {
                stage: {"n_photos": count, "cpu_s": round(self.stage_cpu_s[stage], 3)}
                for stage, count in self.stage_photos.items()
            },
            "dry_run": self.dry_run,
            **({"causes": dict(self.causes)} if self.dry_run else {}),
            "exit_code": int(self.exit_code),
        }

    def sentence(self) -> str:
        """Human-readable, a line per fact."""
        if self.dry_run:
            return "\n".join([f"{self.n_due} images are due", *(f"  {n}: {why}" for why, n in self.causes.items())])
        if not self.n_due and self.exit_code in STOPPED:
            return "stopped on request before anything was corrected; run the same command again to go on"
        if not self.n_due:
            return "nothing is due: every image has a result under this configuration"
        reasons = ", ".join(f"{reason} {count}" for reason, count in self.reasons.most_common())
        text = (
            f"{self.n_computed} of {self.n_due} due images computed: {self.by_status[Status.ACCEPTED]} accepted, "
            f"{self.by_status[Status.REVIEW]} for review, {self.by_status[Status.REJECTED]} rejected"
        )
        lines = [text + (f" ({reasons})" if reasons else "")]
        if self.stage_photos:
            costs = (
                f"{stage} {count} photos, {self.stage_cpu_s[stage] / count:.1f} s each"
                for stage, count in self.stage_photos.items()
            )
            lines.append(f"processor time of the cascade: {'; '.join(costs)}")
        lines += [f"unusable {message}" for message in sorted(self.unusable_anchors)]
        if n_bugs := self.reasons[Reason.INTERNAL_ERROR.value]:
            lines.append(f"geocorrect failed on {n_bugs} of them: a bug; please report the tracebacks of the log")
        if self.exit_code is ExitCode.TOO_MANY_REJECTED:
            lines.append(f"more than the allowed share was rejected ({self.rejected_share:.0%})")
        if self.exit_code in STOPPED:
            lines.append("stopped on request; run the same command again to go on")
        elif self.n_computed < self.n_due:
            lines.append(f"{self.n_due - self.n_computed} are left; run the same command again to go on")
        return "\n".join(lines)


@dataclass
class JobReport:
    """What each step of the scheduled job did."""

    correct: CorrectReport = field(default_factory=CorrectReport)
    harvest: HarvestReport | None = None
    """None when no area is configured or the harvest failed."""
    harvest_error: GeocorrectError | None = None
    """Why there was no harvest."""
    sequences: SequenceReport | None = None
    """None when that step is switched off or the job was stopped before it."""
    exported: dict[Path, int] = field(default_factory=dict)
    """Results per file."""
    export_errors: dict[Path, GeocorrectError] = field(default_factory=dict)
    """Why a file was not written."""
    stopped: ExitCode | None = None
    """By which signal."""

    @property
    def exit_code(self) -> ExitCode:
        """The most severe: a signal, then that of the correction, the sequences, files, the harvest, holes in it."""
        files = self.export_errors.values()
        steps = (self.stopped, self.correct, self.sequences, *files, self.harvest_error, self.harvest)
        codes = [step if isinstance(step, ExitCode) else step.exit_code for step in steps if step is not None]
        return next((code for code in codes if code is not ExitCode.OK), ExitCode.OK)

    def as_json(self) -> Mapping[str, object]:
        """Plain values for --json."""
        return {
            "harvest": None if self.harvest is None else self.harvest.as_dict(),
            "harvest_error": None if self.harvest_error is None else str(self.harvest_error),
            "correct": self.correct.as_json(),
            "sequences": None if self.sequences is None else self.sequences.as_json(),
            "export": {str(path): count for path, count in self.exported.items()},
            "export_errors": {str(path): str(error) for path, error in self.export_errors.items()},
            "exit_code": int(self.exit_code),
        }

    def sentence(self) -> str:
        """Human-readable, a line per step."""
        if self.harvest_error is not None:
            lines = [f"not harvested: {self.harvest_error}; the photos that were there are corrected"]
        else:
            lines = ["no [area] configured: nothing harvested" if self.harvest is None else self.harvest.sentence()]
        lines.append(self.correct.sentence())
        lines += [] if self.sequences is None else [self.sequences.sentence()]
        lines += [f"{count} results written to {path}" for path, count in self.exported.items()]
        return "\n".join(lines + [f"not exported: {error}" for error in self.export_errors.values()])

"""What a job did: workers' results are added to it, and sentences, --json and metrics are read from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from geocorrect.errors import ExitCode, GeocorrectError, Reason, Status
from geocorrect.harvest.report import HarvestReport
from geocorrect.jobs.sequence_report import SequenceReport
from geocorrect.records import Correction
from geocorrect.workers.worker import Outcome

STOPPED = (ExitCode.INTERRUPTED, ExitCode.TERMINATED)


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
            "exit_code": int(self.exit_code),
        }

    def sentence(self) -> str:
        """Human-readable, a line per fact."""
        if self.dry_run:
            return f"{self.n_due} images are due"
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
    stopped: ExitCode | None = None
    """By which signal."""

    @property
    def exit_code(self) -> ExitCode:
        """The most severe: a signal, then that of the correction, the sequences, the harvest, holes in it."""
        steps = (self.stopped, self.correct, self.sequences, self.harvest_error, self.harvest)
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
        return "\n".join(lines + [f"{count} results written to {path}" for path, count in self.exported.items()])

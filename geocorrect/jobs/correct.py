"""The correction job as a scheduler sees it: signals, exit code, one sentence about what was done."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from geocorrect.catalog.store import Catalog
from geocorrect.config import Settings
from geocorrect.errors import ExitCode, Reason
from geocorrect.jobs.context import JobContext, use_or_create
from geocorrect.jobs.duration import seconds
from geocorrect.jobs.run import RunSummary, plan_run, run_batch
from geocorrect.jobs.run_identity import present_run_key

STOPPED = (ExitCode.INTERRUPTED, ExitCode.TERMINATED)


@dataclass(frozen=True)
class JobOutcome:
    """What the job did and how the process should end."""

    summary: RunSummary
    exit_code: ExitCode
    dry_run: bool = False

    def as_json(self) -> dict[str, object]:
        """Plain values for --json."""
        return {**self.summary.as_json(), "dry_run": self.dry_run, "exit_code": int(self.exit_code)}

    def sentence(self) -> str:
        """For people."""
        s = self.summary
        if self.dry_run:
            return f"{s.n_due} images are due"
        if not s.n_due and self.exit_code in STOPPED:
            return "stopped on request before anything was corrected; run the same command again to go on"
        if not s.n_due:
            return "nothing is due: every image has a result under this configuration"
        reasons = ", ".join(f"{reason} {count}" for reason, count in s.reasons.most_common())
        text = (
            f"{s.n_computed} of {s.n_due} due images computed: {s.n_accepted} accepted, {s.n_review} for review, "
            f"{s.n_rejected} rejected" + (f" ({reasons})" if reasons else "")
        )
        lines = [text, *(f"unusable {message}" for message in sorted(s.unusable_anchors))]
        if n_bugs := s.reasons[Reason.INTERNAL_ERROR.value]:
            lines.append(f"geocorrect failed on {n_bugs} of them: a bug; please report the tracebacks of the log")
        if self.exit_code is ExitCode.TOO_MANY_REJECTED:
            lines.append(f"more than the allowed share was rejected ({s.rejected_share:.0%})")
        if self.exit_code in STOPPED:
            lines.append("stopped on request; run the same command again to go on")
        elif s.n_computed < s.n_due:
            lines.append(f"{s.n_due - s.n_computed} are left; run the same command again to go on")
        return "\n".join(lines)


@dataclass(frozen=True)
class RunLimits:
    """How much a job may do: images, and seconds counted from when this object is made."""

    max_images: int | None = None
    max_runtime_s: float = math.inf
    began_s: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, max_images: int | None, max_runtime: str | None) -> RunLimits:
        """As typed, the time like 90s, 30m, 2h; UsageError when it is no duration."""
        return cls(max_images, math.inf if max_runtime is None else seconds(max_runtime))

    @property
    def left_s(self) -> float:
        """Seconds left."""
        return max(0.0, self.max_runtime_s - (time.monotonic() - self.began_s))


def correct_due(
    settings: Settings,
    catalog: Catalog,
    *,
    allowance: RunLimits | None = None,
    dry_run: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, due: None,
    session: JobContext | None = None,
) -> JobOutcome:
    """Correct what is due; Ctrl-C and SIGTERM finish the images at hand and end with 130 or 143.

    allowance: do no more than that; what is left is no failure, the next run goes on. session: of the job that this is
    a step of. Raises SceneBusyError when another run holds the scene.
    """
    allowance = allowance or RunLimits()
    if dry_run:
        planned = plan_run(settings, catalog)
        key = present_run_key(planned.description, catalog)
        return JobOutcome(RunSummary(key, n_due=len(planned.plan)), ExitCode.OK, dry_run=True)
    with use_or_create(session, catalog, allowance.left_s) as work:

        def stored(done: int, todo: int) -> None:
            work.hold.keep()
            on_progress(done, todo)

        summary = run_batch(settings, catalog, work.stop, stored, allowance.max_images)
    return JobOutcome(summary, work.stop.exit_code or _exit_code(summary, settings))


def _exit_code(summary: RunSummary, settings: Settings) -> ExitCode:
    if summary.reasons[Reason.INTERNAL_ERROR.value]:
        return ExitCode.PROGRAMMING_ERROR
    if summary.unusable_anchors:
        return ExitCode.INPUT
    if summary.rejected_share > settings.batch.max_rejected_share:
        return ExitCode.TOO_MANY_REJECTED
    return ExitCode.OK

"""The sequence step: after the photos on their own, every recording as a whole. Run again, only what changed is done.

Results of photos stay as they are; what a sequence adds is a run of its own that depends on their runs, so that one
roll back takes it back. A sequence is due when the newest finding about it depends on other input than there is now.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

from geocorrect import __version__
from geocorrect.catalog.run import RunManifest
from geocorrect.catalog.sequences import SequenceStore
from geocorrect.catalog.store import Catalog
from geocorrect.config import Settings
from geocorrect.errors import ExitCode, Reason, Status
from geocorrect.geometry.frame import Frame
from geocorrect.jobs.context import JobContext, use_or_create
from geocorrect.jobs.report import SequenceReport
from geocorrect.jobs.run_identity import METHOD_VERSION, run_record
from geocorrect.localize.options import GateOptions
from geocorrect.records import SEQUENCE_MATCHER, Rejection, Result
from geocorrect.sequences.compute import compute_sequence, finding_of
from geocorrect.sequences.input import ClusterPoses, cluster_poses, input_hash, sequence_photos
from geocorrect.sequences.options import SequenceOptions

NO_LONGER = "its sequence placed this photo before and no longer does"
_USABLE = {Status.ACCEPTED.value, Status.REVIEW.value}


@dataclass(frozen=True)
class DueSequence:
    """A sequence to compute, and the hash of everything that its results depend on. Not its photos: a city has many."""

    sequence_id: str
    n_photos: int
    input_hash: str


def adjust_due_sequences(
    settings: Settings,
    catalog: Catalog,
    *,
    dry_run: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, due: None,
    context: JobContext | None = None,
) -> SequenceReport:
    """Compute every sequence that is due; Ctrl-C and SIGTERM finish the sequence at hand and end with 130 or 143.

    context: of the job that this is a step of. Raises SceneBusyError when another run has the scene, InputError for a
    damaged cluster file.
    """
    step = _Step(settings, catalog)
    if dry_run:
        step.plan()
        step.report.dry_run = True
    else:
        with use_or_create(context, catalog) as own:
            step.plan()
            step.run(own, on_progress)
            step.report.exit_code = own.stop.exit_code or ExitCode.OK
    step.report.findings = tuple(step.store.current())
    return step.report


class _Step:
    """One start of the step."""

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        self.settings, self.catalog, self.store = settings, catalog, SequenceStore(catalog)
        self.options: SequenceOptions = settings.sequence
        self.config_key = _config_key(self.options, settings.localize.gate)
        self.report = SequenceReport()
        self.due: list[DueSequence] = []
        self.bases: set[str] = set()
        self.frame: Frame | None = catalog.frame()
        self.clusters: ClusterPoses = {}

    def plan(self) -> None:
        """Find what is due: sequences with enough results of photos whose newest finding depends on other input."""
        if self.frame is None:
            return
        self.clusters = cluster_poses(self.settings.images.folder / "clusters", self.frame)
        states = self.store.states()
        for sequence_id, members in self.store.members():
            usable = sum(member.own_status in _USABLE for member in members)
            known = states.get(sequence_id)
            if usable < self.options.min_results and (known is None or not known.is_active):
                continue
            self.report.n_sequences += 1
            wanted = input_hash(self.config_key, members, self.clusters)
            if known is not None and known.input_hash == wanted and (known.rolled_back or known.is_active):
                self.report.n_held += known.rolled_back
                continue
            self.due.append(DueSequence(sequence_id, len(members), wanted))
            self.bases.update(member.own_run_key for member in members if member.own_run_key is not None)
        self.report.n_due = len(self.due)

    def run(self, context: JobContext, on_progress: Callable[[int, int], None]) -> None:
        """Compute and store what is due, sequence by sequence."""
        if not self.due:
            return
        started_s = time.monotonic()
        manifest = self._manifest()
        self.report.run_key = manifest.run_key
        self.catalog.begin_run(manifest)
        self.store.depend_on(manifest.run_key, self.bases)
        for due in self.due:
            if context.stop.requested:
                self.catalog.pause_run(manifest.run_key, duration_s=time.monotonic() - started_s)
                return
            self._one(manifest.run_key, due)
            self.report.n_done += 1
            context.lock.refresh()
            on_progress(self.report.n_done, len(self.due))
        self.catalog.finish_run(manifest.run_key, duration_s=time.monotonic() - started_s)

    def _manifest(self) -> RunManifest:
        """The newest generation of this configuration, or the next where a result would have to be replaced."""
        newest = self.catalog.newest_run(self.config_key)
        generation = 1
        if newest is not None:
            run = newest[1]
            free = run.rolled_back_at is None and self._fits(run.run_key)
            generation = (run.generation or 1) + (0 if free else 1)
        return RunManifest(
            run_key=hashlib.sha256(json.dumps([self.config_key, generation]).encode()).hexdigest(),
            started_at=datetime.now(UTC),
            config=run_record(self.settings),
            code_version=__version__,
            matcher=SEQUENCE_MATCHER,
            depth=SEQUENCE_MATCHER,
            config_key=self.config_key,
            generation=generation,
            n_due=sum(due.n_photos for due in self.due),
        )

    def _fits(self, run_key: str) -> bool:
        """Whether everything that is due can go on in a run: it is active, and replaces nothing that is there."""
        found = [state for state in self.store.states().values() if state.run_key == run_key]
        if any(not state.is_active for state in found):
            return False
        wanted, recorded = {due.sequence_id: due.input_hash for due in self.due}, self.store.finding_hashes(run_key)
        if any(recorded.get(sequence_id, value) != value for sequence_id, value in wanted.items()):
            return False
        for sequence_id, members in self.store.members(list(wanted)):
            stored = self.store.input_hashes(run_key, [member.image_id for member in members])
            if any(value != wanted[sequence_id] for value in stored.values()):
                return False
        return True

    def _one(self, run_key: str, due: DueSequence) -> None:
        """Compute one sequence and store its results, then its finding: that order makes a kill in between harmless."""
        assert self.frame is not None
        [(_, members)] = self.store.members([due.sequence_id])
        ids = [member.image_id for member in members]
        images = self.catalog.images(ids)
        photos = sequence_photos([images[image_id] for image_id in ids], self.clusters, self.frame)
        own = self.store.own_results([m.own_fid for m in members if m.own_fid is not None])
        computed = compute_sequence(photos, own, self.frame, self.options, self.settings.localize.gate)
        # What a person decided is not decided again.
        reviewed = self.store.reviewed(ids)
        kept = tuple(found for found in computed.results if found.result.image_id not in reviewed)
        computed = replace(computed, results=kept)
        results = [found.result for found in computed.results]
        results += self._taken_back(run_key, ids, own, {result.image_id for result in results})
        if results:
            self.catalog.record(run_key, results, input_hashes=dict.fromkeys(ids, due.input_hash))
        self.store.record(run_key, finding_of(due.sequence_id, due.input_hash, photos, own, computed))
        self.report.changes.update(found.change.value for found in computed.results)
        if computed.note:
            self.report.silent[computed.note] += 1

    def _taken_back(
        self, run_key: str, ids: Sequence[str], own: Mapping[str, Result], new: Collection[str]
    ) -> list[Result]:
        """The own results of photos that the sequence placed before and no longer does."""
        stale = self.store.active_of_others(run_key, ids) - set(new)
        return [own.get(image_id) or Rejection(image_id, Reason.UNCERTAIN, NO_LONGER) for image_id in sorted(stale)]


def _config_key(options: SequenceOptions, gate: GateOptions) -> str:
    """Hash of what changes the results of a sequence whatever its photos are."""
    relevant = {name: value for name, value in asdict(options).items() if name != "enabled"}
    relevant |= {"min_independent_anchors": gate.min_independent_anchors, "distant_m": gate.distant_m}
    return hashlib.sha256(json.dumps([SEQUENCE_MATCHER, relevant, METHOD_VERSION], sort_keys=True).encode()).hexdigest()

"""What a sequence adds to the results of its photos, on simulated sequences with known truth.

    python benchmarks/sequences.py [sequences per cell] [--quick]

Prints, per cell: errors of photos without a result (against carrying the offset of the nearest result along the
reported track), what is published, wrong results found, right ones touched, findings about the device, processor time;
then how often the predicted error ellipses hold, by distance to the nearest right result. Intervals: 95 % bootstrap
over whole sequences.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from geocorrect.errors import Status
from geocorrect.localize.covariance import horizontal_sigma_m
from geocorrect.records import Correction, Evidence
from geocorrect.sequences.adjust import SequenceSolution, adjust_sequence
from geocorrect.sequences.decide import Change, Member, sequence_results
from geocorrect.sequences.motion import motion_of
from geocorrect.sequences.options import SequenceOptions
from simulation.sequences import SequenceWorld, SimulatedSequence, simulate_sequence

Float = NDArray[np.float64]
OPTIONS = SequenceOptions()
FALSE_M = 1.0
WITHIN_M = 50.0
BINS_M = (0.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1000.0)


@dataclass(frozen=True)
class Cell:
    """A kind of sequence; the noise of its reconstruction is drawn anew for each: 0.06–0.2° and 1–3 % per step."""

    name: str
    world: SequenceWorld
    source: str = "cluster"

    def draw(self, seed: int) -> SequenceWorld:
        """The sequence of a seed."""
        rng = np.random.default_rng([seed, 17])
        return replace(
            self.world, rotation_deg=float(rng.uniform(0.06, 0.2)), translation_share=float(rng.uniform(0.01, 0.03))
        )


ISSUE = SequenceWorld()
CELLS = (
    Cell("30 % anchored, 10 % wrong", ISSUE),
    Cell("the same, results in runs of 6", replace(ISSUE, clumped=6)),
    Cell("the same, results in one or two runs of 18", replace(ISSUE, clumped=18)),
    Cell("the same, 30 % wrong", replace(ISSUE, wrong=0.3)),
    Cell("10 % anchored, none wrong", replace(ISSUE, anchored=0.1, wrong=0.0)),
    Cell("the same, wrong ones three in a row and alike", replace(ISSUE, wrong=0.17, wrong_run=3)),
    Cell("the same, results twice as wrong as they say", replace(ISSUE, stated=0.5)),
    Cell("exact results (1 cm, 0.03°), photos 8 m apart", replace(ISSUE, result_m=0.01, result_deg=0.03, step_m=8.0)),
    Cell("from computed positions and rotations", ISSUE, "computed"),
    Cell("reported positions only", ISSUE, "gps"),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Outcome:
    """Figures of one sequence.

    free_…, nees, sigma_m: photos without a result; baseline_m: the simple way for the same photos; accepted, review:
    what of them is published; before_m, after_m: right results on their own, and what is active afterwards.
    """

    free_m: Float
    free_away_m: Float
    nees: Float
    sigma_m: Float
    baseline_m: Float
    accepted: NDArray[np.bool_]
    review: NDArray[np.bool_]
    before_m: Float
    after_m: Float
    n_wrong: int
    n_found: int
    n_right_touched: int
    silent: bool
    cpu_s: float


def judge(cell: Cell, seed: int) -> Outcome:
    simulated = simulate_sequence(cell.draw(seed), seed)
    motion = motion_of(simulated.hints(cell.source), OPTIONS)
    assert motion is not None
    started = time.process_time()
    solution = adjust_sequence(motion, simulated.results, OPTIONS)
    cpu_s = time.process_time() - started
    free = np.array([i for i, r in enumerate(simulated.results) if r is None])
    away_m, simple_m = simulated.metres_to_right_result()[free], baseline_m(simulated)[free]
    n_wrong = len(simulated.wrong)
    if solution is None:
        nothing, no = np.full(len(free), np.nan), np.zeros(len(free), bool)
        before, after = right_errors(simulated, None, {})
        return Outcome(nothing, away_m, nothing, nothing, simple_m, no, no, before, after, n_wrong, 0, 0, True, cpu_s)
    changes = published(simulated, solution)
    error, nees, sigma_m = placed_errors(simulated, solution, free)
    status = [changes[i][1] if i in changes else None for i in free]
    touched = {i for i, (change, _) in changes.items() if change in (Change.FLAGGED, Change.DOUBTED)}
    return Outcome(
        error, away_m, nees, sigma_m, simple_m,
        np.array([s is Status.ACCEPTED for s in status]), np.array([s is Status.REVIEW for s in status]),
        *right_errors(simulated, solution, changes),
        n_wrong, len(touched & simulated.wrong), len(touched - simulated.wrong), False, cpu_s,
    )  # fmt: skip


def published(simulated: SimulatedSequence, solution: SequenceSolution) -> dict[int, tuple[Change, Status | None]]:
    """By place: what changes, and the status; None for a rejection."""
    members = []
    for i, pose in enumerate(simulated.results):
        own = None
        if pose is not None and pose.covariance is not None:
            own = Correction(str(i), pose, Status.ACCEPTED, horizontal_sigma_m(pose.covariance), 0.1, Evidence())
        members.append(Member(str(i), own, simulated.reported_enu_m[i]))
    found = sequence_results(members, solution, "simulated", OPTIONS)
    return {
        int(f.result.image_id): (f.change, f.result.status if isinstance(f.result, Correction) else None) for f in found
    }


def placed_errors(
    simulated: SimulatedSequence, solution: SequenceSolution, free: NDArray[np.int64]
) -> tuple[Float, Float, Float]:
    """Horizontal errors, squared errors in units of the predicted covariance, predicted 68 % radii."""
    errors, nees, sigma = [], [], []
    for i in free:
        pose = solution.poses[i].world_from_cam
        assert pose.covariance is not None
        off = (pose.translation_m - simulated.truth[i].translation_m)[:2]
        errors.append(float(np.linalg.norm(off)))
        nees.append(float(off @ np.linalg.solve(pose.covariance[:2, :2], off)))
        sigma.append(horizontal_sigma_m(pose.covariance))
    return np.array(errors), np.array(nees), np.array(sigma)


def right_errors(
    simulated: SimulatedSequence, solution: SequenceSolution | None, changes: dict[int, tuple[Change, Status | None]]
) -> tuple[Float, Float]:
    """Horizontal errors of right results on their own, and of what is active afterwards."""
    before, after = [], []
    for i, pose in enumerate(simulated.results):
        if pose is None or i in simulated.wrong:
            continue
        truth = simulated.truth[i].translation_m
        before.append(float(np.linalg.norm((pose.translation_m - truth)[:2])))
        sharper = solution is not None and i in changes and changes[i][0] in (Change.SHARPENED, Change.CONFIRMED)
        now = solution.poses[i].world_from_cam if sharper and solution is not None else pose
        after.append(float(np.linalg.norm((now.translation_m - truth)[:2])))
    return np.array(before), np.array(after)


def baseline_m(simulated: SimulatedSequence) -> Float:
    """Errors of the simple way: the reported position, shifted by the offset of the nearest result, right or wrong."""
    known = [i for i, r in enumerate(simulated.results) if r is not None]
    poses = [simulated.results[i] for i in known]
    offsets = np.array([p.translation_m[:2] for p in poses if p is not None]) - simulated.reported_enu_m[known, :2]
    nearest = [int(np.argmin(np.abs(np.array(known) - i))) for i in range(len(simulated.results))]
    shifted = simulated.reported_enu_m[:, :2] + offsets[nearest]
    truth = np.array([t.translation_m[:2] for t in simulated.truth])
    errors: Float = np.linalg.norm(shifted - truth, axis=1)
    return errors


def interval(outcomes: list[Outcome], figure: Callable[[list[Outcome]], float]) -> str:
    """A figure with its 95 % bootstrap interval over sequences."""
    rng = np.random.default_rng(0)
    draws = [figure([outcomes[i] for i in rng.integers(0, len(outcomes), len(outcomes))]) for _ in range(300)]
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return f"{figure(outcomes):.3g} [{low:.3g}–{high:.3g}]"


def joined(outcomes: list[Outcome], name: str) -> Float:
    return np.concatenate([getattr(o, name) for o in outcomes])


def share(top: str, bottom: str) -> Callable[[list[Outcome]], float]:
    """Per cent of one count in another."""
    return lambda os: 100.0 * sum(getattr(o, top) for o in os) / max(sum(getattr(o, bottom) for o in os), 1)


def median(name: str, within_m: float = np.inf) -> Callable[[list[Outcome]], float]:
    """Median of a figure, of photos without a result only those near a right one."""

    def figure(outcomes: list[Outcome]) -> float:
        values = joined(outcomes, name)
        near = joined(outcomes, "free_away_m") <= within_m if np.isfinite(within_m) else np.ones(len(values), bool)
        return float(np.median(values[near])) if near.any() else float("nan")

    return figure


def report(cell: Cell, outcomes: list[Outcome]) -> None:
    """All figures of a cell."""
    heard = [o for o in outcomes if not o.silent]
    print(f"\n## {cell.name}: {len(outcomes)} sequences, {len(outcomes) - len(heard)} say nothing")
    if not heard:
        return
    away, error = joined(heard, "free_away_m"), joined(heard, "free_m")
    accepted, review = joined(heard, "accepted").astype(bool), joined(heard, "review").astype(bool)
    print(f"- within {WITHIN_M:.0f} m of a right result, n={int((away <= WITHIN_M).sum())}: median error of photos")
    print(f"  without one {interval(heard, median('free_m', WITHIN_M))} m; the nearest result's offset on the reported")
    print(f"  track: {interval(heard, median('baseline_m', WITHIN_M))} m")
    print(f"- of all {len(error)} without a result: {accepted.sum()} accepted, {review.sum()} for review; accepted and")
    print(f"  more than {FALSE_M:.0f} m off: {int((error[accepted] > FALSE_M).sum())}")
    n_wrong, before, after = sum(o.n_wrong for o in outcomes), joined(outcomes, "before_m"), joined(outcomes, "after_m")
    print(
        f"- wrong results found: {interval(outcomes, share('n_found', 'n_wrong'))} % of {n_wrong}; right ones touched:"
    )
    print(f"  {sum(o.n_right_touched for o in outcomes)} of {len(before)}")
    print(f"- right results: median error {interval(outcomes, median('before_m'))} m before and")
    print(f"  {interval(outcomes, median('after_m'))} m after, 95 % below {np.percentile(before, 95):.3f} and")
    cpu_ms = 1000 * float(np.median([o.cpu_s for o in outcomes]))
    print(f"  {np.percentile(after, 95):.3f} m; processor time per sequence, median: {cpu_ms:.0f} ms")
    coverage(heard)


def coverage(outcomes: list[Outcome]) -> None:
    """How often the predicted ellipses hold, by way to the nearest right result."""
    away, nees, error, sigma = (joined(outcomes, name) for name in ("free_away_m", "nees", "free_m", "sigma_m"))
    print("| way to the nearest right result, m | n | median error, m | predicted 68 %, m | 68 % holds | 95 % holds |")
    print("|---|---|---|---|---|---|")
    for low, high in pairwise(BINS_M):
        here = (away > low) & (away <= high)
        if here.sum() >= 20:
            inside = [100 * float(np.mean(nees[here] <= chi2.ppf(level, 2))) for level in (0.683, 0.95)]
            middle = f"{np.median(error[here]):.3f} | {np.median(sigma[here]):.3f}"
            print(f"| {low:.0f}–{high:.0f} | {here.sum()} | {middle} | {inside[0]:.0f} % | {inside[1]:.0f} % |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sequences", nargs="?", type=int, default=40)
    parser.add_argument("--quick", action="store_true", help="one sequence per cell; figures mean little")
    given = parser.parse_args()
    count = 1 if given.quick else given.sequences
    for cell in CELLS:
        report(cell, [judge(cell, seed) for seed in range(count)])


if __name__ == "__main__":
    main()

"""How many lone-anchor results a recording confirms, and how often by chance one on another copy of a façade.

    python benchmarks/confirmations.py [recordings per cell] [--quick]

Simulated recordings (`simulation/sequences.py`) whose results with several anchors come in runs. Ten other photos have
one anchor each: half are right, half displaced along the street, all of a recording by the same period. They are judged
as if no other result had tested the records of their anchors (the rule for those: 0.3 m), and as if others had.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from geocorrect.errors import Status
from geocorrect.geometry.frame import Frame
from geocorrect.localize.gate import GateStatistics, as_mapping
from geocorrect.localize.options import GateOptions
from geocorrect.records import AnchorEvidence, Correction, Evidence, Result
from geocorrect.report.statistics import share_of
from geocorrect.sequences.compute import compute_sequence
from geocorrect.sequences.decide import Change
from geocorrect.sequences.input import SequencePhotos
from geocorrect.sequences.options import SequenceOptions
from simulation.sequences import SequenceWorld, SimulatedSequence, simulate_sequence

N_LONE = 10
PERIODS_M = ((2.0, 5.0), (5.0, 10.0), (10.0, 30.0))
SHARED = GateStatistics(
    n_inliers=900.0, inlier_share=0.9, coverage=0.6, displacement_m=3.0, height_difference_m=0.1, anchor_spread_m=0.05,
    alternative_share=0.1, supporting_anchors=3.0, support_share=1.0, expected_error_m=0.1,
    expected_heading_error_deg=0.1, reported_sigmas=0.4, scale_sigmas=1.0, leave_one_out_m=0.02,
    contradiction_sigmas=1.0, independent_anchors=3.0, record_shift_sigmas=1.0, inlier_patches=300.0,
)  # fmt: skip
LONE = replace(
    SHARED, n_inliers=300.0, inlier_patches=115.0, supporting_anchors=1.0, independent_anchors=1.0,
    anchor_spread_m=float("nan"),
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """What is known of the way, and how good the reported positions are beside their walk of 0.3 m per photo."""

    name: str
    source: str
    clumped: int = 6
    reported_noise_m: float = 0.0


CELLS = (
    Cell("reconstruction, runs of 6", "cluster"),
    Cell("reconstruction, one or two runs of 18", "cluster", 18),
    Cell("computed positions, one or two runs of 18", "computed", 18),
    Cell("reported positions alone, every third photo", "gps", 1),
    Cell("reported positions alone, runs of 6", "gps"),
    Cell("the same with 2 m of white noise", "gps", 6, 2.0),
)


def results_of(world: SimulatedSequence, seed: int, period_m: tuple[float, float], tested: bool) -> tuple[
    dict[str, Result], dict[str, bool]
]:  # fmt: skip
    """Results by photo, and of those from one anchor whether they are right."""
    rng = np.random.default_rng([seed, 29])
    own: dict[str, Result] = {}
    free = [i for i, pose in enumerate(world.results) if pose is None]
    lone = sorted(rng.choice(free, N_LONE, replace=False).tolist())
    names = tuple(f"lone {i}" for i in lone) if tested else ()
    for i, pose in enumerate(world.results):
        if pose is not None:
            seen = tuple(AnchorEvidence(name, 300, 250, 200, 200, weight=1.0) for name in ("a", "b", *names))
            own[str(i)] = Correction(str(i), pose, Status.ACCEPTED, 0.1, 0.1, Evidence(seen, gate=as_mapping(SHARED)))
    period, right = float(rng.uniform(*period_m) * rng.choice([-1, 1])), {}
    sigma = np.array([0.08] * 3 + [np.radians(0.2)] * 3)
    for k, i in enumerate(lone):
        pose = world.truth[i].perturbed(sigma * rng.normal(size=6)).with_covariance(np.diag(sigma**2))
        right[str(i)] = k % 2 == 0
        if not right[str(i)]:
            ahead = pose.rotation.as_matrix()[:, 2]
            pose = replace(pose, translation_m=pose.translation_m + period * ahead)
        evidence = Evidence((AnchorEvidence(f"lone {i}", 400, 350, 300, 300, weight=1.0),), gate=as_mapping(LONE))
        own[str(i)] = Correction(str(i), pose, Status.REVIEW, 0.1, 0.1, evidence)
    return own, right


def judge(cell: Cell, seed: int, period_m: tuple[float, float], tested: bool) -> Counter[tuple[bool, str]]:
    """(right, what became of it) of the lone results of one recording."""
    world = simulate_sequence(SequenceWorld(anchored=0.3, wrong=0.0, clumped=cell.clumped), seed)
    noise_m = cell.reported_noise_m * np.random.default_rng([seed, 31]).normal(size=(len(world.truth), 3))
    world = replace(world, reported_enu_m=world.reported_enu_m + noise_m)
    own, right = results_of(world, seed, period_m, tested)
    photos = SequencePhotos(
        tuple(str(i) for i in range(len(world.truth))), tuple(world.hints(cell.source)), world.reported_enu_m,
        world.reported_heading_deg, world.time_s, None, None,
    )  # fmt: skip
    frame = Frame("simulated", 12.5, 41.9, 48.0)
    computed = compute_sequence(photos, own, frame, SequenceOptions(), GateOptions())
    changes = {one.result.image_id: one.change for one in computed.results}
    return Counter(
        (is_right, changes[i].value if changes.get(i) in (Change.CONFIRMED, Change.FLAGGED) else "waits")
        for i, is_right in right.items()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", nargs="?", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="one recording per cell; figures mean little")
    asked = parser.parse_args()
    count = 1 if asked.quick else asked.recordings
    print("| motion and positions | period | right ones confirmed: records not tested | tested | refuted "
          "| other copies confirmed: not tested | tested | refuted |")  # fmt: skip
    print("|---" * 8 + "|")
    started_s, total = time.process_time(), Counter[tuple[bool, str]]()
    for cell in CELLS:
        for period_m in PERIODS_M:
            before, after = (
                sum((judge(cell, seed, period_m, tested) for seed in range(count)), Counter())
                for tested in (False, True)
            )
            total += after if period_m[0] >= 5.0 else Counter()
            row = []
            for right in (True, False):
                n = sum(found for (is_right, _), found in after.items() if is_right is right)
                row += [f"{one[right, 'confirmed']} of {n}" for one in (before, after)] + [after[right, "flagged"]]
            print(f"| {cell.name} | {period_m[0]:g}–{period_m[1]:g} m | {' | '.join(map(str, row))} |", flush=True)
    by_chance, n = total[False, "confirmed"], sum(c for (right, _), c in total.items() if not right)
    high = share_of(by_chance, n).high
    print(f"\nOther copies 5–30 m away confirmed by chance, records tested: {by_chance} of {n} [≤ {high:.1%}].")
    print(f"{count} recordings per cell; {time.process_time() - started_s:.0f} s of processor time.")


if __name__ == "__main__":
    main()

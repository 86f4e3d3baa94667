"""The anchor check on simulated drives: who is named, and how well the drive's noise is estimated.

    python benchmarks/anchor_check.py --drives 3
    python benchmarks/anchor_check.py --rig --drives 3

Matches are as noisy as RootSIFT's on KITTI. A twentieth of the anchors is displaced by three times the stated noise
(its length in three dimensions) in a random direction, on top of the noise of all. `--rig`: two cameras in turn, the
second turned, all records late; every picture is then localised from its neighbours, also from those of one camera
alone, with what is usually assumed and with what the check found.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import chi2, ncx2

from geocorrect.anchors.check import AnchorCheck, check_anchors
from geocorrect.anchors.displacement import displacements
from geocorrect.anchors.drive_errors import drive_models
from geocorrect.anchors.neighbour_view import NeighbourView
from geocorrect.jobs.anchors.neighbour_views import neighbour_view
from geocorrect.localize.joint.estimate import solve_joint
from geocorrect.localize.observations import Observations
from geocorrect.localize.options import LocalizeOptions
from geocorrect.localize.solution import Solution
from geocorrect.records import AnchorNoise
from simulation.drive import DriveOptions, SimulatedDrive, simulate_drive
from simulation.estimator import ANCHOR_CAMERA

CAMERA = replace(ANCHOR_CAMERA, focal_sigma=5e-4)


def check_drive(drive: SimulatedDrive, options: LocalizeOptions) -> AnchorCheck:
    """The check, with the drive's matches."""

    def view(name: str, neighbours: Collection[str]) -> NeighbourView | None:
        seen = [drive.observations[name, n] for n in neighbours if (name, n) in drive.observations]
        return neighbour_view(seen, CAMERA, drive.recorded[name], options) if len(seen) > 1 else None

    return check_anchors(drive.neighbours, view, drives=drive_models(drive.anchors, *options.joint.anchor_noise))


def measure(options: DriveOptions, stated_m: float, with_lidar: bool, drives: int) -> str:
    """A row of the table."""
    localize = LocalizeOptions()
    localize = replace(localize, joint=replace(localize.joint, anchor_position_m=stated_m))
    found, missed, false, judged, factors, best, cpu_s = 0, 0, 0, 0, [], [], 0.0
    for seed in range(drives):
        drive = simulate_drive(options, seed, with_lidar)
        started_s = time.process_time()
        check = check_drive(drive, localize)
        cpu_s += time.process_time() - started_s
        named = set(check.named)
        found, missed = found + len(named & drive.wrong), missed + len(drive.wrong - named)
        false, judged = false + len(named - drive.wrong), judged + len(check.views)
        factors.append(check.noise)
        best += best_possible(check, drive.wrong, options, stated_m)
    position, rotation = np.array(factors).T
    return (
        f"| {'LiDAR' if with_lidar else 'none'} | {100 * options.position_m:g} cm | {100 * stated_m:g} cm "
        f"| {found} of {found + missed} | {np.mean(best):.1%} | {false} of {judged - found} "
        f"| {100 * stated_m * np.median(position):.2f} ({100 * stated_m * position.min():.2f}–"
        f"{100 * stated_m * position.max():.2f}) cm | {0.05 * np.median(rotation):.3f}° "
        f"| {cpu_s / (drives * options.anchors):.2f} s |"
    )


def best_possible(check: AnchorCheck, wrong: Collection[str], options: DriveOptions, stated_m: float) -> list[float]:
    """Of each right anchor, how probably a displacement would be found by who knew the drive's noise and every other
    wrong record, and named one right record of a hundred by its position.
    """
    views = {name: view for name, view in check.views.items() if name not in wrong}
    noise = dict.fromkeys(views, (options.position_m / stated_m, 1.0))
    directions = np.random.default_rng(0).normal(size=(200, 3))
    shifts_m = options.wrong_m * directions / np.linalg.norm(directions, axis=1)[:, None]
    return [
        float(
            ncx2.sf(chi2.ppf(0.99, 3), 3, np.einsum("ni,ij,nj->n", shifts_m, one.information[:3, :3], shifts_m)).mean()
        )
        for one in displacements(views, noise).values()
    ]


RIG = DriveOptions(
    rotation_deg=0.1, wrong_share=0.0, weave_m=0.8, clock_s=0.04, mounting_deg=(0.05, 0.3, 0.0)
)  # fmt: skip


def measure_rig(seed: int, with_lidar: bool) -> str:
    """A row of the second table."""
    localize, drive = LocalizeOptions(), simulate_drive(RIG, seed, with_lidar)
    (model,) = drive_models(drive.anchors, *localize.joint.anchor_noise).values()
    check = check_drive(drive, localize)
    (errors,) = check.drives.values()
    position_m, rotation_deg = np.multiply(localize.joint.anchor_noise, errors.noise)
    used = np.multiply(localize.joint.anchor_noise, errors.upper).tolist()
    noise = {name: AnchorNoise(*used, errors.common(effect)) for name, effect in model.effects.items()}
    sigma = np.sqrt(np.diag(errors.covariance))
    inside = []
    for found in ({}, noise):
        held = [
            _holds(found, [drive.observations[name, n] for n in around if of is None or int(n) % 2 == of], drive, name)
            for name, around in drive.neighbours.items()
            for of in (None, 0, 1)
        ]
        known = np.array([row for row in held if row is not None])
        inside.append(f"{known[:, 0].mean():.0%}, {known[:, 1].mean():.0%} of {len(known)}")
    turn, by = np.degrees(errors.values[4:7]), np.degrees(sigma[4:7])
    return (
        f"| {'LiDAR' if with_lidar else 'none'} | {1e3 * errors.values[0]:.1f} ± {1e3 * sigma[0]:.1f} ms "
        f"| {', '.join(f'{a:.2f}' for a in turn)} ± {by.max():.2f}° | {100 * position_m:.2f} cm | {rotation_deg:.3f}° "
        f"| {len(check.named)} | {' | '.join(inside)} |"
    )


def _holds(
    noise: Mapping[str, AnchorNoise], seen: Sequence[Observations], drive: SimulatedDrive, name: str
) -> tuple[bool, bool] | None:
    """Whether 95 % of heading and of position hold; None where fewer than two anchors see the picture."""
    seen = [replace(o, anchor=replace(o.anchor, noise=noise.get(o.anchor.id))) for o in seen]
    found = solve_joint(seen, CAMERA, LocalizeOptions(), 0) if len(seen) > 1 else None
    if not isinstance(found, Solution) or found.world_from_cam.covariance is None:
        return None
    error, covariance = found.world_from_cam.minus(drive.true[name]), found.world_from_cam.covariance
    distance2 = error[:3] @ np.linalg.solve(covariance[:3, :3], error[:3])
    return abs(error[5]) < 1.96 * np.sqrt(covariance[5, 5]), distance2 < chi2.ppf(0.95, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drives", type=int, default=3)
    parser.add_argument("--rig", action="store_true")
    parser.add_argument("--quick", action="store_true", help="one short drive; figures mean little")
    arguments = parser.parse_args()
    options = DriveOptions()
    if arguments.quick:
        arguments.drives, options = 1, replace(options, anchors=12)
    if arguments.rig:
        print(
            "| depth | clock (40 ms) | mounting (0.05, 0.30, 0°) | position noise (2 cm) | rotation noise (0.1°) "
            "| named | heading, position inside 95 %: assumed | found |"
        )
        print("|---|---|---|---|---|---|---|---|")
        for seed in range(arguments.drives):
            for with_lidar in (False, True):
                print(measure_rig(seed, with_lidar), flush=True)
        return
    print(
        "| depth | noise | stated | wrong ones named | best possible | good ones named | noise found | rotation "
        "| CPU per anchor |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    stated_m = 0.02
    for position_m in (0.02,) if arguments.quick else (0.02, 0.01, 0.005):
        for with_lidar in (False, True):
            drive = replace(options, position_m=position_m, wrong_m=3 * np.sqrt(3) * stated_m)
            print(measure(drive, stated_m, with_lidar, arguments.drives), flush=True)


if __name__ == "__main__":
    main()

"""The anchor check on simulated drives: who is named, and how well the drive's noise is estimated.

    python benchmarks/anchor_check.py --drives 3

Matches are as noisy as RootSIFT's on KITTI. A twentieth of the anchors is displaced by three times the stated noise
(its length in three dimensions) in a random direction, on top of the noise of all.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Collection
from dataclasses import replace

import numpy as np

from geocorrect.anchors.check import AnchorCheck, NeighbourView, check_anchors
from geocorrect.jobs.anchors.check import neighbour_view
from geocorrect.localize.options import LocalizeOptions
from simulation.drive import DriveOptions, SimulatedDrive, simulate_drive
from simulation.estimator import ANCHOR_CAMERA

CAMERA = replace(ANCHOR_CAMERA, focal_sigma=5e-4)


def check_drive(drive: SimulatedDrive, options: LocalizeOptions) -> AnchorCheck:
    """The check, with the drive's matches."""

    def view(name: str, neighbours: Collection[str]) -> NeighbourView | None:
        seen = [drive.observations[name, n] for n in neighbours if (name, n) in drive.observations]
        return neighbour_view(seen, CAMERA, drive.recorded[name], options) if len(seen) > 1 else None

    return check_anchors(drive.neighbours, view)


def measure(options: DriveOptions, stated_m: float, with_lidar: bool, drives: int) -> str:
    """A row of the table."""
    localize = LocalizeOptions()
    localize = replace(localize, joint=replace(localize.joint, anchor_position_m=stated_m))
    found, missed, false, judged, factors, cpu_s = 0, 0, 0, 0, [], 0.0
    for seed in range(drives):
        drive = simulate_drive(options, seed, with_lidar)
        started_s = time.process_time()
        check = check_drive(drive, localize)
        cpu_s += time.process_time() - started_s
        named = set(check.named)
        found, missed = found + len(named & drive.wrong), missed + len(drive.wrong - named)
        false, judged = false + len(named - drive.wrong), judged + len(check.views)
        factors.append(check.noise)
    position, rotation = np.array(factors).T
    return (
        f"| {'LiDAR' if with_lidar else 'none'} | {100 * options.position_m:g} cm | {100 * stated_m:g} cm "
        f"| {found} of {found + missed} | {false} of {judged - found} "
        f"| {100 * stated_m * np.median(position):.2f} ({100 * stated_m * position.min():.2f}–"
        f"{100 * stated_m * position.max():.2f}) cm | {0.05 * np.median(rotation):.3f}° "
        f"| {cpu_s / (drives * options.anchors):.2f} s |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drives", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one short drive; figures mean little")
    arguments = parser.parse_args()
    options = DriveOptions()
    if arguments.quick:
        arguments.drives, options = 1, replace(options, anchors=12)
    print("| depth | noise | stated | wrong ones named | good ones named | noise found | rotation | CPU per anchor |")
    print("|---|---|---|---|---|---|---|---|")
    for position_m, stated_m in ((0.02, 0.02), (0.005, 0.02)):
        for with_lidar in (False, True):
            wrong_m = 3 * np.sqrt(3) * stated_m
            drive = replace(options, position_m=position_m, wrong_m=wrong_m)
            print(measure(drive, stated_m, with_lidar, arguments.drives), flush=True)


if __name__ == "__main__":
    main()

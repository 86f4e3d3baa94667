"""A rolling shutter in a moving car: error of the pose without and with the correction, and with a wrong motion.

    python benchmarks/rolling_shutter.py --streets 8

A simulated street (`simulation/rolling_shutter.py`): matches good to 0.3 px, 10 % mismatches, three anchors with LiDAR;
no other errors. Errors against the pose at the middle of the exposure.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from geocorrect.errors import Status
from geocorrect.localize.correct import TracedResult
from geocorrect.records import CameraMotion, Correction
from simulation.rolling_shutter import CAMERA, GLOBAL, RollingStreet, StreetOptions, motion_of

CHI2_95 = 5.991
"""Of two degrees of freedom."""
AHEAD_DEG, ASIDE_DEG = 25.0, 65.0


@dataclass(frozen=True)
class Cell:
    """A row of the table."""

    name: str
    speed_m_s: float
    readout_s: float
    heading_deg: float = AHEAD_DEG
    turn_deg_s: float = 0.0
    of_anchors: bool = False
    """The anchors' shutter rolls, the photo's does not."""


def cells(quick: bool) -> Iterator[Cell]:
    if quick:
        yield Cell("ahead", 10.0, 0.03)
        return
    for speed_m_s in (3.0, 10.0, 20.0):
        for readout_s in (0.01, 0.03):
            yield Cell("ahead", speed_m_s, readout_s)
    yield Cell("aside", 10.0, 0.03, ASIDE_DEG)
    yield Cell("ahead, turning by 20°/s", 10.0, 0.03, turn_deg_s=20.0)
    yield Cell("ahead, anchors' shutter", 10.0, 0.03, of_anchors=True)


def stated(cell: Cell) -> dict[str, CameraMotion | None]:
    """What is said of the motion."""
    velocity, sigma_m_s = (0.0, cell.speed_m_s, 0.0), 0.2 * cell.speed_m_s
    said: dict[str, CameraMotion | None] = {"not corrected": None}
    said["corrected"] = motion_of(velocity, cell.turn_deg_s)
    said["speed 20 % too high"] = motion_of((0.0, 1.2 * cell.speed_m_s, 0.0), cell.turn_deg_s, sigma_m_s)
    if cell.turn_deg_s:
        straight = motion_of(velocity, 0.0)
        said["turn unknown"] = CameraMotion(straight.velocity_m_s, straight.turn_rad_s, 0.1, 0.1)
    return said


def localized(cell: Cell, said: CameraMotion | None, seed: int) -> tuple[RollingStreet, TracedResult]:
    true = motion_of((0.0, cell.speed_m_s, 0.0), cell.turn_deg_s)
    options = StreetOptions(cell.heading_deg)
    if cell.of_anchors:
        street = RollingStreet(seed, (GLOBAL, None), (cell.readout_s, true), options=options)
        return street, street.localize(CAMERA, None, said)
    street = RollingStreet(seed, (cell.readout_s, true), options=options)
    return street, street.localize(street.camera, said)


def row(cell: Cell, what: str, said: CameraMotion | None, streets: int) -> str:
    errors, turns, claims, inside, accepted = [], [], [], 0, 0
    for seed in range(streets):
        street, found = localized(cell, said, seed)
        if not isinstance(found.result, Correction):
            continue
        pose = found.result.world_from_cam
        assert pose.covariance is not None
        error = pose.minus(street.truth)
        errors.append(100 * float(np.linalg.norm(error[:3])))
        turns.append(float(np.degrees(np.linalg.norm(error[3:]))))
        claims.append(100 * found.result.expected_error_m)
        inside += bool(error[:2] @ np.linalg.solve(pose.covariance[:2, :2], error[:2]) < CHI2_95)
        accepted += found.result.status is Status.ACCEPTED
    numbers = "– | – | –"
    if errors:
        spread = f"{np.median(errors):.1f} / {max(errors):.1f}"
        numbers = f"{spread} | {np.median(claims):.1f} | {np.median(turns):.2f} / {max(turns):.2f}"
    return (
        f"| {cell.name} | {cell.speed_m_s:g} m/s, {1e3 * cell.readout_s:g} ms | {what} | {accepted} of {streets} "
        f"| {numbers} | {inside} of {len(errors)} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streets", type=int, default=8)
    parser.add_argument("--quick", action="store_true", help="one cell of one street; figures mean little")
    arguments = parser.parse_args()
    print(
        "| view | motion | | accepted | error cm, median / max | stated 68 % | rotation °, median / max | inside 95 % |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for cell in cells(arguments.quick):
        for what, said in stated(cell).items():
            print(row(cell, what, said, 1 if arguments.quick else arguments.streets), flush=True)


if __name__ == "__main__":
    main()

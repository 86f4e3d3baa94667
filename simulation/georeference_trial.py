"""One synthetic georeference judged against its truth: accepted or refused, errors along the drive, flags right or
wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geocorrect.anchors.alignment import Alignment
from geocorrect.errors import InputError
from geocorrect.geometry.frame import Frame
from geocorrect.georeference.diagnose import diagnose_clicks, diagnose_solution
from geocorrect.georeference.joint.solve import solve_joint
from simulation.georeference import Clicking, synthetic_drive

Float = NDArray[np.float64]

CHI2_95 = 5.991
WRONG_M, WRONG_SIGMAS2 = 3.0, 25.0


@dataclass(frozen=True, eq=False)
class Trial:
    """error_m, nees: (K,) plan error at places along the drive and its squared Mahalanobis distance (χ², 2 degrees of
    freedom); empty when refused. refusals: codes. missed, mistaken: bad clicks not flagged, good ones flagged.
    """

    clicking: Clicking
    seed: int
    refusals: tuple[str, ...]
    error_m: Float
    nees: Float
    sigma_m: Float
    missed: int = 0
    mistaken: int = 0

    @property
    def accepted(self) -> bool:
        """Whether the diagnosis let the solution through."""
        return not self.refusals

    @property
    def covered(self) -> float:
        """Share of places whose 95 % ellipse holds the truth."""
        return float((self.nees <= CHI2_95).mean())

    @property
    def wrong_basin(self) -> bool:
        """Metres off and far outside what was promised."""
        return bool(self.accepted and self.error_m.max() > WRONG_M and self.nees.max() > WRONG_SIGMAS2)


def random_clicking(seed: int) -> Clicking:
    """3–10 images, map sigma 0.1–1 m, 0–40 % bad clicks."""
    random = np.random.default_rng([seed, 1])
    return Clicking(
        n_images=int(random.integers(3, 11)),
        clicks_per_image=int(random.integers(4, 7)),
        sigma_map_m=float(np.exp(random.uniform(np.log(0.1), np.log(1.0)))),
        bad_share=float(random.uniform(0.0, 0.4)),
        length_m=float(random.uniform(300, 1200)),
    )


def run_trial(clicking: Clicking, seed: int) -> Trial:
    """Simulate, solve, judge; deterministic."""
    drive = synthetic_drive(clicking, seed)
    nothing = np.zeros(0)
    try:
        solution = solve_joint(drive.problem, seed=seed)
    except InputError:
        return Trial(clicking, seed, ("no_start",), nothing, nothing, nothing)
    findings = diagnose_clicks(drive.problem) + diagnose_solution(drive.problem, solution)
    refusals = tuple(finding.code for finding in findings if finding.fatal)
    if refusals:
        return Trial(clicking, seed, refusals, nothing, nothing, nothing)
    alignment = Alignment(Frame("trial", 0.0, 0.0), solution.world_from_local, solution.covariance)
    track = drive.track_local_m[::8]
    off = (solution.world_from_local.apply(track) - drive.world_from_local.apply(track))[:, :2]
    covariance = alignment.position_covariance(track)[:, :2, :2]
    nees = np.einsum("ki,ki->k", off, np.linalg.solve(covariance, off[:, :, None])[:, :, 0])
    return Trial(
        clicking,
        seed,
        (),
        np.linalg.norm(off, axis=1),
        nees,
        alignment.plan_sigma_m(track),
        int((drive.bad & ~solution.outlier).sum()),
        int((~drive.bad & solution.outlier).sum()),
    )

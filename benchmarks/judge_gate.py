"""What the gate that ships says of simulated solutions that no fit has seen, photo by photo and after its sequence.

Run by `calibrate_gate.py judge`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from gate_solutions import CELLS, LIMIT_M, OPTIONS, localisable, share, with_pose

from geocorrect.errors import Status
from geocorrect.localize.gate import GateStatistics, decide
from geocorrect.sequences.confirmation import AGREES_DISTANCE, SHARP_SHARE, TELLS_COPIES_M
from geocorrect.sequences.options import SequenceOptions

NEAR_M, FAR_M = (0.2, 0.1, 0.45), (0.6, 0.3, 1.2)
"""68 % radius of a drawn prediction: median, least and largest."""
SHARP_M = SHARP_SHARE * SequenceOptions().accept_error_m


def judged(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: what the gate that ships says of solutions, by cell, with every false accept counted."""
    rows = with_pose(rows)
    believing = replace(OPTIONS.gate, min_independent_anchors=1)
    statistics = [GateStatistics(**r["gate"]) for r in rows]
    believed, alone = (
        np.array([decide(s, o).status is Status.ACCEPTED for s in statistics]) for o in (believing, OPTIONS.gate)
    )
    counts, table = ways(rows, believed, alone)
    return "\n".join([*counts, *table])


def ways(
    rows: Sequence[dict[str, Any]], believed: np.ndarray, alone: np.ndarray, seed: int = 0
) -> tuple[list[str], list[str]]:
    """Lines for the ways to use a gate, and a table of them by cell.

    Photo by photo, with one anchor believed and without; and when a sequence has predicted every photo from results
    that rest on other anchors. That prediction is drawn: its 68 % radius as `benchmarks/sequences.py` measures it up
    to 50 m from the nearest right result, or as far as it tells the copies of a façade apart. Judged as if no other
    result had tested the records, and as if others had: wrong anchors of the simulator see another place.

    Args:
        rows: simulated, with a pose.
        believed: (N,) what is accepted where one anchor is believed.
        alone: (N,) what is accepted without anybody's confirmation.
        seed: of the drawn predictions.
    """
    wrong = np.array([r["error_m"] > LIMIT_M for r in rows])
    found = ~wrong & np.array([localisable(r) for r in rows])
    named = {"one anchor believed": believed, "photo by photo": alone}
    for name, radius_m, limit_m in (
        ("after its sequence", NEAR_M, SHARP_M),
        ("the same, records tested", NEAR_M, TELLS_COPIES_M),
        ("far from results, records tested", FAR_M, TELLS_COPIES_M),
    ):
        refuted, agreeing = _drawn_sequence(rows, radius_m, limit_m, np.random.default_rng(seed))
        named[name] = (alone & ~refuted) | (believed & agreeing)
    counts = [
        f"{name}: false accepts {share(int((a & wrong).sum()), int(a.sum()))} of {int(a.sum())}, of {int(found.sum())} "
        f"localisable accepted {share(int((a & found).sum()), int(found.sum()))}"
        for name, a in named.items()
    ]
    table = [
        f"| cell | n | wrong | {' | '.join(f'{name}: accepted, false' for name in named)} |",
        "|---" * (3 + len(named)) + "|",
    ]
    for cell in CELLS:
        here = np.array([r["cell"] == cell for r in rows])
        each = (f"{int((here & a).sum())}, {int((here & a & wrong).sum())}" for a in named.values())
        table.append(f"| {cell} | {int(here.sum())} | {int((here & wrong).sum())} | {' | '.join(each)} |")
    return counts, table


def _drawn_sequence(
    rows: Sequence[dict[str, Any]], radius_m: tuple[float, float, float], limit_m: float, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """(N,) whether a drawn prediction by its sequence refutes a solution, and whether it would confirm it.

    radius_m: median, least and largest of its 68 % radius; limit_m: up to which it confirms.
    """
    middle_m, least_m, most_m = radius_m
    limits, refuted, agreeing = SequenceOptions(), [], []
    for row in rows:
        drawn_m = float(np.clip(random.lognormal(np.log(middle_m), 0.5), least_m, most_m))
        sigma_m = drawn_m / 1.515  # `horizontal_sigma_m` of an error that is alike in both axes
        off_m = np.array(row["off"][:3]) + sigma_m * random.normal(size=3)
        expected = np.array(row["covariance"])[:3, :3] + sigma_m**2 * np.eye(3)
        distance = float(off_m @ np.linalg.solve(expected, off_m)) ** 0.5
        refuted.append(distance > limits.outlier_distance and np.linalg.norm(off_m) > limits.outlier_m)
        agreeing.append(distance <= AGREES_DISTANCE and drawn_m <= limit_m)
    return np.array(refuted), np.array(agreeing)

"""The anchor check: wrong records are named, right ones are not, and the noise of a drive is estimated."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pytest

from geocorrect.anchors.check import check_anchors, drive_noise
from geocorrect.anchors.neighbour_view import NeighbourView

RECORD_SIGMA = np.repeat([0.02, np.radians(0.05)], 3)
STATED = np.diag(RECORD_SIGMA**2)
MEASURED = np.diag([0.008**2] * 3 + [np.radians(0.02) ** 2] * 3)


class Line:
    """Anchors on a line, each seen by four neighbours whose own errors enter the view."""

    def __init__(self, count: int, noise: float, wrong: Collection[int], seed: int, measured: float = 1.0) -> None:
        """noise, measured: factors on the stated noise of the records, and on that of the views."""
        self.measured = measured**2 * MEASURED
        self.random = np.random.default_rng(seed)
        self.names = [f"{n:03d}" for n in range(count)]
        steps = (-2, -1, 1, 2)
        self.neighbours = {
            name: [self.names[n + step] for step in steps if 0 <= n + step < count] for n, name in enumerate(self.names)
        }
        root = noise * np.sqrt(np.diag(STATED))
        self.error = {name: root * self.random.normal(size=6) for name in self.names}
        for n in wrong:
            direction = self.random.normal(size=3)
            self.error[self.names[n]][:3] += 3 * np.sqrt(3) * 0.02 * direction / np.linalg.norm(direction)
        self.seen = {name: np.sqrt(np.diag(self.measured)) * self.random.normal(size=6) for name in self.names}

    def view(self, name: str, neighbours: Collection[str]) -> NeighbourView | None:
        shift = self.error[name] + self.seen[name] - np.mean([self.error[other] for other in neighbours], axis=0)
        part = np.eye(6) / len(neighbours)
        return NeighbourView(shift, self.measured, RECORD_SIGMA, dict.fromkeys(neighbours, part))


@pytest.mark.parametrize("noise", [1.0, 0.25])
def test_displaced_anchors_are_named_and_good_ones_are_not(noise: float) -> None:
    """A twentieth of the anchors off by three times the stated noise (its length); the drive is as good as stated, or
    four times better. In a drive as noisy as stated its own noise and that of the others hide some.
    """
    found = missed = false = good = 0
    factors = []
    for seed in range(3):
        wrong = set(np.random.default_rng(seed).permutation(100)[:5].tolist())
        line = Line(100, noise, wrong, seed)
        check = check_anchors(line.neighbours, line.view)
        named = {int(name) for name in check.named}
        found, missed = found + len(named & wrong), missed + len(wrong - named)
        false, good = false + len(named - wrong), good + 95
        factors.append(check.noise[0])
    assert false <= 0.01 * good
    assert np.median(factors) == pytest.approx(noise, rel=0.3)
    assert found / (found + missed) >= (0.95 if noise < 1 else 0.7)


def test_neighbours_of_a_wrong_anchor_are_not_blamed_for_it() -> None:
    line = Line(40, 0.25, {20}, 1)
    line.error["020"][:3] = [5.0, 0.0, 0.0]
    check = check_anchors(line.neighbours, line.view)
    assert next(iter(check.named)) == "020"
    assert not {"018", "019", "021", "022"} & set(check.named)


def test_too_few_neighbours_give_no_verdict() -> None:
    line = Line(2, 1.0, set(), 0)
    check = check_anchors(line.neighbours, line.view)
    assert dict(check.views) == {}
    assert np.isnan(check.noise).all()


def test_noise_is_found_among_outliers() -> None:
    """4 % of gross errors move the estimate by little."""
    random = np.random.default_rng(3)
    root = 2.0 * np.sqrt(np.diag(STATED))
    shifts = [root * random.normal(size=6) * (30 if n % 25 == 0 else 1) for n in range(200)]
    position, rotation = drive_noise([NeighbourView(s, 1e-6 * STATED, RECORD_SIGMA) for s in shifts])
    assert position == pytest.approx(2.0, rel=0.15)
    assert rotation == pytest.approx(2.0, rel=0.15)


def test_noise_that_the_matches_hide_is_not_taken_for_none() -> None:
    """A tenth of what the matches err by themselves: the most likely factor is near 0, the one to use is not."""
    random = np.random.default_rng(2)
    measured, stated = 1.6 * MEASURED, 0.01 * MEASURED
    shifts = np.sqrt(np.diag(MEASURED + stated)) * random.normal(size=(40, 6))
    views = [NeighbourView(shift, measured, np.sqrt(np.diag(stated))) for shift in shifts]
    assert drive_noise(views)[0] < 0.1
    assert drive_noise(views, 1.0)[0] > 1.0

"""`benchmarks/kept_matches.py`: answers of earlier runs, whole or not at all."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geocorrect.records import ImageArray, Matches

ROOT = Path(__file__).resolve().parents[2]
PHOTO = np.zeros((4, 6, 3), np.uint8)


class Counting:
    """One match with every anchor, and how often it was asked."""

    fingerprint = "counting"

    def __init__(self) -> None:
        self.asked = 0

    def match(self, query: ImageArray, anchors: Sequence[ImageArray]) -> list[Matches]:
        self.asked += 1
        at = np.array([[1.0, 2.0]], np.float32)
        return [Matches(at, at + number, np.ones(1, np.float32)) for number in range(len(anchors))]


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.delitem(sys.modules, "kept_matches", raising=False)
    return __import__("kept_matches")


def test_a_later_run_reads_answers_and_what_they_cost(kept: Any, tmp_path: Path) -> None:
    matcher = Counting()
    first, later = (kept.KeptMatcher("counting", matcher, tmp_path) for _ in range(2))
    computed, read = first.match(PHOTO, [PHOTO, PHOTO]), later.match(PHOTO, [PHOTO, PHOTO])
    assert matcher.asked == 1
    for one, other in zip(computed, read, strict=True):
        np.testing.assert_array_equal(one.anchor_px, other.anchor_px)
    assert (later.cost_s, later.spent_s) == (first.cost_s, 0.0)


def test_a_run_killed_while_it_writes_leaves_nothing_that_looks_like_an_answer(
    kept: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(file: Any, **parts: object) -> None:
        with open(file, "wb") if isinstance(file, str | Path) else file as stream:
            stream.write(b"PK")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(np, "savez", killed)
        with pytest.raises(KeyboardInterrupt):
            kept.KeptMatcher("counting", Counting(), tmp_path).match(PHOTO, [PHOTO])
    assert not list(tmp_path.glob("*.npz"))
    assert len(kept.KeptMatcher("counting", Counting(), tmp_path).match(PHOTO, [PHOTO])) == 1


@pytest.mark.long
def test_wrong_inputs_match_each_pair_once_whatever_the_set_of_anchors(
    kept: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "corruptions", raising=False)
    matcher, other = Counting(), np.ones_like(PHOTO)
    pairs = __import__("corruptions").KeptPairs("counting", matcher, tmp_path)
    assert len(pairs.match(PHOTO, [PHOTO, other])) == 2
    assert len(pairs.match(PHOTO, [other])) == 1
    assert matcher.asked == 2

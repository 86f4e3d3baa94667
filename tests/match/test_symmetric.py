"""What a matcher says in both orders of two pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from geocorrect.match import registry
from geocorrect.match.base import Matcher, any_roll, enough_verified, smooth_noise
from geocorrect.match.options import MatchSection
from geocorrect.match.registry import SymmetricMatcher, agreeing
from geocorrect.match.sift import SiftMatcher
from geocorrect.networks.runtime import Runtime
from geocorrect.records import ImageArray, Matches


def matches(query_px: list[list[float]], anchor_px: list[list[float]]) -> Matches:
    return Matches(np.array(query_px, np.float32), np.array(anchor_px, np.float32), np.ones(len(query_px), np.float32))


def test_both_discs_decide() -> None:
    forward = matches([[10, 10], [20, 20], [30, 30], [40, 40]], [[11, 10], [21, 20], [31, 30], [41, 40]])
    backward = matches([[12, 10], [21, 23], [31, 30]], [[10, 11], [20, 20], [33, 30]])
    assert agreeing(forward, backward, 2.0).tolist() == [True, False, False, False]
    assert agreeing(forward, Matches.empty(), 2.0).tolist() == [False] * 4
    assert agreeing(Matches.empty(), forward, 2.0).shape == (0,)


class OneSided:
    """Says one thing in one order and that and something false in the other."""

    fingerprint = "one-sided"

    def match(self, query: ImageArray, anchors: Sequence[ImageArray]) -> list[Matches]:
        if query[0, 0, 0] == 0:
            return [matches([[1, 1], [5, 5]], [[2, 1], [9, 9]]) for _ in anchors]
        return [matches([[2, 1]], [[1, 1]]) for _ in anchors]


def test_only_what_both_orders_say_stays() -> None:
    matcher = SymmetricMatcher(OneSided(), 1.0)
    assert isinstance(matcher, Matcher)
    photo, anchor = np.zeros((12, 12, 3), np.uint8), np.ones((12, 12, 3), np.uint8)
    found = matcher.match(photo, [anchor, anchor])
    assert [m.query_px.tolist() for m in found] == [[[1, 1]], [[1, 1]]]
    assert matcher.fingerprint == "one-sided+both-ways/1"


def test_it_is_chosen_in_the_configuration() -> None:
    from geocorrect.api.backends import build_matcher
    from geocorrect.config import load_settings

    settings = load_settings(environment={"GEOCORRECT__MATCH__AGREE_PX": "2.0"}).settings
    assert build_matcher(settings).fingerprint.endswith("+both-ways/2")


def test_what_the_registry_declares_of_a_matcher_is_seen_through_wrappers(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = registry.MATCHERS["xfeat"]
    monkeypatch.setitem(registry.MATCHERS, "xfeat", replace(entry, build=lambda options: OneSided()))  # type: ignore[index]
    for agree_px in (0.0, 1.0):
        built = registry.build_matcher(MatchSection(matcher="xfeat", agree_px=agree_px), Runtime())
        assert enough_verified(built) == entry.enough_verified > 59, "so many a façade next door left"
        assert not any_roll(built)
        assert f"one-sided/enough-{entry.enough_verified}" in built.fingerprint
    sift = registry.build_matcher(MatchSection(), Runtime())
    assert (enough_verified(sift), any_roll(sift)) == (0, True)
    assert 0.21 <= smooth_noise(sift) < 1.0, "what was measured, and no less"
    assert smooth_noise(OneSided()) == 1.0
    assert sift.fingerprint == SiftMatcher().fingerprint

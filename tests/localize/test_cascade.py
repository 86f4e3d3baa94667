"""A cascade: who is asked, whose answer counts, what it cost; on a street with known truth."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.known_world import BLANK, KnownWorld, world

from geocorrect.api.backends import build_depth
from geocorrect.config import Settings
from geocorrect.depth.options import DepthSection
from geocorrect.errors import ModelError, Reason, Status
from geocorrect.geometry.camera import turned_from_cam
from geocorrect.geometry.pose import Pose
from geocorrect.jobs.report import CorrectReport
from geocorrect.jobs.run_identity import weights_used
from geocorrect.localize import correct
from geocorrect.localize.correct import localize
from geocorrect.localize.gate import Decision, waits_only_for_confirmation
from geocorrect.localize.options import GateOptions, LocalizeOptions
from geocorrect.match.base import DeclaredMatcher, Matcher
from geocorrect.match.cascade import CascadeMatcher
from geocorrect.match.options import MatchSection
from geocorrect.match.registry import build_matcher
from geocorrect.match.rig import match_photo
from geocorrect.match.sift import SiftMatcher
from geocorrect.networks.runtime import Runtime
from geocorrect.networks.weights import ModelAccess
from geocorrect.records import AnchorView, Correction, Matches, Query, Rejection
from geocorrect.workers.worker import Outcome


class Stage:
    """Gives a share of the matches of a known world, and counts how often it was asked."""

    def __init__(self, name: str, known: KnownWorld, every: int) -> None:
        self.fingerprint, self.known, self.every, self.asked = name, known, every, 0
        self.blind: set[int] = set()  # anchors that it does not match

    def match(self, query: np.ndarray, anchors: list[np.ndarray]) -> list[Matches]:
        self.asked += 1
        return [
            m.subset(np.arange(0, 0 if number in self.blind else len(m), self.every))
            for number, m in enumerate(self.known.matches[: len(anchors)])
        ]


NOTHING, EVERYTHING = 100_000, 1


def ask(*every: int, accept_error_m: float = 0.5) -> tuple[Correction | Rejection, list[int], Mapping[str, float]]:
    """The result of a cascade whose stages give each so many-th match, how often each was asked, and what it cost."""
    known, query, views = world(0)
    stages = {f"stage {number}": Stage(f"g{number}", known, share) for number, share in enumerate(every)}
    options = LocalizeOptions(gate=GateOptions(accept_error_m=accept_error_m))
    found = localize(query, views, CascadeMatcher(stages), known, options, seed=1)
    return found.result, [stage.asked for stage in stages.values()], found.cpu_s


def test_an_accepted_photo_goes_no_further() -> None:
    result, asked, cpu_s = ask(EVERYTHING, EVERYTHING)
    assert isinstance(result, Correction)
    assert (result.status, result.evidence.matcher, asked) == (Status.ACCEPTED, "g0", [1, 0])
    assert list(cpu_s) == ["stage 0"]


def test_a_photo_without_matches_goes_on_and_the_evidence_names_who_answered() -> None:
    result, asked, cpu_s = ask(NOTHING, EVERYTHING, EVERYTHING)
    assert isinstance(result, Correction)
    assert (result.status, result.evidence.matcher, asked) == (Status.ACCEPTED, "g1", [1, 1, 0])
    assert list(cpu_s) == ["stage 0", "stage 1"]
    assert cpu_s["stage 1"] > 0


def test_a_lone_anchor_that_waits_for_a_witness_costs_no_further_stage() -> None:
    """No matches confirm its record; with an anchor beside it that the first stage did not match, they could."""
    known, query, views = world(0)
    first, second = Stage("g0", known, EVERYTHING), Stage("g1", known, EVERYTHING)
    cascade, options = CascadeMatcher({"first": first, "second": second}), LocalizeOptions()
    options = replace(options, gate=replace(options.gate, min_lone_coverage=0.2))
    found = localize(query, views[:1], cascade, known, options, seed=1).result
    assert waits_only_for_confirmation(found, options.gate)
    assert (first.asked, second.asked) == (1, 0)
    first.blind = {1, 2}
    found = localize(query, views, cascade, known, options, seed=1).result
    assert isinstance(found, Correction)
    assert (found.status, second.asked) == (Status.ACCEPTED, 1)


def test_of_equal_failures_the_first_is_told() -> None:
    result, asked, _ = ask(NOTHING, NOTHING)
    assert isinstance(result, Rejection)
    assert (result.reason, result.evidence.matcher, asked) == (Reason.TOO_FEW_MATCHES, "g0", [1, 1])


def test_a_worse_later_answer_does_not_replace_a_better_one() -> None:
    """60 matches per anchor say a position to 3 cm: where 2 cm are asked for a review, which later stages leave."""
    result, asked, _ = ask(25, NOTHING, accept_error_m=0.02)
    assert isinstance(result, Correction)
    assert (result.status, result.evidence.matcher, asked) == (Status.REVIEW, "g0", [1, 1])


def test_what_matches_cannot_cure_goes_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where depth and the anchors' baselines contradict each other, every stage would meet the same contradiction."""
    known, query, views = world(0)
    stages = {name: Stage(name, known, EVERYTHING) for name in ("g0", "g1")}
    monkeypatch.setattr(correct, "decide", lambda *_: Decision(Status.REJECTED, Reason.SCALE_DISAGREES))
    found = correct.localize(query, views, CascadeMatcher(stages), known, LocalizeOptions(), seed=1).result
    assert isinstance(found, Rejection)
    assert [stage.asked for stage in stages.values()] == [1, 0]


def test_the_run_key_holds_every_stage() -> None:
    known, _, _ = world(0)
    first, second, other = (Stage(name, known, 1) for name in ("g0", "g1", "g2"))
    prints = {CascadeMatcher({"a": first, "b": last}).fingerprint for last in (second, other)}
    assert len(prints | {CascadeMatcher({"b": second, "a": first}).fingerprint}) == 3
    assert all("g0" in text for text in prints)


def test_missing_weights_of_a_later_stage_are_told_when_it_is_built(tmp_path: Path) -> None:
    section = MatchSection(matcher="cascade", stages=("sift", "aliked_lightglue"))
    with pytest.raises(ModelError, match=r"geocorrect models fetch aliked_lightglue --folder"):
        build_matcher(section, Runtime(access=ModelAccess(tmp_path)))
    built = build_matcher(MatchSection(matcher="cascade", stages=("sift",)), Runtime())
    assert isinstance(built, CascadeMatcher)
    assert built.fingerprint == f"cascade:{SiftMatcher().fingerprint}"
    assert built.match(BLANK, [BLANK])[0].query_px.shape == (0, 2)


def test_without_torch_the_message_names_the_one_command(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else found(name))
    section = MatchSection(matcher="cascade", stages=("sift", "aliked_lightglue"))
    with pytest.raises(ModelError, match=r"^the networks need torch: pip install 'geocorrect\[learned\]'$"):
        build_matcher(section, Runtime())


def test_depth_from_neighbours_is_that_of_the_first_stage() -> None:
    """So that changing from SIFT to a cascade keeps the anchors' calibrations."""
    plain = Settings().model_copy(update={"depth": DepthSection().with_source("triangulated")})
    cascade = plain.model_copy(update={"match": MatchSection(matcher="cascade", stages=("sift",))})
    assert build_depth(cascade).fingerprint == build_depth(plain).fingerprint


def test_the_licences_of_all_stages_bind_the_results() -> None:
    section = MatchSection(matcher="cascade", stages=("sift", "aliked_lightglue", "mast3r"))
    used = weights_used(Settings().model_copy(update={"match": section}))
    assert [use["name"] for use in used] == ["aliked_lightglue", "mast3r"]


@pytest.mark.parametrize("stages", [(), ("sift", "sift")])
def test_stages_that_make_no_cascade_are_refused(stages: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="at least one matcher, and each once"):
        MatchSection(stages=stages)  # type: ignore[arg-type]


def test_the_report_says_what_each_stage_cost() -> None:
    report = CorrectReport(n_due=2)
    for cpu_s in ({"sift": 1.0}, {"sift": 3.0, "aliked_lightglue": 8.0}):
        report.add(Outcome(Rejection("q", Reason.UNCERTAIN), (), cpu_s=cpu_s))
    assert "sift 2 photos, 2.0 s each; aliked_lightglue 1 photos, 8.0 s each" in report.sentence()
    assert report.as_json()["stages"] == {
        "sift": {"n_photos": 2, "cpu_s": 4.0},
        "aliked_lightglue": {"n_photos": 1, "cpu_s": 8.0},
    }


def test_a_pair_counts_from_as_many_verified_matches_as_its_matcher_declares() -> None:
    """Each stage by its own figure; wrappers do not hide it."""
    known, query, views = world(0)
    counts = [a.n_verified for a in _localized(Stage("g", known, 4), known, query, views).evidence.anchors]
    some = sorted(counts)[len(counts) // 2]
    declared = Wrapped(DeclaredMatcher(Stage("g", known, 4), some))
    kept = [a.n_verified for a in _localized(declared, known, query, views).evidence.anchors]
    assert kept == [count if count >= some else 0 for count in counts]
    assert 0 in kept
    assert max(kept) > 0
    stages = CascadeMatcher({"a": DeclaredMatcher(Stage("a", known, 4), 100_000), "b": Stage("b", known, 4)})
    found = _localized(stages, known, query, views)
    assert found.evidence.matcher == "b"
    assert [a.n_verified for a in found.evidence.anchors] == counts


class Wrapped:
    """Any wrapper."""

    def __init__(self, matcher: Matcher) -> None:
        self.matcher, self.fingerprint = matcher, matcher.fingerprint

    def match(self, query: np.ndarray, anchors: Sequence[np.ndarray]) -> list[Matches]:
        return self.matcher.match(query, anchors)


def _localized(
    matcher: Matcher, known: KnownWorld, query: Query, views: Sequence[AnchorView]
) -> Correction | Rejection:
    return localize(query, views, matcher, known, LocalizeOptions(), seed=1).result


def test_a_photo_that_lies_on_its_side_is_shown_the_anchors_way_up_to_matchers_that_need_it() -> None:
    """Half of the anchors are turned, too; pixels come back as those of the photo, and SIFT sees it as it is."""
    _, query, _ = world(0)
    pixels = np.arange(768 * 1024 * 3, dtype=np.uint32).astype(np.uint8).reshape(768, 1024, 3)
    upright = np.ascontiguousarray(np.rot90(pixels, 1))
    for any_roll, shapes in ((True, {pixels.shape}), (False, {pixels.shape, upright.shape})):
        corner = Corner()
        matcher = DeclaredMatcher(corner, any_roll=any_roll)
        found = match_photo(matcher, pixels, query.camera, [BLANK, BLANK, BLANK], [1, 0, 1])
        assert {view.shape for view in corner.shown} == shapes
        turned = [0.0, 0.0] if any_roll else [1023.0, 0.0]
        assert [m.query_px[0].tolist() for m in found] == [turned, [0.0, 0.0], turned]


class Corner:
    """Matches the first pixel of whatever it is shown."""

    fingerprint = "corner"

    def __init__(self) -> None:
        self.shown: list[np.ndarray] = []

    def match(self, query: np.ndarray, anchors: Sequence[np.ndarray]) -> list[Matches]:
        self.shown.append(query)
        first = np.zeros((1, 2), np.float32)
        return [Matches(first, first, np.ones(1, np.float32)) for _ in anchors]


def test_the_way_up_is_that_of_the_anchor() -> None:
    """The photo needs one quarter turn to be upright; an anchor that was taken on the same side needs none of it."""
    known, query, views = world(0)
    pose = views[0].anchor.world_from_cam
    side = replace(views[0].anchor, world_from_cam=Pose(pose.rotation * turned_from_cam(3).inv(), pose.translation_m))
    corner = Corner()
    lying = replace(query, upright_turns=1)
    both = [replace(views[0], anchor=side), views[1]]
    localize(lying, both, DeclaredMatcher(corner), known, LocalizeOptions(), seed=1)
    assert [view.shape[:2] for view in corner.shown] == [(768, 1024), (1024, 768)]

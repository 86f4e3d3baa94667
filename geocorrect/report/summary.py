"""The report in words: what was done, how well, and what was left alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from geocorrect.errors import Status
from geocorrect.report.contents import Contents, Photo
from geocorrect.report.statistics import (
    FALSE_ACCEPT_M,
    by_frequency,
    finite,
    median_of,
    percentile_of,
    share_of,
)
from geocorrect.report.wording import count, days, degrees, length, length_with_interval, listed, place, share


@dataclass(frozen=True)
class Figure:
    """One of the large numbers."""

    value: str
    label: str
    note: str
    """Interval and sample size."""


def summary_sentences(contents: Contents) -> list[str]:
    """Whole sentences with unit, 95 % interval and n; together the paragraph at the top of the page."""
    if not contents.photos:
        return ["The catalog holds no result yet: nothing was corrected and nothing was rejected.", *_pending(contents)]
    errors = _true(contents) or _predicted(contents)
    return [_scope(contents), _decided(contents), *_moved(contents), *errors, *_pending(contents)]


def headline(contents: Contents) -> str:
    """One sentence: how many were put back, from how far off to how close."""
    accepted = contents.of_status(Status.ACCEPTED)
    if not contents.photos:
        return "No photo has a result yet."
    before = median_of(p.reported_error_m if contents.has_truth else p.stored.displacement_m for p in accepted)
    after = median_of(p.true_error_m if contents.has_truth else p.expected_error_m for p in accepted)
    done = f"{len(accepted):,} of {count(len(contents.photos), 'photo')} put back where they were taken"
    if not before.n:
        return f"{done}."
    left = "measured against the truth" if contents.has_truth else "expected error"
    return f"{done}: from {length(before.value)} off to {length(after.value)} horizontally (medians; {left})."


def note_sentences(contents: Contents) -> list[str]:
    """What a careful reader wants to know next: what was left alone, what was promised, what was measured."""
    if not contents.photos:
        return []
    promised = _predicted(contents) if _true(contents) else []
    return [*_rejected(contents), *promised, *_promise_kept(contents), *_missed(contents), *_oracle(contents)]


def key_figures(contents: Contents) -> list[Figure]:
    """The large numbers under the paragraph."""
    n, corrected = len(contents.photos), contents.corrected
    accepted, review, rejected = (contents.of_status(status) for status in Status)
    true_errors = [_median_figure("true error", (p.true_error_m for p in accepted))] if contents.has_truth else []
    return [
        Figure(f"{n:,}", "photos with a result", _sequences(contents)),
        Figure(f"{len(accepted):,}", "accepted", share(share_of(len(accepted), n))),
        _median_figure("displacement", (photo.stored.displacement_m for photo in corrected)),
        *true_errors,
        _median_figure("predicted error", (photo.expected_error_m for photo in corrected)),
        Figure(f"{len(rejected):,}", "rejected", f"{len(review):,} more wait for a review"),
    ]


def reason_counts(photos: Iterable[Photo]) -> list[tuple[str, int]]:
    """Rejections by reason, most frequent first."""
    return by_frequency(Counter(photo.stored.reason.value for photo in photos if photo.stored.reason is not None))


def _sequences(contents: Contents) -> str:
    n = len({photo.stored.sequence_id for photo in contents.photos} - {None})
    return f"in {count(n, 'sequence')}"


def _median_figure(what: str, lengths_m: Iterable[float]) -> Figure:
    median = median_of(lengths_m)
    shown = length_with_interval(median)
    bracket = shown[shown.index("[") :] + ", " if "[" in shown else ""
    return Figure(length(median.value), f"median {what}", f"{bracket}n = {median.n:,}")


def _scope(contents: Contents) -> str:
    times = [photo.stored.captured_at for photo in contents.photos if photo.stored.captured_at is not None]
    devices = len({photo.device for photo in contents.photos})
    when = f", taken {days(min(times), max(times))}" if times else ""
    where = place(contents.frame.lon_deg, contents.frame.lat_deg)
    return (
        f"This report covers {count(len(contents.photos), 'street photo')} {_sequences(contents)} from "
        f"{count(devices, 'kind')} of device{when}, around {where}, matched against "
        f"{count(len(contents.anchors), 'anchor image')} whose positions are known."
    )


def _decided(contents: Contents) -> str:
    n = len(contents.photos)
    accepted, review = (len(contents.of_status(status)) for status in (Status.ACCEPTED, Status.REVIEW))
    waiting = f"{review:,} more got a position that a person should review first"
    done = f"{accepted:,} of the photos, {share(share_of(accepted, n))}, were put back where they were taken"
    return f"{done}; {waiting if review else 'none waits for a review'}."


def _rejected(contents: Contents) -> list[str]:
    reasons = reason_counts(contents.photos)
    if not reasons:
        return ["None was rejected."]
    total = sum(number for _, number in reasons)
    shown = [f"{reason.replace('_', ' ')} ({number:,})" for reason, number in reasons]
    kept = f"{'It keeps its' if total == 1 else 'They keep their'} reported position"
    return [f"{count(total, 'photo was', 'photos were')} rejected rather than guessed: {listed(shown)}. {kept}."]


def _moved(contents: Contents) -> list[str]:
    corrected = contents.corrected
    moved = median_of(photo.stored.displacement_m for photo in corrected)
    if not moved.n:
        return []
    ninety = length(percentile_of((photo.stored.displacement_m for photo in corrected), 90))
    turned = median_of(abs(photo.stored.heading_change_deg) for photo in corrected)
    heading = f", and turned by {degrees(turned.value)} (median, n = {turned.n:,})" if turned.n else ""
    provider = median_of(photo.from_computed_m for photo in corrected)
    lie = f" Positions that the provider computed lie {length_with_interval(provider)} from the corrected ones"
    beside = f"{lie} (median, n = {provider.n:,})." if provider.n else ""
    return [
        f"Corrected photos moved horizontally by a median of {length_with_interval(moved)} (90th percentile {ninety}, "
        f"n = {moved.n:,}){heading}: that far off their devices had them.{beside}"
    ]


def _predicted(contents: Contents) -> list[str]:
    predicted = median_of(photo.expected_error_m for photo in contents.corrected)
    if not predicted.n:
        return []
    return [
        f"The system itself expects a horizontal error of {length_with_interval(predicted)} "
        f"(median of the 68 % predictions, n = {predicted.n:,})."
    ]


def _true(contents: Contents) -> list[str]:
    accepted = [photo for photo in contents.of_status(Status.ACCEPTED) if photo.truth is not None]
    errors = finite(photo.true_error_m for photo in accepted)
    if not len(errors):
        return []
    before, after = median_of(photo.reported_error_m for photo in accepted), median_of(errors)
    wrong = int((errors > FALSE_ACCEPT_M).sum())
    provider = median_of(photo.computed_error_m for photo in accepted)
    computed = (
        f"; that of the provider's computed positions is {length_with_interval(provider)}, n = {provider.n:,}"
        if provider.n
        else ""
    )
    return [
        f"Measured against the known truth, the horizontal error of the accepted photos fell from "
        f"{length_with_interval(before)} to {length_with_interval(after)} (medians, n = {after.n:,}; 90th percentile "
        f"{length(percentile_of(errors, 90))}, largest {length(float(errors[-1]))}{computed}); "
        f"{wrong if wrong else 'none'} of them {'are' if wrong > 1 else 'is'} wrong by more than {FALSE_ACCEPT_M:g} m."
    ]


def _promise_kept(contents: Contents) -> list[str]:
    pairs = _error_pairs(contents.of_status(Status.ACCEPTED))
    if not pairs:
        return []
    kept = share(share_of(sum(error <= predicted for error, predicted in pairs), len(pairs)))
    said = [f"Of the true errors of accepted photos, {kept} are within their prediction, which promises 68 % "
            f"(n = {len(pairs):,})."]  # fmt: skip
    doubtful = [error for error, _ in _error_pairs(contents.of_status(Status.REVIEW))]
    if doubtful:
        wrong = sum(error > FALSE_ACCEPT_M for error in doubtful)
        said.append(
            f"Of those that wait for a review, {wrong:,} of {len(doubtful):,} would be wrong by more than "
            f"{FALSE_ACCEPT_M:g} m."
        )
    return said


def _error_pairs(photos: Iterable[Photo]) -> list[tuple[float, float]]:
    return [(photo.true_error_m, photo.expected_error_m) for photo in photos if photo.true_error_m >= 0]


def _missed(contents: Contents) -> list[str]:
    """How many photos that anchors can see were rejected, when the truth says which those are."""
    placeable = [photo for photo in contents.photos if photo.truth is not None and photo.truth.localisable]
    if not placeable:
        return []
    missed = sum(photo.status is Status.REJECTED for photo in placeable)
    outcome = f"{missed:,} {'was' if missed == 1 else 'were'}" if missed else "none was"
    return [f"Of the {count(len(placeable), 'photo')} that anchors can see, {outcome} rejected."]


def _oracle(contents: Contents) -> list[str]:
    oracle = sum(photo.stored.depth_is_oracle for photo in contents.corrected)
    if not oracle:
        return []
    return [
        f"For {count(oracle, 'photo')} the depth of the anchors was measured by LiDAR (an oracle): these figures say "
        "how good matching and pose are, not what depth predicted by a network would give."
    ]


def _pending(contents: Contents) -> list[str]:
    n = contents.n_pending
    return [f"{count(n, 'photo')} of the catalog {'has' if n == 1 else 'have'} no result yet."] if n else []

"""The tables of the report: one row per sequence, per kind of device, per reason of rejection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from geocorrect.errors import Reason, Status
from geocorrect.report.contents import Contents, Photo
from geocorrect.report.statistics import finite, mean_angle_deg, median_of
from geocorrect.report.summary import reason_counts
from geocorrect.report.wording import length, seconds, shortened, signed

DEVICES_NAMED = 3


@dataclass(frozen=True)
class Cell:
    """What a table shows, and the number that sorts it (nan = unknown, last)."""

    text: str
    sort: float


@dataclass(frozen=True)
class GroupRow:
    """A sequence or a kind of device; `about` says what else it is."""

    name: str
    about: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class ReasonRow:
    """Why photos were rejected: code, meaning, how many, and one example of the detail."""

    code: str
    meaning: str
    n: int
    example: str


def group_headings(has_truth: bool) -> tuple[tuple[str, str], ...]:
    """Column titles of `GroupRow.cells` with what they mean."""
    headings = (
        ("Photos", "photos with a result"),
        ("Accepted", "put back where they were taken"),
        ("Review", "wait for a person"),
        ("Rejected", "not corrected"),
        ("Displacement", "median horizontal distance, reported to corrected (accepted photos)"),
        ("Bias east", "mean of corrected minus reported position, east (accepted photos)"),
        ("Bias north", "mean of corrected minus reported position, north (accepted photos)"),
        ("Heading bias", "mean of corrected minus reported heading, clockwise (accepted photos)"),
        (
            "Time lag",
            "how far reported positions are behind the photos in time; unknown where speed and course hardly change",
        ),
        ("Predicted error", "median of the predicted 68 % horizontal error (accepted photos)"),
    )
    return (*headings, ("True error", "median horizontal distance from the truth")) if has_truth else headings


def sequence_rows(contents: Contents) -> list[GroupRow]:
    """Per sequence; `about` names its devices."""

    def about(photos: Sequence[Photo]) -> list[str]:
        devices = sorted({photo.device for photo in photos})
        rest = len(devices) - DEVICES_NAMED
        return [*devices[:DEVICES_NAMED], f"{rest} more"] if rest > 0 else devices

    return _grouped(contents, lambda photo: photo.sequence, about)


def device_rows(contents: Contents) -> list[GroupRow]:
    """Per kind of device; `about` says in how many sequences it was used."""

    def about(photos: Sequence[Photo]) -> list[str]:
        n = len({photo.sequence for photo in photos})
        return [f"{n} {'sequence' if n == 1 else 'sequences'}"]

    return _grouped(contents, lambda photo: photo.device, about)


def reason_rows(contents: Contents) -> list[ReasonRow]:
    """Rejections by reason, most frequent first."""
    examples: dict[str, str] = {}
    for photo in contents.of_status(Status.REJECTED):
        if photo.stored.reason is not None and photo.stored.detail:
            examples.setdefault(photo.stored.reason.value, photo.stored.detail)
    return [
        ReasonRow(code, Reason(code).text, n, shortened(examples.get(code, ""), 200))
        for code, n in reason_counts(contents.photos)
    ]


def _grouped(
    contents: Contents, key: Callable[[Photo], str], about: Callable[[Sequence[Photo]], Sequence[str]]
) -> list[GroupRow]:
    groups: dict[str, list[Photo]] = {}
    for photo in contents.photos:
        groups.setdefault(key(photo), []).append(photo)
    return [
        GroupRow(name, ", ".join(about(photos)), _cells(photos, contents)) for name, photos in sorted(groups.items())
    ]


def _cells(photos: Sequence[Photo], contents: Contents) -> tuple[Cell, ...]:
    counts = [sum(photo.status is status for photo in photos) for status in Status]
    accepted = [photo for photo in photos if photo.status is Status.ACCEPTED]
    east, north = (
        _mean([getattr(photo.stored, name) for photo in accepted])
        for name in ("displacement_east_m", "displacement_north_m")
    )
    turn = mean_angle_deg(photo.stored.heading_change_deg for photo in accepted)
    lag = _mean([contents.lags_s.get(photo.sequence, float("nan")) for photo in accepted])
    cells = [
        *[Cell(f"{n:,}", n) for n in (len(photos), *counts)],
        _length_cell([photo.stored.displacement_m for photo in accepted]),
        Cell(signed(east, "m"), east),
        Cell(signed(north, "m"), north),
        Cell(signed(turn, "°"), turn),
        Cell(seconds(lag), lag),
        _length_cell([photo.expected_error_m for photo in accepted]),
    ]
    if contents.has_truth:
        cells.append(_length_cell([photo.true_error_m for photo in accepted]))
    return tuple(cells)


def _length_cell(values_m: Sequence[float]) -> Cell:
    median = median_of(values_m).value
    return Cell(length(median), median)


def _mean(values: Sequence[float]) -> float:
    known = finite(values)
    return float(np.mean(known)) if len(known) else float("nan")

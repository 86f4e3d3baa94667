"""The tables of the report: one row per sequence, per kind of device, per reason of rejection."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from geocorrect.errors import Reason, Status
from geocorrect.records import NAN
from geocorrect.report.contents import Contents, Photo
from geocorrect.report.statistics import finite, mean_angle_deg, median_of
from geocorrect.report.summary import reason_counts
from geocorrect.report.wording import count, length, shortened, signed

DEVICES_NAMED = 3


@dataclass(frozen=True)
class Cell:
    """A cell of a table."""

    text: str
    sort: float
    """The number that sorts it; nan = unknown, last."""


@dataclass(frozen=True)
class GroupRow:
    """A sequence or a kind of device."""

    name: str
    about: str
    """The devices of a sequence, or where a device was used."""
    cells: tuple[Cell, ...]
    """Under `group_headings`."""


@dataclass(frozen=True)
class ReasonRow:
    """A reason of rejection."""

    code: str
    meaning: str
    n: int
    example: str
    """Detail of one of these rejections."""


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
    """Per sequence."""

    def about(photos: Sequence[Photo]) -> str:
        devices = sorted({photo.device for photo in photos})
        rest = len(devices) - DEVICES_NAMED
        return ", ".join([*devices[:DEVICES_NAMED], f"{rest} more"] if rest > 0 else devices)

    return _grouped(contents, lambda photo: photo.sequence, about)


def device_rows(contents: Contents) -> list[GroupRow]:
    """Per kind of device."""

    def about(photos: Sequence[Photo]) -> str:
        return count(len({photo.sequence for photo in photos}), "sequence")

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
    contents: Contents, key: Callable[[Photo], str], about: Callable[[Sequence[Photo]], str]
) -> list[GroupRow]:
    groups: dict[str, list[Photo]] = {}
    for photo in contents.photos:
        groups.setdefault(key(photo), []).append(photo)
    return [GroupRow(name, about(photos), _cells(photos, contents)) for name, photos in sorted(groups.items())]


def _cells(photos: Sequence[Photo], contents: Contents) -> tuple[Cell, ...]:
    counts = [sum(photo.status is status for photo in photos) for status in Status]
    accepted = [photo for photo in photos if photo.status is Status.ACCEPTED]
    east = _mean(photo.stored.displacement_east_m for photo in accepted)
    north = _mean(photo.stored.displacement_north_m for photo in accepted)
    turn = mean_angle_deg(photo.stored.heading_change_deg for photo in accepted)
    lag = _mean(contents.lags_s.get(photo.sequence, NAN) for photo in accepted)
    cells = [
        *[Cell(f"{n:,}", n) for n in (len(photos), *counts)],
        _length_cell(photo.stored.displacement_m for photo in accepted),
        Cell(signed(east, "m"), east),
        Cell(signed(north, "m"), north),
        Cell(signed(turn, "°"), turn),
        Cell(signed(lag, "s", 2), lag),
        _length_cell(photo.expected_error_m for photo in accepted),
    ]
    if contents.has_truth:
        cells.append(_length_cell(photo.true_error_m for photo in accepted))
    return tuple(cells)


def _length_cell(values_m: Iterable[float]) -> Cell:
    median = median_of(values_m).value
    return Cell(length(median), median)


def _mean(values: Iterable[float]) -> float:
    known = finite(values)
    return float(np.mean(known)) if len(known) else NAN

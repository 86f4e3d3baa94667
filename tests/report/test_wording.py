from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone

import pytest

from geocorrect.report import wording
from geocorrect.report.statistics import Estimate


@pytest.mark.parametrize(
    ("metres", "text"),
    [
        (0.0362, "3.6 cm"),
        (0.423, "42 cm"),
        (0.0042, "0.42 cm"),
        (7.53, "7.5 m"),
        (9.9999, "10 m"),
        (123.4, "123 m"),
        (math.nan, "–"),
    ],
)
def test_length_chooses_the_unit_that_reads_best(metres: float, text: str) -> None:
    assert wording.length(metres).replace(wording.TIED, " ") == text


def test_number_and_unit_stay_on_one_line() -> None:
    assert " " not in wording.length(7.53)


def test_interval_speaks_the_unit_of_its_value() -> None:
    shown = wording.length_with_interval(Estimate(0.9, 0.85, 1.2, 10))
    assert shown.replace(wording.TIED, " ") == "90 cm [85–120]"
    assert "[" not in wording.length_with_interval(Estimate(0.9, math.nan, math.nan, 3))


def test_share_has_its_interval() -> None:
    assert wording.share(Estimate(0.85, 0.756, 0.912, 80)).replace(wording.TIED, " ") == "85 % [76–91]"
    assert wording.share(Estimate(math.nan, math.nan, math.nan, 0)) == "–"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(2.41, "m", "+2.4 m"), (-5.06, "°", "−5.1°"), (-0.01, "m", "0.0 m"), (math.nan, "m", "–")],
)
def test_signed_values_compare_down_a_column(value: float, unit: str, text: str) -> None:
    assert wording.signed(value, unit).replace(wording.TIED, " ") == text


def test_counts_lists_places_and_days() -> None:
    assert wording.count(1, "photo") == "1 photo"
    assert wording.count(12345, "photo") == "12,345 photos"
    assert wording.listed(["a", "b", "c"]) == "a, b and c"
    assert wording.listed(["a"]) == "a"
    assert wording.place(-70.5, -33.25) == "33.25000° S, 70.50000° W"
    late = datetime(2026, 3, 1, 23, 30, tzinfo=timezone(timedelta(hours=-2)))
    assert wording.days(late, late) == "on 2026-03-02"
    assert wording.moment(late) == "2026-03-02 01:30 UTC"
    assert wording.moment(None) == "–"
    assert wording.days(datetime(2026, 1, 1, tzinfo=UTC), late) == "from 2026-01-01 to 2026-03-02"


def test_seconds_have_a_sign_and_two_decimals() -> None:
    shown = [wording.signed(value, "s", 2).replace(wording.TIED, " ") for value in (0.5, -0.034, -0.001, math.nan)]
    assert shown == ["+0.50 s", "−0.03 s", "0.00 s", "–"]

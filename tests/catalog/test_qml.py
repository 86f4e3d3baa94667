"""Colours that users can distinguish on the map."""

from __future__ import annotations

from itertools import combinations
from xml.etree import ElementTree

from support.colour_vision import DEFICIENCIES, apart

from geocorrect.catalog.views.palette import ERROR_CLASSES, STATUS_COLOURS, red_green_blue
from geocorrect.catalog.views.qml import qml
from geocorrect.errors import Reason

GOOD_CLASSES = 2
"""The first classes of the expected error: what is well corrected."""


def colours(layer: str) -> list[str]:
    root = ElementTree.fromstring(qml(layer).split("\n", 1)[1])
    return [option.get("value") or "" for option in root.iter("Option") if option.get("name") == "color"]


def test_errors_and_statuses_differ_for_everybody() -> None:
    """Also with each of the three deficiencies: the old green and yellow were 9 apart for deuteranopes."""
    classes = [red_green_blue(colour) for _, colour in ERROR_CLASSES]
    review = red_green_blue(STATUS_COLOURS["review"])
    assert colours("current_correction")[: len(classes)] == [f"{colour},255" for colour in classes]
    for deficiency in DEFICIENCIES:
        assert min(apart(a, b, deficiency) for a, b in combinations([*classes, review], 2)) > 30, deficiency
        assert min(apart(a, b, deficiency) for a, b in combinations(STATUS_COLOURS.values(), 2)) > 20, deficiency


def test_anchors_look_like_no_corrected_photo() -> None:
    """Their blue of before was 15 from a class of the expected error."""
    (anchor,) = colours("anchor")
    for deficiency in DEFICIENCIES:
        assert min(apart(anchor, colour, deficiency) for colour in colours("current_correction")) > 25, deficiency


def test_no_two_reasons_look_alike_and_none_looks_good() -> None:
    reasons, good = colours("rejected"), colours("current_correction")[:GOOD_CLASSES]
    assert len(reasons) == len(Reason)
    assert min(apart(a, b) for a, b in combinations(reasons, 2)) > 25
    assert min(apart(a, b) for a in reasons for b in good) > 30


def test_what_has_a_heading_has_one_tip() -> None:
    """QGIS draws "triangle" almost equilateral: a street at 60° reads as one at 300° as well."""
    for layer in ("anchor", "current_correction"):
        root = ElementTree.fromstring(qml(layer).split("\n", 1)[1])
        shapes = {option.get("value") for option in root.iter("Option") if option.get("name") == "name"} - {""}
        turned = [option.get("value") for option in root.iter("Option") if option.get("name") == "field"]
        assert shapes & {"arrow", "triangle", "circle"} == {"arrow"}, layer
        assert set(turned) == {"heading_deg"}

"""Colours that users can distinguish on the map."""

from __future__ import annotations

from itertools import combinations
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from geocorrect.catalog.views.qml import qml
from geocorrect.errors import Reason

GREEN_CLASSES = 2
"""The first classes of the expected error: what is well corrected."""


def colours(layer: str) -> list[str]:
    root = ElementTree.fromstring(qml(layer).split("\n", 1)[1])
    return [option.get("value") or "" for option in root.iter("Option") if option.get("name") == "color"]


def lab(colour: str) -> NDArray[np.float64]:
    """CIELAB (D65) of "red,green,blue,alpha" in sRGB."""
    rgb = np.array(colour.split(",")[:3], float) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    x, y, z = (float(f) for f in np.cbrt(np.maximum(np.array(to_xyz) @ linear / [0.95047, 1.0, 1.08883], 0.0)))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_no_two_reasons_look_alike_and_none_looks_good() -> None:
    reasons, good = colours("rejected"), colours("current_correction")[:GREEN_CLASSES]
    assert len(reasons) == len(Reason)
    assert min(np.linalg.norm(lab(a) - lab(b)) for a, b in combinations(reasons, 2)) > 25
    assert min(np.linalg.norm(lab(a) - lab(b)) for a in reasons for b in good) > 30


def test_what_has_a_heading_has_one_tip() -> None:
    """QGIS draws "triangle" almost equilateral: a street at 60° reads as one at 300° as well."""
    for layer in ("anchor", "current_correction"):
        root = ElementTree.fromstring(qml(layer).split("\n", 1)[1])
        shapes = {option.get("value") for option in root.iter("Option") if option.get("name") == "name"} - {""}
        turned = [option.get("value") for option in root.iter("Option") if option.get("name") == "field"]
        assert shapes & {"arrow", "triangle", "circle"} == {"arrow"}, layer
        assert set(turned) == {"heading_deg"}

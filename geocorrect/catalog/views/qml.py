"""QGIS styles (QML) of the layers, from the macros of `renderers.xml.j2`: one per layer, of the layer's name."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from geocorrect.catalog.views.palette import ERROR_CLASSES, STATUS_COLOURS, red_green_blue
from geocorrect.errors import Reason

STYLED = (
    "current_correction",
    "review_queue",
    "displacement",
    "error_ellipse",
    "coverage",
    "rejected",
    "sequence_bias",
    "image",
    "anchor",
)
"""Layers that have a style."""
PHOTOS = ("current_correction", "review_queue", "rejected", "image")
"""Layers whose features are photos: they show the picture when pointed at, and open it on a click."""
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def xml_allowed(text: str) -> str:
    """The text with a mark in place of every character that XML 1.0 forbids, however it is escaped."""
    return _FORBIDDEN.sub("\ufffd", text)


def xml_text(text: Any) -> str:
    """Escaped text of an element."""
    return escape(xml_allowed(str(text)))


def xml_template(path: Path) -> Any:
    """A Jinja2 template for XML, with the filters `attribute` (quotes and escapes a value) and `xml` (escapes text)."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(loader=FileSystemLoader(path.parent), undefined=StrictUndefined, autoescape=False)
    environment.filters |= {"attribute": lambda value: quoteattr(xml_allowed(str(value))), "xml": xml_text}
    return environment.get_template(path.name)


@cache
def _renderers() -> Any:
    return xml_template(Path(__file__).with_name("renderers.xml.j2")).make_module(
        {
            "reasons": list(Reason),
            "error_classes": [(limit, red_green_blue(colour)) for limit, colour in ERROR_CLASSES],
            "review": red_green_blue(STATUS_COLOURS["review"]),
        }
    )


def renderer(layer: str) -> str:
    """The <renderer-v2> element of a layer, "" for layers without a style."""
    return str(getattr(_renderers(), layer)()) if layer in STYLED else ""


def on_click(layer: str) -> str:
    """The elements <mapTip> and <attributeactions> of a layer of photos, "" for other layers."""
    if layer not in PHOTOS:
        return ""
    module = _renderers()
    return f'<mapTip enabled="1">{escape(str(module.map_tip()))}</mapTip>{module.actions()}'


def qml(layer: str) -> str:
    """A complete style file for a layer."""
    head = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
    categories = "Symbology|MapTips|Actions" if layer in PHOTOS else "Symbology"
    body = f"{renderer(layer)}{on_click(layer)}"
    return f'{head}<qgis version="3.22.0" styleCategories="{categories}">\n{body}\n</qgis>\n'

"""QGIS styles (QML) for the layers, written by hand: small, and the same for every back-end and file.

Points of corrections are arrows turned by heading and coloured by expected error; displacements are arrows from
reported to corrected; ellipses and view wedges are translucent; rejections are crosses coloured by reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from xml.sax.saxutils import quoteattr

from geocorrect.errors import Reason

_HEAD = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
# Upper limit of the expected error (m), colour from green to red (colour-blind safe: RdYlBu reversed at the ends).
_ERROR_CLASSES = (
    (0.1, "26,150,65"),
    (0.25, "122,190,80"),
    (0.5, "219,205,80"),
    (1.0, "253,141,60"),
    (1e6, "215,25,28"),
)
# One per reason, in its order. Chosen by farthest points in CIELAB: any two are further apart than 35 (about 2 can just
# be seen), and none is near the two greens that say "good".
_REASON_COLOURS = (
    "225,120,255", "180,165,210", "0,60,135", "0,180,210", "195,165,135", "0,0,255", "255,0,60",
    "255,0,150", "240,120,0", "60,60,0", "0,90,255", "255,135,120", "180,165,0", "210,0,255",
    "0,60,60", "120,0,105", "105,45,60", "255,135,195", "150,90,15", "0,165,255", "0,0,0",
)  # fmt: skip
_OUTLINE = "35,35,35,200"


def renderer(layer: str) -> str:
    """The <renderer-v2> element of a layer, "" for layers without a style."""
    makers: dict[str, Callable[[], str]] = {
        "current_correction": _graduated_arrows,
        "displacement": _displacement_arrows,
        "error_ellipse": lambda: _single("fill", _fill("31,120,180,60", "31,120,180,220")),
        "coverage": lambda: _single("fill", _fill("255,200,0,25", "200,150,0,110")),
        "rejected": _crosses_by_reason,
        "sequence_bias": lambda: _single("marker", _marker("diamond", "106,61,154,255", 4.0)),
        "image": lambda: _single("marker", _marker("circle", "150,150,150,255", 1.4)),
        "anchor": lambda: _single("marker", _marker("arrow", "31,120,180,255", 3.4, angle="heading_deg")),
    }
    return makers[layer]() if layer in makers else ""


STYLED = (
    "current_correction",
    "displacement",
    "error_ellipse",
    "coverage",
    "rejected",
    "sequence_bias",
    "image",
    "anchor",
)


def qml(layer: str) -> str:
    """A complete style file for a layer."""
    return f'{_HEAD}<qgis version="3.22.0" styleCategories="Symbology">\n{renderer(layer)}\n</qgis>\n'


def _graduated_arrows() -> str:
    ranges, symbols, lower = [], [], 0.0
    for number, (upper, colour) in enumerate(_ERROR_CLASSES):
        label = f"{lower:g} – {upper:g} m" if upper < 1e6 else f"over {lower:g} m"
        ranges.append(
            f'<range symbol="{number}" lower="{lower}" upper="{upper}" label={quoteattr(label)} render="true"/>'
        )
        arrow = _marker("arrow", f"{colour},255", 5.0, angle="heading_deg")
        symbols.append(_symbol("marker", number, arrow))
        lower = upper
    return (
        '<renderer-v2 type="graduatedSymbol" attr="expected_error_m" graduatedMethod="GraduatedColor" symbollevels="0" '
        f'enableorderby="0" forceraster="0">\n<ranges>{"".join(ranges)}</ranges>\n'
        f"<symbols>{''.join(symbols)}</symbols>\n"
        "</renderer-v2>"
    )


def _crosses_by_reason() -> str:
    categories, symbols = [], []
    for number, (reason, colour) in enumerate(zip(Reason, _REASON_COLOURS, strict=True)):
        label = quoteattr(reason.text)
        categories.append(
            f'<category symbol="{number}" value="{reason.value}" type="string" label={label} render="true"/>'
        )
        symbols.append(_symbol("marker", number, _marker("cross2", f"{colour},255", 2.6, outline=True)))
    return (
        '<renderer-v2 type="categorizedSymbol" attr="reason" symbollevels="0" enableorderby="0" forceraster="0">\n'
        f"<categories>{''.join(categories)}</categories>\n<symbols>{''.join(symbols)}</symbols>\n</renderer-v2>"
    )


def _displacement_arrows() -> str:
    line = _layer("SimpleLine", {"line_color": "80,80,80,180", "line_width": "0.3", "line_width_unit": "MM"})
    head = _symbol("marker", "@0@1", _marker("filled_arrowhead", "80,80,80,200", 2.2))
    tip = _layer("MarkerLine", {"placement": "lastvertex", "rotate": "1"}, inside=head)
    return _single("line", line + tip)


def _single(kind: str, layers: str) -> str:
    return (
        '<renderer-v2 type="singleSymbol" symbollevels="0" enableorderby="0" forceraster="0">\n'
        f"<symbols>{_symbol(kind, 0, layers)}</symbols>\n</renderer-v2>"
    )


def _symbol(kind: str, name: int | str, layers: str) -> str:
    return f'<symbol type="{kind}" name="{name}" alpha="1" clip_to_extent="1" force_rhr="0">{layers}</symbol>'


def _marker(shape: str, colour: str, size_mm: float, *, angle: str = "", outline: bool = False) -> str:
    options = {
        "name": shape,
        "color": colour,
        "outline_color": colour if outline else _OUTLINE,
        "outline_width": "0.6" if outline else "0.2",
        "size": f"{size_mm}",
        "size_unit": "MM",
    }
    return _layer("SimpleMarker", options, _turned_by(angle) if angle else "")


def _fill(colour: str, outline: str) -> str:
    options = {"color": colour, "outline_color": outline, "outline_width": "0.26", "style": "solid"}
    return _layer("SimpleFill", options)


def _layer(name: str, options: Mapping[str, str], properties: str = "", inside: str = "") -> str:
    listed = "".join(f'<Option name="{k}" type="QString" value={quoteattr(v)}/>' for k, v in options.items())
    return (
        f'<layer class="{name}" enabled="1" locked="0" pass="0"><Option type="Map">{listed}</Option>'
        f"{properties}{inside}</layer>"
    )


def _turned_by(column: str) -> str:
    return (
        '<data_defined_properties><Option type="Map"><Option name="name" type="QString" value=""/>'
        '<Option name="properties" type="Map"><Option name="angle" type="Map">'
        '<Option name="active" type="bool" value="true"/>'
        f'<Option name="field" type="QString" value="{column}"/><Option name="type" type="int" value="2"/>'
        '</Option></Option><Option name="type" type="QString" value="collection"/></Option></data_defined_properties>'
    )

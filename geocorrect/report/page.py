"""The self-contained page: template, style and scripts put into one HTML text that asks no network for anything."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import orjson

from geocorrect import __version__
from geocorrect.catalog.views.palette import ERROR_CLASSES, STATUS_COLOURS
from geocorrect.report.contents import Contents
from geocorrect.report.payload import payload
from geocorrect.report.provenance import anchor_sources, photo_sources, run_facts
from geocorrect.report.summary import headline, key_figures, note_sentences, summary_sentences
from geocorrect.report.tables import device_rows, group_headings, reason_rows, sequence_rows

SCRIPTS = ("leaflet.js", "data.js", "filters.js", "map.js", "charts.js", "page.js")
STYLES = ("leaflet.css", "report.css")


@dataclass(frozen=True)
class PageOptions:
    """What the caller may choose."""

    title: str | None = None
    """Heading of the page; None: the scene's name."""
    generated_at: str | None = None
    """When the page was written, in words; None: not shown."""


def render_page(contents: Contents, options: PageOptions | None = None) -> str:
    """The HTML text. The same contents give the same text, byte for byte."""
    options = options or PageOptions()
    # Without the source map's address, and without the pictures of controls that the page does not have.
    scripts = [re.sub(r"^//# sourceMappingURL=.*$", "", _asset(name), flags=re.M).strip() for name in SCRIPTS]
    return filled_template(
        "report.html.j2",
        title=options.title or contents.frame.name,
        generated_at=options.generated_at,
        version=__version__,
        policy=_policy(scripts),
        palette=STATUS_COLOURS,
        error_classes=[(limit, colour) for limit, colour in ERROR_CLASSES],
        styles=[re.sub(r"url\([^)]*\)", "none", _asset(name)) for name in STYLES],
        scripts=scripts,
        data=_json_in_html(payload(contents)),
        contents=contents,
        headline=headline(contents),
        sentences=summary_sentences(contents),
        notes=note_sentences(contents),
        figures=key_figures(contents),
        headings=group_headings(contents.has_truth),
        sequences=sequence_rows(contents),
        devices=device_rows(contents),
        reasons=reason_rows(contents),
        runs=run_facts(contents),
        photo_sources=photo_sources(contents),
        anchor_sources=anchor_sources(contents),
        leaflet_licence=_asset("leaflet.LICENSE.txt"),
    )


def filled_template(name: str, **values: Any) -> str:
    """A template of this package with values in it."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("geocorrect.report")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(name).render(values)


def _json_in_html(value: object) -> str:
    """JSON that cannot end the script element it stands in, nor start another."""
    text = orjson.dumps(value).decode()
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _policy(scripts: list[str]) -> str:
    """Content security policy: only these very scripts run, and nothing is ever fetched."""
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'"


@cache
def _asset(name: str) -> str:
    return (files("geocorrect.report") / "static" / name).read_text(encoding="utf-8").strip()

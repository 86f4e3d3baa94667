from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import catalog_world as world
from support.report_world import CREATOR, DEVICE, SEQUENCE, true_places

from geocorrect.catalog import Catalog
from geocorrect.errors import Status
from geocorrect.records import Attribution, Position
from geocorrect.report.contents import Contents, Photo, read_contents
from geocorrect.report.page import PageOptions, render_page
from geocorrect.report.provenance import run_facts, safe_url
from geocorrect.report.summary import headline, key_figures, note_sentences, summary_sentences
from geocorrect.report.truth import TruePlace
from geocorrect.report.wording import TIED


class Elements(HTMLParser):
    """Every start tag with its attributes, every text, every script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.tags.append((f"/{tag}", {}))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "script":
            self.scripts.append(data)


def plain(text: str) -> str:
    return text.replace(TIED, " ")


def test_nothing_is_fetched(with_truth: Contents) -> None:
    page = render_page(with_truth)
    for tag, attributes in Elements(page).tags:
        assert tag not in {"iframe", "object", "embed", "audio", "video", "base"}
        assert "src" not in attributes
        if tag == "link":
            assert attributes["href"] == "data:,"
    assert "sourceMappingURL" not in page
    assert not re.search(r"url\(|@import", re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL))


def test_only_the_scripts_of_the_page_may_run(contents: Contents) -> None:
    elements = Elements(render_page(contents))
    policy = next(a["content"] for tag, a in elements.tags if tag == "meta" and "Content-Security" in str(a))
    assert policy
    assert "default-src 'none'" in policy
    allowed = set(re.findall(r"'sha256-([^']+)'", policy))
    data, *scripts = elements.scripts
    digests = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts}
    assert digests == allowed
    assert len(scripts) == 6
    assert json.loads(data)["hasTruth"] is False


def test_hostile_names_are_shown_and_do_nothing(contents: Contents) -> None:
    page = render_page(contents, PageOptions(title=CREATOR))
    tags = Elements(page).tags
    assert not any(name.startswith("on") for _, attributes in tags for name in attributes)
    assert len([tag for tag, _ in tags if tag == "script"]) == 7
    assert "img" not in {tag for tag, _ in tags}
    for text in (CREATOR, SEQUENCE, DEVICE):
        assert text not in page
        assert text in html.unescape(page)
    assert "javascript:document" not in page
    assert "😀" in page


def test_the_data_cannot_end_its_script(contents: Contents) -> None:
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', render_page(contents), re.DOTALL)
    assert data
    assert "<" not in data.group(1)
    assert SEQUENCE in json.loads(data.group(1))["sequence"]["names"]


def test_the_same_contents_give_the_same_bytes(contents: Contents) -> None:
    assert render_page(contents) == render_page(contents)
    assert "Written" not in render_page(contents)
    assert "Written 1 March" in render_page(contents, PageOptions(generated_at="1 March"))


def test_the_summary_says_what_happened_in_numbers(with_truth: Contents) -> None:
    text = plain(" ".join(summary_sentences(with_truth)))
    accepted = sum(photo.status == "accepted" for photo in with_truth.photos)
    assert "covers 20 street photos in 3 sequences from 3 kinds of device" in text
    assert "matched against 21 anchor images" in text
    assert f"{accepted} of the photos" in text
    assert f"to 10 cm [10–10] (medians, n = {accepted}" in text
    assert "none of them is wrong by more than 1 m" in text
    assert "median of 5.0 m [5.0–5.0] (90th percentile 5.0 m, n = 14), and turned by 8.0° (median, n = 14)" in text
    assert "1 photo of the catalog has no result yet." in text
    notes = plain(" ".join(note_sentences(with_truth)))
    assert "4 photos were rejected rather than guessed: too few matches (4)" in notes
    assert "Of the 20 photos that anchors can see, 4 were rejected." in notes
    assert "Of the true errors of accepted photos, 100 % [" in notes
    assert "Of those that wait for a review, 0 of 2 would be wrong by more than 1 m." in notes
    assert "LiDAR (an oracle)" in notes


def test_a_photo_for_review_that_is_far_off_is_told(catalog: Catalog) -> None:
    """Not published, but somebody will look at it: a page that counts accepted photos only would hide it."""
    notes = plain(" ".join(note_sentences(read_contents(catalog, true_places(400.0)))))
    assert "Of those that wait for a review, 2 of 2 would be wrong by more than 1 m." in notes


def test_without_truth_nothing_is_claimed_about_it(contents: Contents) -> None:
    text = " ".join([*summary_sentences(contents), *note_sentences(contents)])
    assert "truth" not in text
    assert "expects a horizontal error" in text
    assert "true error" not in {figure.label for figure in key_figures(contents)}
    assert 'value="truth"' not in render_page(contents)


def test_a_catalog_without_results_still_gives_a_page(contents: Contents) -> None:
    empty = replace(contents, photos=(), anchors=(), routes=(), runs=(), anchor_sources=())
    page = render_page(empty)
    assert "holds no result yet" in page
    assert "No photo was rejected." in page


def test_oracle_and_fingerprints_are_in_the_provenance(contents: Contents) -> None:
    facts = dict(run_facts(contents)[0].facts)
    assert facts["Matcher"] == "sift"
    assert facts["Depth"] == "lidar"
    assert "oracle" in facts["Depth of the anchors"]
    assert facts["Georeference of the anchors"] == "known-1"
    assert facts["Run key"] == "run-a"
    assert facts["Work"] == "13 s in 1 start"


def test_licences_of_weights_bind_the_results_and_are_shown(contents: Contents) -> None:
    network = {"purpose": "matching", "name": "mast3r", "licence": "CC-BY-NC-SA-4.0", "url": "", "commercial": False}
    free = {"purpose": "depth", "name": "zoedepth_kitti", "licence": "MIT", "url": "", "commercial": True}
    run = replace(contents.runs[0], config={"weights": [network, free], "batch": {"seed": 1}})
    (shown,) = run_facts(replace(contents, runs=(run,)))
    facts = dict(shown.facts)
    assert (
        facts["Weights for matching"] == "mast3r: CC-BY-NC-SA-4.0; not for commercial use, and neither are the results"
    )
    assert facts["Weights for depth"] == "zoedepth_kitti: MIT"
    assert dict(shown.settings) == {"batch.seed": "1"}
    assert "mast3r: CC-BY-NC-SA-4.0; not for commercial use" in render_page(replace(contents, runs=(run,)))
    (without,) = run_facts(replace(contents, runs=(replace(run, config={"weights": []}),)))
    assert dict(without.facts)["Weights"] == "none: no network was at work"
    (older,) = run_facts(replace(contents, runs=(replace(run, config={}),)))
    assert not [name for name, _ in older.facts if name.startswith("Weights")]


def test_settings_are_shown_without_secrets_and_places(contents: Contents) -> None:
    config: dict[str, Any] = {
        "catalog": {"url": "postgresql://me:secret@host/db"},
        "images": {"folder": "/home/me"},
        "pnp": {"seed": 0, "nested": {"url": "https://u:secret@h/x"}},
        "area": {"file": "/home/me/x"},
    }
    run = replace(contents.runs[0], config=config)
    (facts,) = run_facts(replace(contents, runs=(run,)))
    assert dict(facts.settings) == {"pnp.nested.url": "https://***@h/x", "pnp.seed": "0"}


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", "ftp://x", " https://x", "https://a b", ""])
def test_only_web_addresses_become_links(url: str) -> None:
    assert safe_url(url) == ""


def test_a_novel_for_a_name_does_not_fill_the_page(contents: Contents) -> None:
    novel = Attribution("x" * 1_000_000, "https://example.org/" + "y" * 1_000_000, "z" * 1_000_000)
    photos = tuple(replace(photo, stored=replace(photo.stored, attribution=novel)) for photo in contents.photos)
    assert len(render_page(replace(contents, photos=photos))) < 300_000


def test_licences_and_creators_are_named(contents: Contents) -> None:
    page = html.unescape(render_page(contents))
    assert "CC-BY-SA-4.0" in page
    assert "ana (19)" in page
    assert "VBR team" in page
    assert "Leaflet 1.9.4" in page
    assert "BSD 2-Clause License" in page


def test_ten_thousand_photos_fit_in_two_megabytes(contents: Contents) -> None:
    rng = np.random.default_rng(0)
    corrected, rejected = contents.corrected[0].stored, contents.of_status(Status.REJECTED)[0].stored

    def photo(k: int) -> Photo:
        base = rejected if k % 4 == 0 else corrected
        lon, lat, east, north = 12.5 + rng.normal(0, 0.05), 41.9 + rng.normal(0, 0.04), *rng.normal(0, 6e-5, 2)
        image_id = str(10**15 + int(rng.integers(9 * 10**15)))
        url = f"https://www.mapillary.com/app/?pKey={image_id}&focus=photo"
        stored = replace(
            base,
            image_id=image_id,
            sequence_id=f"sequence-{k // 40:013d}",
            attribution=Attribution(f"user_{k % 700}", url, "CC BY-SA 4.0"),
            captured_at=None if k % 50 == 0 else base.captured_at,
            reported_lon_deg=lon,
            reported_lat_deg=lat,
        )
        if k % 4 == 0:
            stored = replace(stored, detail=f"{k} inliers, {k % 90} % of the lifted matches, 30 needed")
        else:
            stored = replace(
                stored,
                lon_deg=lon + east,
                lat_deg=lat + north,
                heading_deg=float(rng.uniform(0, 360)),
                displacement_m=float(rng.uniform(0, 20)),
                expected_error_m=float(rng.lognormal(-2, 1)),
                semi_major_m=float(rng.lognormal(-2, 1)),
            )
        return Photo(stored, f"Maker Model {k % 30}", TruePlace(lon, lat), float(rng.lognormal(-2, 1)), 5.0, 0.5)

    many = replace(contents, photos=tuple(photo(k) for k in range(10_000)), has_truth=True)
    size = len(render_page(many).encode())
    assert 1_000_000 < size < 2_000_000


def test_a_headline_comes_before_the_prose(with_truth: Contents) -> None:
    """One sentence, the figures, then the map; everything else waits behind a fold."""
    page = render_page(with_truth)
    assert page.index('id="headline"') < page.index('class="figures"') < page.index('<details id="story">')
    assert page.index('<details id="story">') < page.index('id="summary"') < page.index('id="notes"')
    text = plain(headline(with_truth))
    assert text.startswith("14 of 20 photos put back where they were taken: from 5.1 m off to ")
    assert text.endswith("(medians; measured against the truth).")
    assert len(text) < 160


def test_the_provider_is_compared_with_as_well(tmp_path: Path, empty_geopackage: Path) -> None:
    """Its computed positions are 30 m north of the truth here: worse than the reported ones, and it is said."""
    path = tmp_path / "c.gpkg"
    path.write_bytes(empty_geopackage.read_bytes())
    with Catalog.open(str(path)) as catalog:
        world.fill(catalog)
        for i in range(20):
            lon, lat, _ = world.ROME.wgs84_from_enu([5.0 * i, 28.0, 1.8])
            catalog.upsert_images([replace(world.image(i), computed=Position(float(lon), float(lat)))])
        found = read_contents(catalog, true_places(0.0))
    assert {round(photo.from_computed_m, 2) for photo in found.corrected} == {30.0}
    assert {round(photo.computed_error_m, 2) for photo in found.corrected} == {30.0}
    text = plain(" ".join(summary_sentences(found)))
    assert "Positions that the provider computed lie 30 m" in text
    assert "that of the provider's computed positions is 30 m" in text
    assert "positions that the provider computed" in render_page(found)

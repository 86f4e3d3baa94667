"""The page in a real Chromium, with every name resolution forbidden."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from support.chromium import Browser, open_browser
from support.report_world import CREATOR, DEVICE, SEQUENCE, true_places

from geocorrect.catalog import Catalog, ResultFilter
from geocorrect.catalog.views.palette import ERROR_CLASSES, STATUS_COLOURS, red_green_blue
from geocorrect.errors import Status
from geocorrect.report.page import PageOptions
from geocorrect.report.wording import length
from geocorrect.report.write import write_report

pytestmark = [pytest.mark.browser, pytest.mark.long]
TITLE = "Scene <script>document.title='owned'</script> 😀"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(tmp_path_factory.mktemp("chromium")) as opened:
        opened.resize(1300, 1400)
        yield opened


@pytest.fixture(scope="module")
def page_path(catalog_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    with Catalog.open(str(catalog_path)) as catalog:
        write_report(catalog, path, true_places(), options=PageOptions(TITLE))
    return path


@pytest.fixture
def page(browser: Browser, page_path: Path) -> Browser:
    browser.open(page_path)
    assert browser.run("return document.documentElement.dataset.ready") == "yes"
    return browser


def shown(page: Browser) -> str:
    return str(page.run("return document.getElementById('shown').textContent"))


def choose(page: Browser, name: str, value: str) -> None:
    page.run(
        f"const field = document.getElementById('filters').elements[{name!r}]; field.value = {value!r};"
        "field.dispatchEvent(new Event('input', {bubbles: true}));"
    )


def drawn(page: Browser) -> int:
    """Interactive figures on the map."""
    return int(page.run("let n = 0; photoMap.map.eachLayer((layer) => { n += layer.photo ? 1 : 0; }); return n;"))


def test_it_opens_without_network_and_without_a_console_message(page: Browser, page_path: Path) -> None:
    wanted = [url for url in page.requests() if not url.startswith(("chrome:", "data:"))]
    assert set(wanted) == {page_path.resolve().as_uri()}
    assert page.log() == []


def test_map_and_charts_are_there(page: Browser, tmp_path: Path) -> None:
    ids = page.run("return [...document.querySelectorAll('#charts figure')].map((figure) => figure.id)")
    assert ids == [
        "chart-displacement",
        "chart-offsets",
        "chart-truth",
        "chart-calibration",
        "chart-inliers",
        "chart-reasons",
    ]
    marks = page.run("return document.querySelectorAll('#charts circle, #charts rect').length")
    assert marks > 50
    canvas = "const c = document.querySelector('#map canvas');"
    colours = page.run(
        canvas + "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; const found = new Set();"
        "for (let i = 0; i < d.length; i += 4) if (d[i + 3] === 255) found.add(`${d[i]},${d[i + 1]},${d[i + 2]}`);"
        "return [...found]"
    )
    review, reported, rejected = red_green_blue(STATUS_COLOURS["review"]), "213,94,0", red_green_blue("#3d4650")
    assert {review, reported, rejected} <= set(colours)
    assert {red_green_blue(colour) for _, colour in ERROR_CLASSES} & set(colours), "accepted ones by their error"
    page.screenshot(tmp_path / "page.png")
    with Image.open(tmp_path / "page.png") as picture:
        assert picture.width >= 1200


def test_filters_choose_photos_on_map_and_charts(page: Browser) -> None:
    assert shown(page) == "20 of 20 photos shown"
    everything = drawn(page)
    page.run("document.querySelector('input[value=rejected]').click()")
    assert shown(page) == "16 of 20 photos shown"
    assert drawn(page) == everything - 4
    assert "nothing to show" in page.run("return document.getElementById('chart-reasons').textContent")
    page.run(
        "document.querySelector('input[value=review]').click(); document.querySelector('input[value=accepted]').click()"
    )
    assert shown(page) == "0 of 20 photos shown"
    assert drawn(page) == 0
    assert page.log() == []


def test_filters_by_reason_sequence_and_quality(page: Browser) -> None:
    choose(page, "reason", "too_few_matches")
    assert shown(page) == "4 of 20 photos shown"
    choose(page, "reason", "")
    choose(page, "sequence", "seq-1")
    assert shown(page) == "10 of 20 photos shown"
    choose(page, "sequence", "")
    choose(page, "error", "0")
    assert shown(page) == "5 of 20 photos shown"  # the best one, and the four rejected, which have no quality
    page.run("document.querySelector('button[type=reset]').click()")
    page.run("return new Promise((done) => setTimeout(done, 50))")
    assert shown(page) == "20 of 20 photos shown"


def test_a_click_in_a_table_shows_that_group_alone(page: Browser) -> None:
    page.run(
        "[...document.querySelectorAll('#sequence-table button.pick')].find((b) => b.textContent === 'seq-1').click()"
    )
    assert shown(page) == "10 of 20 photos shown"
    page.run("document.querySelector('#reason-table button.pick').click()")
    assert shown(page) == "4 of 20 photos shown"


def test_tables_sort_by_number(page: Browser) -> None:
    rows = "[...document.querySelectorAll('#sequence-table tbody tr')]"
    column = f"return {rows}.map((row) => Number(row.cells[2].textContent))"
    heading = "document.querySelectorAll('#sequence-table thead th')[2].querySelector('button').click()"
    page.run(heading)
    assert page.run(column) == [1, 9, 10]
    page.run(heading)
    assert page.run(column) == [10, 9, 1]


def test_a_click_on_a_photo_tells_its_story_and_runs_nothing(page: Browser) -> None:
    page.run(
        "const photo = report.photos.find((p) => p.id === '1003'); let layer;"
        "photoMap.map.eachLayer((l) => { if (l.photo === photo) layer = l; });"
        "layer.fire('click', {latlng: layer.getLatLng(), originalEvent: new MouseEvent('click')});"
    )
    text = page.run("return document.querySelector('.leaflet-popup-content').textContent")
    for shown in ("Photo 1003", CREATOR, SEQUENCE, DEVICE, "True error10 cm", "Moved by5.0 m"):
        assert shown in text
    assert page.run("return document.querySelectorAll('.leaflet-popup-content a').length") == 0
    assert page.run("return document.title").startswith(TITLE)
    assert page.run("return document.querySelectorAll('script').length") == 7
    assert page.log() == []


def test_a_strange_script_is_refused_by_the_page(page: Browser) -> None:
    page.run(
        "const s = document.createElement('script'); s.textContent = \"document.title = 'owned'\";"
        "document.body.append(s)"
    )
    assert page.run("return document.title") != "owned"
    assert any("Content Security Policy" in entry["message"] for entry in page.log())


@pytest.mark.parametrize("status", [(), (Status.REJECTED,), (Status.REVIEW,)])
def test_a_page_with_little_on_it_works(
    browser: Browser, catalog_path: Path, tmp_path: Path, status: tuple[Status, ...]
) -> None:
    path = tmp_path / "little.html"
    source = catalog_path if status else tmp_path / "empty.gpkg"
    with Catalog.open(str(source), create=not status) as catalog:
        n = write_report(catalog, path, true_places(), ResultFilter(status=status))
    browser.open(path)
    assert shown(browser) == f"{n} of {n} photos shown"
    assert browser.run("return document.querySelectorAll('#charts figure').length") >= 5
    assert browser.log() == []


def test_lengths_read_alike_in_text_and_on_the_map(page: Browser) -> None:
    lengths = [0.00042, 0.0049, 0.036, 0.42, 0.09999, 0.999, 1.0, 7.53, 9.99, 12.6, 1234.0]
    assert page.run(f"return {lengths}.map((v) => words.length(v))") == [
        length(v).replace("\u00a0", " ") for v in lengths
    ]


def test_a_small_screen_needs_no_sideways_scrolling(page: Browser) -> None:
    page.resize(500, 900)
    try:
        width, room = page.run("return [document.documentElement.scrollWidth, window.innerWidth]")
        assert width <= room
    finally:
        page.resize(1300, 1400)

"""The page of the map in a real Chromium: drawn, filtered, opened by mouse and by keyboard, text never read as HTML."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support import catalog_world as world
from support.chromium import Browser, open_browser
from support.demo_output import demo_output
from support.served import TOKEN, Served, served

from geocorrect.catalog import Catalog
from geocorrect.records import Attribution
from geocorrect.serve.state import ServeSettings

pytestmark = [pytest.mark.browser, pytest.mark.long]
EVIL = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
WITHOUT_FILE = "1013"
RENDERING = ("GPU stall", "software WebGL")
"""What Chromium says of machines without a graphics card."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(tmp_path_factory.mktemp("chromium")) as opened:
        opened.resize(1300, 900)
        yield opened


@pytest.fixture(scope="module")
def scene(empty_geopackage: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Thirty photos in two runs, with files, one by a creator who writes HTML."""
    folder = tmp_path_factory.mktemp("scene")
    path = folder / "catalog.gpkg"
    path.write_bytes(empty_geopackage.read_bytes())
    (folder / "img").mkdir()
    for i in range(30):
        Image.new("RGB", (64, 48), (90, 30 + i, 160)).save(folder / f"img/{i}.jpg")
    with Catalog.open(str(path)) as catalog:
        world.fill(catalog, 30)
        hostile = Attribution(EVIL, "javascript:document.title='owned'", EVIL)
        photos = [replace(world.image(i), attribution=hostile, device_make=EVIL) for i in range(30)]
        catalog.upsert_images([replace(photo, path=None) if photo.id == WITHOUT_FILE else photo for photo in photos])
        catalog.begin_run(world.manifest("run-b"))
        catalog.record("run-b", [world.correction(4)])
        with served(ServeSettings(catalog, TOKEN, folder)) as running:
            yield running


@pytest.fixture
def page(browser: Browser, scene: Served) -> Browser:
    show(browser, scene)
    return browser


def show(browser: Browser, server: Served) -> None:
    browser.go(f"{server.origin}/city?token={server.token}")
    until(browser, "return document.documentElement.dataset.ready", "yes")


def until(browser: Browser, script: str, wanted: Any, limit_s: float = 60.0) -> None:
    end = time.monotonic() + limit_s
    while (found := browser.run(script)) != wanted:
        assert time.monotonic() < end, (script, found, browser.log())
        time.sleep(0.05)


def drawn(*layers: str) -> str:
    """The script that counts what is drawn, each once."""
    return (
        f"return new Set(cityMap.queryRenderedFeatures({{layers: {list(layers)}}}).map((f) => f.properties.image_id "
        "?? f.properties.anchor_id)).size"
    )


def set_field(page: Browser, name: str, value: str) -> None:
    page.run(
        f"const field = document.getElementById('filters').elements[{name!r}]; field.value = {value!r};"
        "field.dispatchEvent(new Event('input', {bubbles: true}));"
    )


def complaints(page: Browser) -> list[dict[str, Any]]:
    return [entry for entry in page.log() if not any(words in entry["message"] for words in RENDERING)]


def test_everything_is_drawn_and_nothing_complains(page: Browser, scene: Served, tmp_path: Path) -> None:
    until(page, drawn("accepted"), 21)
    until(page, drawn("review"), 4)
    until(page, drawn("rejected"), 5)
    until(page, drawn("anchors"), 31)
    until(page, drawn("displacement"), 25)
    until(page, "return document.getElementById('reasons').textContent", "too few matches5")
    assert page.run("return document.querySelector('output[data-status=accepted]').textContent") == "21"
    own = [url for url in page.requests() if not url.startswith(("chrome:", "data:", "blob:"))]
    assert own
    assert all(url.startswith(scene.origin) for url in own)
    assert complaints(page) == []
    for width, height in ((1300, 900), (820, 1180)):
        page.resize(width, height)
        page.screenshot(tmp_path / "page.png")
        overflow = page.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert overflow <= 0
        assert page.run("return document.getElementById('map').clientHeight") > 300
    page.resize(1300, 900)


def test_filters_and_slider(page: Browser) -> None:
    set_field(page, "sequence_id", "seq-1")
    until(page, drawn("accepted"), 7)
    set_field(page, "sequence_id", "")
    until(page, drawn("accepted"), 21)
    set_field(page, "run", "0")
    until(page, drawn("accepted"), 20)
    until(page, drawn("rejected"), 6)
    until(page, "return document.querySelector('output[data-status=rejected]').textContent", "6")
    assert page.run("return document.getElementById('run-name').textContent") == "2026-03-01, sift"
    page.run("document.querySelector('[data-reason=too_few_matches]').click()")
    until(page, drawn("accepted", "review"), 0)
    assert page.run(drawn("rejected")) == 6
    page.run("document.querySelector('button[type=reset]').click()")
    until(page, drawn("accepted"), 21)
    page.run("document.getElementsByName('accepted')[0].click()")
    until(page, drawn("accepted"), 0)
    assert complaints(page) == []


def test_a_photo_opens_by_click_and_by_keyboard_and_its_texts_stay_texts(page: Browser) -> None:
    place = page.run(
        "const f = cityMap.queryRenderedFeatures({layers: ['accepted']})[0]; const at = cityMap.project("
        "f.geometry.coordinates); const box = cityMap.getCanvas().getBoundingClientRect();"
        "return [Math.round(at.x + box.x), Math.round(at.y + box.y)]"
    )
    move = {"type": "pointerMove", "duration": 0, "x": place[0], "y": place[1]}
    click = [move, {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}]
    page.call("POST", "actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": click}]})
    until(page, "return document.getElementById('photo').hidden", False)
    text = page.run("return document.getElementById('photo').textContent")
    assert text.count(EVIL) == 3  # device, creator, licence: as they are written
    assert page.run("return document.querySelectorAll('#photo script, #photo a').length") == 0
    until(page, "return document.querySelector('#photo img')?.naturalWidth", 64)
    assert page.run("return document.title") == "city · geocorrect"
    page.run("[...document.querySelectorAll('#photo button')].at(-1).click()")
    assert page.run("return document.getElementById('photo').hidden") is True
    assert page.run("return document.activeElement === cityMap.getCanvas()") is True
    page.run(
        "const found = cityMap.queryRenderedFeatures({layers: ['accepted']});"
        "cityMap.jumpTo({center: found.at(-1).geometry.coordinates})"
    )
    until(page, "return cityMap.areTilesLoaded()", True)
    page.press("\ue007")
    until(page, "return document.getElementById('photo').hidden", False)
    page.press("\ue00c")
    until(page, "return document.getElementById('photo').hidden", True)
    page.run(
        "const found = cityMap.queryRenderedFeatures({layers: ['review']});"
        f"const one = found.find((f) => f.properties.image_id === '{WITHOUT_FILE}');"
        "cityMap.jumpTo({center: one.geometry.coordinates})"
    )
    until(page, "return cityMap.areTilesLoaded()", True)
    page.press("\ue007")
    until(page, "return document.querySelector('#photo h2')?.textContent", f"Photo {WITHOUT_FILE}")
    assert page.run("return document.querySelectorAll('#photo img').length") == 0
    assert complaints(page) == []


def test_an_error_that_no_page_catches_is_said(page: Browser) -> None:
    # Inside a script of the page: what a test's own script rejects has no origin, and browsers tell nobody of it.
    page.run("import('/static/common.js').then((common) => { common.getJson('/api/nothing'); })")
    until(page, "return document.getElementById('message').dataset.kind", "error")
    assert "404" in page.run("return document.getElementById('message').textContent")
    assert not [entry for entry in page.log() if "Uncaught" in entry["message"]]


def test_the_demo_is_shown(browser: Browser, tmp_path: Path) -> None:
    folder = demo_output(tmp_path)
    with Catalog.open(str(folder / "corrections.gpkg")) as catalog:
        counts = catalog.counts()
        with served(ServeSettings(catalog, TOKEN, folder)) as running:
            show(browser, running)
            until(browser, drawn("accepted"), counts["accepted"])
            until(browser, drawn("rejected"), counts["rejected"])
            assert complaints(browser) == []

"""The pages in a real Chromium, by keyboard, with every name resolution forbidden."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import catalog_world as world
from support.campus_drive import campus_clicks, campus_files, write_orthophoto
from support.chromium import Browser, open_browser
from support.served import TOKEN, Served, served

from geocorrect.anchors.readers.vbr.calibration import read_vbr_calibration
from geocorrect.catalog import Catalog
from geocorrect.catalog.curation.review import Reviews
from geocorrect.errors import Status
from geocorrect.georeference.command import Inputs, solve
from geocorrect.georeference.landmarks.click import Click
from geocorrect.georeference.landmarks.read import read_landmarks
from geocorrect.georeference.landmarks.write import write_clicks
from geocorrect.georeference.run import GeoreferenceOptions
from geocorrect.records import Attribution
from geocorrect.serve.basemap import open_basemap
from geocorrect.serve.landmarks.undistorted import undistorted_camera, undistorted_px
from geocorrect.serve.state import ServeSettings

pytestmark = [pytest.mark.browser, pytest.mark.long]
ENTER, ESCAPE, SHIFT, RIGHT, TAB = "\ue007", "\ue00c", "\ue008", "\ue014", "\ue004"
SCRIPT = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(tmp_path_factory.mktemp("chromium")) as opened:
        opened.resize(1400, 950)
        yield opened


@pytest.fixture(autouse=True)
def _page_of_its_own(browser: Browser) -> Iterator[None]:
    """Without the complaints of the page before, whose server has gone."""
    browser.go("about:blank")
    browser.log()
    browser.requests()
    yield
    browser.go("about:blank")


@pytest.fixture
def new_catalog(empty_geopackage: Path, tmp_path: Path) -> Iterator[Catalog]:
    path = tmp_path / "c.gpkg"
    path.write_bytes(empty_geopackage.read_bytes())
    with Catalog.open(str(path)) as opened:
        yield opened


def fill_queue(catalog: Catalog, count: int) -> None:
    """Photos that all wait for a review; names of the last, which is the least sure, are scripts."""
    catalog.set_frame(world.ROME)
    catalog.add_alignment(world.alignment())
    catalog.upsert_anchors(world.anchor(i) for i in range(count + 1))
    photos = [world.image(i) for i in range(count)]
    hostile = Attribution(SCRIPT, "", SCRIPT)
    photos[-1] = replace(photos[-1], device_make=SCRIPT, sequence_id=SCRIPT, attribution=hostile)
    catalog.upsert_images(photos)
    catalog.begin_run(world.manifest())
    catalog.record("run-a", [world.correction(i, Status.REVIEW) for i in range(count)])


def nothing_foreign(browser: Browser, expected: tuple[str, ...] = ()) -> None:
    """No request left this machine, and the console has no other error; a refusal by the policy would be one."""
    asked = [url for url in browser.requests() if not url.startswith(("chrome", "data:", "blob:", "http://127.0.0.1:"))]
    assert asked == []
    grave = [entry["message"] for entry in browser.log() if entry["level"] == "SEVERE"]
    assert [message for message in grave if not any(part in message for part in expected)] == []


@pytest.mark.parametrize("count", [6, pytest.param(80, marks=pytest.mark.slow)])
def test_photos_are_decided_by_keyboard(browser: Browser, catalog: Catalog, count: int) -> None:
    fill_queue(catalog, count)
    with served(ServeSettings(catalog, TOKEN, reviewer="ana")) as server:
        browser.go(f"{server.origin}/review?token={TOKEN}")
        browser.wait("document.body.dataset.ready === 'yes'")
        assert browser.run("return location.search") == "", "the token has left the address"
        assert browser.run("return document.title") == "Review · geocorrect"
        assert SCRIPT in browser.run("return document.getElementById('facts').textContent")
        assert SCRIPT in browser.run("return document.getElementById('filters').elements.device.textContent")
        browser.press("n", *"seen, fits", ENTER)
        order = [f"{1000 + i}" for i in reversed(range(count))]
        for number, image_id in enumerate(order):
            browser.wait(f"document.body.dataset.photo === '{image_id}' && document.body.dataset.busy !== 'yes'")
            browser.press("a" if number % 2 == 0 else "r")
        browser.wait("document.getElementById('message').textContent.includes('last photo')")
        decided = Reviews(catalog).decisions()
        assert [d.image_id for d in decided] == order
        assert [d.verdict.value for d in decided] == ["accept", "reject"] * (count // 2)
        assert {d.reviewer for d in decided} == {"ana"}
        assert decided[0].note == "seen, fits"
        assert {d.note for d in decided[1::2]} == {"wrong place"}
        browser.wait("document.body.dataset.busy === 'no'")
        browser.press("u")
        browser.wait("document.getElementById('message').textContent.includes('taken back')")
        browser.wait("document.body.dataset.busy === 'no'")
        assert catalog.counts() == {"accepted": count // 2, "rejected": count // 2 - 1, "review": 1}
        # Somebody else decides meanwhile: the page says who.
        Reviews(catalog).decide([order[-1]], decided[0].verdict, "ben", "from elsewhere")
        browser.press("r")
        browser.wait("document.getElementById('message').textContent.includes('ben decided to accept it')")
        # There are no pictures of these photos, which the page says; and the last decision was refused.
        nothing_foreign(browser, ("/photo/", "/anchor/", "/api/review/matches", "/api/review/decide"))


def enter(browser: Browser, click: Click, photo: int) -> None:
    """A click typed into the form of the page, with the photo chosen in its list."""
    browser.run(
        f"const list = document.getElementById('photos'); if (list.value !== '0/{photo}') {{ list.value = '0/{photo}';"
        "list.dispatchEvent(new Event('change')); }"
    )
    browser.wait(f"document.getElementById('photos').value === '0/{photo}' && document.body.dataset.busy !== 'yes'")
    values = {name: getattr(click, name) for name in ("u_px", "v_px", "lon_deg", "lat_deg", "landmark")}
    browser.run(
        f"const values = {json.dumps(values)}; const form = document.getElementById('click');"
        "for (const name in values) form.elements[name].value = values[name];"
        "document.body.dataset.answered = ''; form.requestSubmit();"
    )
    browser.wait("document.body.dataset.answered !== '' && document.body.dataset.busy === 'no'")


def shown_alignment(browser: Browser, server: Served, n_clicks: int) -> Any:
    browser.wait(f"document.querySelectorAll('#clicks tr').length === {n_clicks}")
    browser.wait("document.body.dataset.check === 'done'")
    number = server.get("/api/landmarks/state").value["version"]
    return server.get(f"/api/landmarks/check?version={number}").value


@pytest.mark.data
@pytest.mark.parametrize(
    "n_before", [21, pytest.param(0, marks=pytest.mark.slow)], ids=["the last two", "all twenty-three"]
)
def test_clicks_replayed_through_the_page(
    browser: Browser, new_catalog: Catalog, shared_data: Path, tmp_path: Path, n_before: int
) -> None:
    """The alignment of the command line, and the flag of a click that is dragged by 10 m on the map."""
    clicks, files = campus_clicks(shared_data), campus_files(shared_data, tmp_path / "campus")
    if n_before:
        write_clicks(clicks[:n_before], files.clicks[0])
    numbers = sorted(int(path.stem) for path in files.photos[0].iterdir())
    basemap = open_basemap(orthophoto=write_orthophoto(tmp_path / "ortho.tif", clicks))
    with served(ServeSettings(new_catalog, TOKEN, landmarks=files, basemap=basemap)) as server:
        browser.go(f"{server.origin}/landmarks?token={TOKEN}")
        browser.wait("document.body.dataset.ready === 'yes'")
        answers_ms = []
        for click in clicks[n_before:]:
            enter(browser, click, numbers.index(int(click.image)))
            answers_ms.append(int(browser.run("return document.body.dataset.answered")))
        print(f"answers in ms of wall time: {answers_ms}")
        found = shown_alignment(browser, server, 23)
        campus = shared_data / "vbr_campus"
        inputs = Inputs(files.trajectories, files.calibration, (campus / "landmarks_campus_train1.json",))
        expected = solve(inputs, GeoreferenceOptions())
        difference = np.array(found["alignment"]["world_from_local"]) - np.array(
            expected.alignment.as_json()["world_from_local"]
        )
        assert np.abs(difference).max() <= 1e-6
        assert browser.run("return document.querySelectorAll('#clicks tr.outlier').length") == 2
        assert [c.u_px for c in read_landmarks(files.clicks[0])] == [c.u_px for c in clicks]

        dragged = replace(clicks[0], lat_deg=clicks[0].lat_deg + 10.0 / 111_100)
        browser.run("document.querySelector('#clicks tr').click()")
        browser.wait("document.getElementById('keep').textContent === 'Change'")
        enter(browser, dragged, numbers.index(int(clicks[0].image)))
        browser.wait("document.querySelector('#clicks tr').classList.contains('outlier')")
        browser.run("document.activeElement.blur()")
        browser.press("z")
        browser.wait("!document.querySelector('#clicks tr').classList.contains('outlier')")
        nothing_foreign(browser)


@pytest.mark.data
def test_a_mark_is_clicked_by_keyboard_alone(
    browser: Browser, new_catalog: Catalog, shared_data: Path, tmp_path: Path
) -> None:
    """Arrows move the cross, by a quarter pixel with shift; Enter takes its place, and the middle of the map."""
    files = campus_files(shared_data, tmp_path / "campus")
    write_clicks(campus_clicks(shared_data)[:3], files.clicks[0])
    with served(ServeSettings(new_catalog, TOKEN, landmarks=files)) as server:
        browser.go(f"{server.origin}/landmarks?token={TOKEN}")
        browser.wait("document.body.dataset.ready === 'yes'")
        browser.press("i", "+", "+", "+", RIGHT)
        strokes = [("keyDown", SHIFT), ("keyDown", RIGHT), ("keyUp", RIGHT), ("keyUp", SHIFT)]
        actions = [{"type": kind, "value": key} for kind, key in strokes]
        browser.call("POST", "actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})
        browser.press(ENTER)
        browser.wait("document.querySelector('#click [name=u_px]').value !== ''")
        u_px = float(browser.run("return document.querySelector('#click [name=u_px]').value"))
        browser.run("document.activeElement.blur()")
        browser.press("m", ENTER)
        browser.wait("document.querySelectorAll('#clicks tr').length === 4")
        saved = read_landmarks(files.clicks[0])[-1]
        assert saved.u_px == u_px
        assert (4 * u_px) % 4 != 0, "a quarter of a pixel"
        nothing_foreign(browser)


def open_page(browser: Browser, server: Served) -> None:
    browser.go(f"{server.origin}/landmarks?token={TOKEN}")
    browser.wait("document.body.dataset.ready === 'yes' && document.body.dataset.busy !== 'yes'")


def on_screen(browser: Browser, click: Click) -> tuple[float, float]:
    """Where the page draws a place of the map."""
    found: tuple[float, float] = browser.run(
        f"const at = landmarkMap.project([{click.lon_deg}, {click.lat_deg}]);"
        "const box = landmarkMap.getCanvas().getBoundingClientRect(); return [at.x + box.x, at.y + box.y]"
    )
    return found


def in_photo(browser: Browser, u: float, v: float) -> tuple[float, float]:
    """Where the page draws a pixel of the photo as it is shown."""
    found: tuple[float, float] = browser.run(
        f"const [x, y] = landmarkView.onScreen({u}, {v});"
        "const box = landmarkView.canvas.getBoundingClientRect(); return [x + box.x, y + box.y]"
    )
    return found


@pytest.mark.data
@pytest.mark.parametrize("pointer", ["mouse", "touch"])
def test_clicks_are_dragged_on_the_map_and_in_the_photo(
    browser: Browser, new_catalog: Catalog, shared_data: Path, tmp_path: Path, pointer: str
) -> None:
    """By 10 m on the map: flagged. By six pixels in the photo: there. Two fingers zoom."""
    clicks, files = campus_clicks(shared_data), campus_files(shared_data, tmp_path / "campus")
    write_clicks(clicks, files.clicks[0])
    with served(ServeSettings(new_catalog, TOKEN, landmarks=files)) as server:
        open_page(browser, server)
        place = f"[{clicks[0].lon_deg}, {clicks[0].lat_deg}]"
        browser.run(f"landmarkMap.jumpTo({{center: {place}, zoom: 19}})")
        north = replace(clicks[0], lat_deg=clicks[0].lat_deg + 10.0 / 111_100)
        (x, y), (_, up) = on_screen(browser, clicks[0]), on_screen(browser, north)
        browser.drag(pointer, [(x, y), (x, y - 10), (x, (y + up) / 2), (x, up)])
        browser.wait("document.querySelector('#clicks tr').classList.contains('outlier')")
        browser.wait("document.body.dataset.busy === 'no'")
        saved = read_landmarks(files.clicks[0])[0]
        assert (saved.lat_deg - clicks[0].lat_deg) * 111_100 == pytest.approx(10.0, abs=0.2)
        browser.press("z")
        browser.wait("!document.querySelector('#clicks tr').classList.contains('outlier')")
        browser.wait("document.body.dataset.check === 'done'")

        browser.run(f"landmarkView.centre({clicks[0].u_px}, {clicks[0].v_px}, 4)")
        x, y = in_photo(browser, clicks[0].u_px, clicks[0].v_px)
        browser.drag(pointer, [(x, y), (x + 12, y), (x + 24, y)])
        browser.wait("document.body.dataset.busy === 'no' && !document.getElementById('undo').disabled")
        moved_px = read_landmarks(files.clicks[0])[0].u_px - clicks[0].u_px
        assert moved_px == pytest.approx(6.0, abs=0.26)
        if pointer == "touch":
            before = browser.run("return landmarkView.scale")
            browser.drag(pointer, [(x - 20, y + 90), (x - 60, y + 90)], [(x + 20, y + 90), (x + 60, y + 90)])
            assert browser.run("return landmarkView.scale") == pytest.approx(3 * before, rel=0.1)
        nothing_foreign(browser)


@pytest.mark.data
def test_a_click_in_the_undistorted_photo_is_kept_in_raw_pixels(
    browser: Browser, new_catalog: Catalog, shared_data: Path, tmp_path: Path
) -> None:
    clicks, files = campus_clicks(shared_data)[:3], campus_files(shared_data, tmp_path / "campus")
    write_clicks(clicks, files.clicks[0])
    camera = read_vbr_calibration(files.calibration).camera("left").camera
    virtual = undistorted_camera(camera)
    assert virtual is not None
    with served(ServeSettings(new_catalog, TOKEN, landmarks=files)) as server:
        open_page(browser, server)
        browser.press("d")
        browser.wait(f"document.body.dataset.view === 'undistorted' && landmarkView.marks.length === {len(clicks)}")
        assert browser.run("return landmarkView.image.naturalWidth") == virtual.width
        drawn = np.array(browser.run("return landmarkView.marks.map((mark) => [mark.u, mark.v])"))
        given = np.array([[click.u_px, click.v_px] for click in clicks])
        assert drawn == pytest.approx(undistorted_px(camera, given), abs=0.01)
        assert np.abs(drawn - given).max() > 1.0, "the lens bends that much"
        browser.run("landmarkView.centre(150, 500, 4)")
        browser.drag("mouse", [in_photo(browser, 150, 500)])
        browser.wait("document.querySelector('#click [name=u_px]').value !== ''")
        browser.press("m", ENTER)
        browser.wait("document.querySelectorAll('#clicks tr').length === 4")
        saved = read_landmarks(files.clicks[0])[-1]
        shown = undistorted_px(camera, np.array([[saved.u_px, saved.v_px]]))[0]
        assert shown == pytest.approx([150.0, 500.0], abs=0.3)
        browser.press("d")
        browser.wait("document.body.dataset.view === 'raw'")
        nothing_foreign(browser)

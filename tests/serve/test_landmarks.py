"""Landmarks clicked over HTTP: the alignment of the command line, saved after each click, never overwritten."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.campus_drive import campus_clicks, campus_files, write_orthophoto
from support.child_process import child
from support.served import TOKEN, Served, served

from geocorrect.catalog import Catalog
from geocorrect.errors import OutdatedError, UsageError
from geocorrect.georeference.build import build_problem, frame_of
from geocorrect.georeference.command import Inputs, solve
from geocorrect.georeference.joint.solve import solve_joint
from geocorrect.georeference.landmarks.click import Click
from geocorrect.georeference.landmarks.read import read_landmarks
from geocorrect.georeference.landmarks.write import write_clicks
from geocorrect.georeference.run import GeoreferenceOptions, first_answer
from geocorrect.serve.basemap import open_basemap
from geocorrect.serve.landmarks.answer import Solver, describe_clicks
from geocorrect.serve.landmarks.drive import LandmarkFiles, open_drives
from geocorrect.serve.landmarks.session import ClickSession
from geocorrect.serve.state import ServeSettings

pytestmark = [pytest.mark.data, pytest.mark.long]
SAME = 1e-6


@pytest.fixture(scope="module")
def made(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> LandmarkFiles:
    return campus_files(shared_data, tmp_path_factory.mktemp("campus"))


@pytest.fixture
def files(made: LandmarkFiles, tmp_path: Path) -> LandmarkFiles:
    """The same drive, with clicks of its own."""
    return replace(made, clicks=(tmp_path / "clicks.geojson",))


@pytest.fixture
def clicks(shared_data: Path) -> list[Click]:
    return campus_clicks(shared_data)


@pytest.fixture
def catalog(empty_geopackage: Path, tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.open(str(shutil.copy(empty_geopackage, tmp_path / "c.gpkg"))) as opened:
        yield opened


def by_command_line(shared: Path, clicks: Path) -> Any:
    campus = shared / "vbr_campus"
    return solve(
        Inputs((campus / "campus_train1_gt.txt",), campus / "vbr_calib.yaml", (clicks,)), GeoreferenceOptions()
    )


def body(server: Served, click: Click, **more: Any) -> dict[str, Any]:
    """A request to add the click, on the newest version."""
    state = server.get("/api/landmarks/state").value
    numbers = [int(photo["name"][:10]) for photo in state["drives"][0]["photos"]]
    names = ("u_px", "v_px", "lon_deg", "lat_deg", "landmark")
    number = int(Path(click.image).stem)
    asked = {"version": state["version"], "action": "add", "photo": numbers.index(number)}
    return asked | {name: getattr(click, name) for name in names} | more


def test_the_page_gives_the_alignment_of_the_command_line(
    files: LandmarkFiles, clicks: list[Click], catalog: Catalog, shared_data: Path
) -> None:
    """All but one are there already; then one is dragged by 10 m, and taken back."""
    write_clicks(clicks[:22], files.clicks[0])
    with served(ServeSettings(catalog, TOKEN, landmarks=files)) as server:
        for click in clicks[22:]:
            answer = server.post("/api/landmarks/click", body(server, click))
            assert answer.status == 200, answer.body
        said = answer.value
        assert len(said["clicks"]) == 23
        assert [c["outlier"] for c in said["clicks"]].count(True) == 2
        checked = server.get(f"/api/landmarks/check?version={said['version']}").value
        expected = by_command_line(shared_data, shared_data / "vbr_campus" / "landmarks_campus_train1.json")
        whole = expected.alignment.as_json()
        for name in ("world_from_local", "covariance"):
            assert np.allclose(checked["alignment"][name], whole[name], rtol=0, atol=SAME), name
        assert checked["solution"]["scale"] == pytest.approx(expected.alignment.world_from_local.scale, abs=SAME)
        shifts = list(expected.leave_one_out_m.values())
        assert list(checked["leave_one_out_m"].values()) == pytest.approx(shifts, abs=SAME)
        for name in ("residual_px", "residual_m"):
            assert [c[name] for c in said["clicks"]] == pytest.approx(
                [getattr(c, name) for c in expected.clicks], abs=SAME
            )
        saved = [(c.u_px, c.v_px, c.lon_deg, c.lat_deg, c.landmark) for c in read_landmarks(files.clicks[0])]
        assert saved == [(c.u_px, c.v_px, c.lon_deg, c.lat_deg, c.landmark) for c in clicks]
        assert all(c["mahalanobis"] > 3.7 for c in said["clicks"] if c["outlier"])
        assert all(c["mahalanobis"] < 3.72 for c in said["clicks"] if not c["outlier"])

        good = next(c for c in said["clicks"] if not c["outlier"])
        dragged = replace(clicks[0], lat_deg=clicks[0].lat_deg + 10.0 / 111_100)
        assert good["index"] == 0
        moved = server.post("/api/landmarks/click", body(server, dragged, action="replace", index=0)).value
        assert moved["clicks"][0]["outlier"]
        assert moved["clicks"][0]["residual_m"] == pytest.approx(10.0, abs=1.0)
        undone = server.post("/api/landmarks/undo", {"version": moved["version"]}).value
        assert undone["clicks"] == said["clicks"]

        stored = server.post("/api/landmarks/store", {"version": undone["version"]})
        assert stored.status == 200, stored.body
        (alignment,) = catalog.alignments()
        assert alignment.id == stored.value["alignment_id"] == expected.alignment.id
        assert [c["outlier"] for c in alignment.details["georeference"]["clicks"]].count(True) == 2


def test_what_the_solver_says_before_it_can_solve(files: LandmarkFiles, clicks: list[Click], catalog: Catalog) -> None:
    with served(ServeSettings(catalog, TOKEN, landmarks=files)) as server:
        first = server.get("/api/landmarks/state").value
        assert "0 clicks: 4 are needed" in first["refused"]
        assert first["suggestion"] is not None
        for click in clicks[:4]:
            said = server.post("/api/landmarks/click", body(server, click)).value
        fatal = [finding["code"] for finding in said["solution"]["findings"] if finding["fatal"]]
        assert "one_image" in fatal
        assert "in one image" in server.get(f"/api/landmarks/check?version={said['version']}").value["refused"]
        refused = server.post("/api/landmarks/store", {"version": said["version"]})
        assert refused.status == 422
        # A heading that is known badly moves what is far from the clicks most.
        (drive,), _ = open_drives(files)
        at = np.array([photo.image.local_from_cam.translation_m for photo in drive.photos])
        away_m = np.linalg.norm(at - at[body(server, clicks[0])["photo"]], axis=1)
        assert said["suggestion"]["photo"] == int(away_m.argmax())
        assert catalog.alignments() == []


def test_the_map_follows_the_photo_and_marks_are_found_again(
    files: LandmarkFiles, clicks: list[Click], catalog: Catalog
) -> None:
    write_clicks(clicks, files.clicks[0])
    with served(ServeSettings(catalog, TOKEN, landmarks=files)) as server:
        state = server.get("/api/landmarks/state").value
        for said, click in zip(state["clicks"], clicks, strict=True):
            if said["outlier"]:
                continue
            photo = body(server, click)["photo"]
            query = f"drive=0&photo={photo}&u_px={click.u_px}&v_px={click.v_px}"
            lon, lat = server.get(f"/api/landmarks/ground?{query}").value["place"]
            east, north = (lon - click.lon_deg) * 82_900, (lat - click.lat_deg) * 111_100
            assert np.hypot(east, north) == pytest.approx(said["residual_m"], rel=0.01, abs=0.01)
        looked = server.get(f"/api/landmarks/view?drive=0&photo={body(server, clicks[0])['photo']}").value
        again = [mark for mark in looked["marks"] if mark["landmark"].startswith("11373/")]
        assert again, "the two photos see the same crossing"
        assert server.get("/api/landmarks/ground?drive=0&photo=0&u_px=500&v_px=0").value["place"] is None, "the sky"
        for wrong in ("", "1", "1,,2", "1,2,,", "1,x"):
            refused = server.get(f"/api/landmarks/pixels?drive=0&photo=0&to=raw&px={wrong}")
            assert (refused.status, refused.value["error"].startswith("px: ")) == (422, True), wrong


def test_concurrent_clicks_do_not_overwrite_each_other(
    files: LandmarkFiles, clicks: list[Click], catalog: Catalog
) -> None:
    with served(ServeSettings(catalog, TOKEN, landmarks=files)) as server:
        asked = body(server, clicks[0])
        assert server.post("/api/landmarks/click", asked).status == 200
        late = server.post("/api/landmarks/click", asked | {"landmark": "another"})
        assert (late.status, "somebody else has clicked" in late.value["error"]) == (409, True)
        write_clicks(clicks[:7], files.clicks[0])
        other = server.post("/api/landmarks/click", body(server, clicks[1]))
        assert (other.status, "changed by another program" in other.value["error"]) == (409, True)
        state = server.get("/api/landmarks/state").value
        assert len(state["clicks"]) == 7
        assert not state["can_undo"]
        assert len(server.post("/api/landmarks/click", body(server, clicks[7])).value["clicks"]) == 8


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"u_px": 5000.0}, "outside the image"), ({"lat_deg": 95.0}, "not on earth"), ({"landmark": " "}, "landmark"),
    ({"photo": 99}, "photo 99"), ({"drive": 3}, "drive 3"), ({"action": "replace", "index": 9}, "click 9"),
    ({"u_px": "1"}, "u_px"), ({"action": "move"}, "action"),
]  # fmt: skip


def test_a_wrong_click_is_refused_in_words_and_nothing_is_written(
    files: LandmarkFiles, clicks: list[Click], catalog: Catalog
) -> None:
    with served(ServeSettings(catalog, TOKEN, landmarks=files)) as server:
        good = body(server, clicks[0])
        for change, words in WRONG:
            answer = server.post("/api/landmarks/click", good | change)
            assert (answer.status, words in answer.value["error"]) == (422, True), answer.body
    assert not files.clicks[0].exists()


def test_exports_are_read_as_the_same_clicks(
    files: LandmarkFiles, clicks: list[Click], catalog: Catalog, tmp_path: Path
) -> None:
    write_clicks(clicks, files.clicks[0])
    with served(ServeSettings(catalog, TOKEN, landmarks=files)) as server:
        own = [c for c in clicks if int(c.image) == 649]
        photo = body(server, own[0])["photo"]
        for kind, name, meant in (
            ("gcp", "gcp_list.txt", clicks), ("geojson", "a.geojson", clicks), ("points", "0000000649.points", own)
        ):  # fmt: skip
            answer = server.get(f"/api/landmarks/export?format={kind}&drive=0&photo={photo}")
            (tmp_path / name).write_bytes(answer.body)
            found = read_landmarks(tmp_path / name)
            for attribute in ("u_px", "v_px", "lon_deg", "lat_deg"):
                values = [getattr(click, attribute) for click in found]
                assert values == pytest.approx([getattr(c, attribute) for c in meant], abs=1e-9), (kind, attribute)
            assert [int(Path(c.image).stem) for c in found] == [int(c.image) for c in meant]
            if kind != "points":
                assert [c.landmark for c in found] == [c.landmark for c in meant]
        assert server.get("/api/landmarks/export?format=exe").status == 422


def test_two_drives_are_solved_together(files: LandmarkFiles, clicks: list[Click], tmp_path: Path) -> None:
    """The clicks of one drive, as if its halves were drives of their own that share a frame, and one mark."""
    late = next(k for k, click in enumerate(clicks) if int(click.image) >= 5000)
    write_clicks(clicks, files.clicks[0])
    apart = ClickSession(files)
    place = np.array([[click.lon_deg, click.lat_deg] for click in clicks])
    away = np.linalg.norm(place[:late, None] - place[None, late:], axis=2)
    first, second = np.unravel_index(np.argmin(away), away.shape)
    clicks = [
        replace(click, landmark="crossing") if k in (first, late + second) else click for k, click in enumerate(clicks)
    ]
    write_clicks(clicks, files.clicks[0])
    one = ClickSession(files)
    halves = (tmp_path / "a.geojson", tmp_path / "b.geojson")
    early = [click for click in clicks if int(click.image) < 5000]
    assert early == clicks[: len(early)]
    write_clicks(early, halves[0])
    both = ClickSession(replace(files, trajectories=files.trajectories * 2, photos=files.photos * 2, clicks=halves))
    for click in clicks[len(early) :]:
        both.add(both.now.number, 1, replace(click, where="click"))
    found, expected, unnamed = (
        np.array(
            first_answer(session.clicked_drives(session.now.clicks), files.options).alignment.as_json()[
                "world_from_local"
            ]
        )
        for session in (both, one, apart)
    )
    assert found == pytest.approx(expected, rel=0, abs=SAME)
    assert np.abs(found - unnamed).max() > 100 * SAME, "a mark in both drives is one place"
    with pytest.raises(UsageError, match="1 --clicks for 2 --trajectory"):
        ClickSession(replace(files, trajectories=files.trajectories * 2))


def test_a_check_of_outdated_clicks_makes_room_for_the_next_answer(files: LandmarkFiles, clicks: list[Click]) -> None:
    write_clicks(clicks, files.clicks[0])
    session = ClickSession(files)
    before = session.now
    session.remove(before.number, 0, 0)
    with pytest.raises(OutdatedError):
        Solver(session).whole(before)


def test_an_answer_costs_little_more_than_one_solve(
    files: LandmarkFiles, clicks: list[Click], shared_data: Path
) -> None:
    write_clicks(clicks, files.clicks[0])
    session = ClickSession(files)
    drives, options = session.clicked_drives(session.now.clicks), files.options
    problem, _ = build_problem(drives, frame_of(drives), options.noise, options.priors)

    def answer() -> None:
        version = session.replace(session.now.number, 0, 0, clicks[0])
        describe_clicks(session, version, Solver(session).first(version))

    def cost_s(work: Any) -> float:
        times = []
        for _ in range(3):
            started_s = time.process_time()
            work()
            times.append(time.process_time() - started_s)
        return min(times)

    solve_s, answer_s = cost_s(lambda: solve_joint(problem)), cost_s(answer)
    print(f"answer {answer_s:.3f} s, one solve {solve_s:.3f} s, ratio {answer_s / solve_s:.2f}")
    assert answer_s <= 1.5 * solve_s


def test_a_killed_server_has_lost_nothing_that_it_answered(
    files: LandmarkFiles, clicks: list[Click], tmp_path: Path
) -> None:
    command = [
        sys.executable, "-m", "geocorrect", "serve", "--catalog", "c.gpkg", "--trajectory", str(files.trajectories[0]),
        "--calibration", str(files.calibration), "--clicks", str(files.clicks[0]), "--photos", str(files.photos[0]),
    ]  # fmt: skip
    with child(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        address = process.stderr.readline().split()[-1]
        port, token = address.split(":")[2].split("/?token=")
        server = Served(int(port), token)
        for click in clicks[:2]:
            assert server.post("/api/landmarks/click", body(server, click)).status == 200
    assert process.returncode == -signal.SIGKILL
    assert len(ClickSession(files).now.clicks[0]) == 2
    saved = json.loads(files.clicks[0].read_text(encoding="utf-8"))["features"]
    assert [feature["properties"]["u_px"] for feature in saved] == [click.u_px for click in clicks[:2]]


def test_an_orthophoto_becomes_tiles(clicks: list[Click], catalog: Catalog, tmp_path: Path) -> None:
    basemap = open_basemap(orthophoto=write_orthophoto(tmp_path / "o.tif", clicks))
    assert basemap is not None
    with served(ServeSettings(catalog, TOKEN, basemap=basemap)) as server:
        west, south, east, north = server.get("/session").value["basemap"]["bounds"]
        assert west < min(c.lon_deg for c in clicks) < max(c.lon_deg for c in clicks) < east
        x = int((0.5 * (west + east) + 180) / 360 * 2**18)
        y = int((1 - np.arcsinh(np.tan(np.radians(0.5 * (south + north)))) / np.pi) / 2 * 2**18)
        tile = server.get(f"/basemap/18/{x}/{y}")
        assert (tile.status, tile.headers["content-type"]) == (200, "image/png")
        assert server.get(f"/basemap/18/{x + 500}/{y}").status == 204
        assert server.get("/basemap/60/1/1").status == 204
        assert server.ask("GET", f"/basemap/18/{x}/{y}").status == 401

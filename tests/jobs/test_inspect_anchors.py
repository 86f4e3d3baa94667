"""`geocorrect anchors inspect`: true anchors pass, and each usual mistake is found and named."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support.inspect_world import BACK, Listed, Taken, anchors_of, exchanged, render_pictures

from geocorrect.__main__ import run
from geocorrect.anchors.add import add_anchors
from geocorrect.api.anchor_cache import read_anchor
from geocorrect.api.scene import AnchorSource
from geocorrect.catalog.store import Catalog
from geocorrect.config import Settings
from geocorrect.demo.world.drives import FRAME
from geocorrect.depth.lidar import LidarDepth
from geocorrect.depth.pointcloud.options import PointCloudOptions
from geocorrect.errors import ExitCode
from geocorrect.evaluate.remembered import RememberedMatcher
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.frame import rotation_from_heading
from geocorrect.geometry.pose import Pose
from geocorrect.jobs.anchors.inspect import inspect as module
from geocorrect.jobs.anchors.inspect.inspect import Inspection, Severity, inspect_anchors
from geocorrect.jobs.anchors.inspect.page import write_page
from geocorrect.records import Anchor

pytestmark = pytest.mark.long

Pictures = tuple[list[Taken], Camera]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    return render_pictures(tmp_path_factory.mktemp("dense"))


@pytest.fixture(scope="module")
def matcher() -> RememberedMatcher:
    """Each pair of pictures is matched once for all tests."""
    return RememberedMatcher(module.build_matcher(Settings()))


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch, matcher: RememberedMatcher) -> Callable[[list[Anchor]], Inspection]:
    monkeypatch.setattr(module, "build_matcher", lambda settings: matcher)
    return lambda anchors: inspect_anchors(Settings(), AnchorSource.of_files(Listed(anchors)), 16)


def wrong(found: Inspection) -> dict[str, str]:
    return {f.check: f.text for f in found.findings if f.severity is Severity.WRONG}


def own_angles_deg(pose: Pose) -> tuple[float, float, float]:
    """Heading, pitch, roll by the textbook, for these tests alone."""
    right, down, ahead = pose.rotation.as_matrix().T
    level = np.cross(ahead, [0.0, 0.0, 1.0])
    roll = np.degrees(np.arctan2(right @ [0, 0, 1] * -1, -down @ [0, 0, 1]))
    assert np.linalg.norm(level) > 0
    return float(np.degrees(np.arctan2(ahead[0], ahead[1])) % 360), float(np.degrees(np.arcsin(ahead[2]))), -float(roll)


def test_the_truth_passes(pictures: Pictures, look: Callable[[list[Anchor]], Inspection]) -> None:
    found = look(anchors_of(*pictures))
    assert wrong(found) == {}
    assert found.exit_code == ExitCode.OK
    severities = {f.check: f.severity for f in found.findings}
    assert severities == {"poses": Severity.OK, "scans": Severity.OK, "heights": Severity.OK}
    assert found.noise.rotation_deg < 0.05
    assert found.noise.across_m < 0.03


def turned(change: Callable[[float, float, float], tuple[float, float, float]]) -> Callable[[Taken], Pose]:
    def pose(one: Taken) -> Pose:
        true = one.pose()
        return Pose(rotation_from_heading(*change(*own_angles_deg(true))), true.translation_m)

    return pose


def swapped_axes(one: Taken) -> Pose:
    """Vehicle axes (x forward, y left, z up) stored as if they were the camera's."""
    vehicle = Rotation.from_matrix([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # body from camera
    true = one.pose()
    return Pose(true.rotation * vehicle.inv(), true.translation_m)


def grid_north(one: Taken) -> Pose:
    true = one.pose()
    return Pose(Rotation.from_euler("z", -1.7, degrees=True) * true.rotation, true.translation_m)


MISTAKES: dict[str, tuple[Callable[[Taken], Pose], str]] = {
    "swapped axes": (swapped_axes, "axes of the poses are x forward, y left, z up"),
    "radians": (turned(lambda h, p, r: (np.radians(h), np.radians(p), np.radians(r))), "radians, read as degrees"),
    "counter-clockwise": (turned(lambda h, p, r: (90.0 - h, p, r)), "counter-clockwise and 90° more"),
    "pitch": (turned(lambda h, p, r: (h, -p, r)), "pitch down positive"),
    "pitch and roll": (turned(lambda h, p, r: (h, r, p)), "pitch and roll exchanged"),
    "grid north": (grid_north, r"headings are \+1\.[678]° off"),
    "clock": (lambda one: one.pose(0.05), "50 ms ahead of"),
    "cam_from_world": (lambda one: Pose(one.pose().rotation.inv(), one.pose().translation_m), "cam_from_world"),
}


SLOW = {"counter-clockwise", "pitch", "pitch and roll", "cam_from_world"}


@pytest.mark.parametrize(
    "mistake", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in MISTAKES]
)
def test_a_mistake_is_found_and_named(
    mistake: str, pictures: Pictures, look: Callable[[list[Anchor]], Inspection]
) -> None:
    pose, words = MISTAKES[mistake]
    found = look(anchors_of(*pictures, pose))
    assert re.search(words, wrong(found).get("poses", found.findings[0].text))
    assert found.exit_code == ExitCode.INPUT
    assert found.verdict.startswith("Do not trust")


def test_exchanged_cameras_are_found(pictures: Pictures, look: Callable[[list[Anchor]], Inspection]) -> None:
    found = look(exchanged([a for a in anchors_of(*pictures) if int(a.id[-3:]) in (1, 4, 7) and "dense/" in a.id]))
    assert "cameras are exchanged" in wrong(found)["poses"]


def test_another_height_reference_is_found(pictures: Pictures, look: Callable[[list[Anchor]], Inspection]) -> None:
    def sunk(one: Taken) -> Pose:
        return (
            one.pose() if one.drive is not BACK else Pose(one.pose().rotation, one.pose().translation_m - [0, 0, 48.3])
        )

    assert "+48" in (text := wrong(look(anchors_of(*pictures, sunk)))["heights"]) or "-48" in text
    assert "height reference" in text


def test_scans_that_are_tied_wrongly_are_found(pictures: Pictures, look: Callable[[list[Anchor]], Inspection]) -> None:
    def moved(anchor: Anchor) -> Anchor:
        if anchor.lidar is None:
            return anchor
        tie = Pose(Rotation.from_euler("y", 90, degrees=True), np.zeros(3)) @ anchor.lidar.cam_from_lidar
        return replace(anchor, lidar=replace(anchor.lidar, cam_from_lidar=tie))

    found = look([moved(anchor) for anchor in anchors_of(*pictures)])
    assert set(wrong(found)) == {"scans"}


def test_heights_against_a_point_cloud(pictures: Pictures, tmp_path: Path) -> None:
    from support.street_clouds import in_utm, street_points, write_las

    from geocorrect.demo.world.plan import SIZES, WorldPlan
    from geocorrect.depth.pointcloud.index import CloudPlaces, write_index
    from geocorrect.jobs.anchors.inspect.heights import height_findings

    anchors = [anchor for anchor in anchors_of(*pictures) if "dense/" in anchor.id]
    assert [said[1] for said in height_findings(Settings(), FRAME, anchors)] == ["unknown"]
    xyz = in_utm(street_points(WorldPlan(7, SIZES["small"]), 5.0))
    for shift, severity in ((0.0, "ok"), (48.3, "wrong")):
        folder = tmp_path / severity
        las = write_las(tmp_path / f"{severity}.las", xyz - [0, 0, shift])
        write_index(folder, [las], CloudPlaces(FRAME, height_reference="ellipsoid"))
        settings = Settings()
        depth = replace(settings.depth, pointcloud=PointCloudOptions(folder=folder))
        (said,) = height_findings(settings.model_copy(update={"depth": depth}), FRAME, anchors)
        assert said[1] == severity, said


def test_the_page_is_complete_and_asks_no_network(
    pictures: Pictures, look: Callable[[list[Anchor]], Inspection], tmp_path: Path
) -> None:
    found = look(anchors_of(*pictures, swapped_axes))
    lidar = LidarDepth()
    write_page(
        tmp_path / "page.html", found, FRAME, read_anchor,
        lambda a, v: None if a.lidar is None else lidar.depth(a, v.pixels),
    )  # fmt: skip
    text = (tmp_path / "page.html").read_text()
    assert found.verdict.split(": ")[0] in text
    assert text.count("data:image/png;base64,") >= 2
    assert "http://" not in text
    assert "https://" not in text


@pytest.mark.slow
def test_the_command(
    pictures: Pictures,
    matcher: RememberedMatcher,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(module, "build_matcher", lambda settings: matcher)
    monkeypatch.chdir(tmp_path)
    for mistake, code in ((Taken.pose, ExitCode.OK), (swapped_axes, ExitCode.INPUT)):
        Path("a.gpkg").unlink(missing_ok=True)
        with Catalog.open("a.gpkg", create=True) as catalog:
            add_anchors(catalog, Listed(anchors_of(*pictures, mistake)))
        capsys.readouterr()
        assert run(["anchors", "inspect", "--catalog", "a.gpkg", "--page", "p.html", "--pairs", "16", "--json"]) == code
        said = json.loads(capsys.readouterr().out)
        assert said["exit_code"] == code
        assert Path("p.html").stat().st_size > 20_000

"""OpenSfM files and Mapillary clusters: what real files leave out, and what broken ones hold (row 14)."""

from __future__ import annotations

import codecs
import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support.harvest_support import SiteFactory, graph_error, street_image

from geocorrect.demo.mapillary_server.server import FakeReply, FakeRequest, json_reply
from geocorrect.errors import InputError
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Pose, rotation_angle_deg
from geocorrect.harvest.local.opensfm import match_shots, parse_reconstructions, read_reconstructions
from geocorrect.harvest.mapillary.clusters import harvest_clusters, read_clusters

REFERENCE = {"latitude": 41.9, "longitude": 12.5, "altitude": 0.0}


def shot(pose: Pose, captured_s: float, sequence: str = "sequence-000") -> dict[str, Any]:
    """A shot as OpenSfM writes it, from the true world_from_cam."""
    cam_from_world = pose.inverse()
    return {
        "rotation": list(cam_from_world.rotation.as_rotvec()),
        "translation": list(cam_from_world.translation_m),
        "camera": "c",
        "capture_time": captured_s,
        "skey": sequence,
        "nonsense": 7,
    }


def true_pose(index: int) -> Pose:
    return Pose(Rotation.from_euler("xyz", [-1.5, 0.1, 0.02 * index]), np.array([3.0 * index, -index, 2.0]))


def cluster_file(count: int = 4, **changes: Any) -> list[dict[str, Any]]:
    shots = {f"shot{index}": shot(true_pose(index), 1_600_000_000 + index) for index in range(count)}
    content = {"cameras": {"c": {"focal": 0.8}}, "shots": shots, "reference_lla": REFERENCE, **changes}
    return [{key: value for key, value in content.items() if value is not ...}]


def packed(content: Any) -> bytes:
    return zlib.compress(json.dumps(content).encode())


@pytest.mark.parametrize(
    "pack",
    [
        lambda data: data,
        zlib.compress,
        gzip.compress,
        lambda data: codecs.BOM_UTF8 + data,
        lambda data: zlib.compress(codecs.BOM_UTF8 + data),
    ],
)
def test_poses_come_back(pack: Any) -> None:
    part = parse_reconstructions(pack(json.dumps(cluster_file()).encode()), "x")[0]
    for index in range(4):
        found = part.shots[f"shot{index}"].world_from_cam
        assert np.allclose(found.translation_m, true_pose(index).translation_m)
        assert rotation_angle_deg(found.rotation, true_pose(index).rotation) < 1e-6
    assert part.reference == Frame("reference_lla", 12.5, 41.9, 0.0)
    camera = part.camera(part.shots["shot0"], 640, 480)
    assert camera is not None
    assert camera.focal_x_px == pytest.approx(512)


def test_everything_optional_may_be_absent() -> None:
    content = cluster_file(2, cameras=..., reference_lla=...)
    del content[0]["shots"]["shot1"]["rotation"]
    part = parse_reconstructions(json.dumps(content).encode(), "x")[0]
    assert list(part.shots) == ["shot0"]
    assert part.reference is None
    assert part.camera(part.shots["shot0"], 640, 480) is None


def test_rigs_are_composed() -> None:
    rig_from_cam = Pose(Rotation.from_euler("z", 0.3), np.array([0.5, 0.0, 0.0]))
    world_from_rig = true_pose(3)
    content = cluster_file(1)
    content[0]["rig_cameras"] = {"left": shot(rig_from_cam, 0)}
    content[0]["rig_instances"] = {"i": {**shot(world_from_rig, 0), "rig_camera_ids": {"shot0": "left"}}}
    found = parse_reconstructions(json.dumps(content).encode(), "x")[0].shots["shot0"].world_from_cam
    expected = world_from_rig @ rig_from_cam
    assert np.allclose(found.matrix, expected.matrix)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"x\x9cbroken", "zlib"),
        (packed(cluster_file())[:-20], "cut short|zlib"),
        (b"[]", "no reconstruction"),
        (b"{}", "cameras` and `shots"),
        (b'[{"shots": 7}]', "shots"),
        (b"[{", "not JSON"),
        (b"\x89PNG", "neither JSON"),
    ],
)
def test_broken_files_are_named(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        parse_reconstructions(data, "cluster 5")
    assert "cluster 5" in str(caught.value)


@pytest.mark.data
def test_recorded_reconstruction(shared_data: Path) -> None:
    part = read_reconstructions(shared_data / "opensfm_berlin" / "reconstruction_example.json")[0]
    assert set(part.shots) == {"01.jpg", "02.jpg", "03.jpg"}
    first, second = part.shots["01.jpg"].world_from_cam, part.shots["02.jpg"].world_from_cam
    assert 1 < np.linalg.norm(first.translation_m - second.translation_m) < 30
    camera = part.camera(part.shots["01.jpg"], 3264, 2448)
    assert camera is not None
    assert camera.focal_x_px == pytest.approx(0.8696658484855359 * 3264)


def test_reference_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "reconstruction.json").write_text(json.dumps(cluster_file(reference_lla=...)))
    (tmp_path / "reference_lla.json").write_text(json.dumps(REFERENCE))
    reference = read_reconstructions(tmp_path / "reconstruction.json")[0].reference
    assert reference is not None
    assert reference.lat_deg == 41.9


def test_shots_are_matched_by_time_then_by_sequence(site: SiteFactory) -> None:
    here = site([street_image(index) for index in range(4)] + [street_image(0, 1, captured_at=1_600_000_003_000)])
    here.harvest()
    images = sorted(here.sink.by_id.values(), key=lambda image: image.id)
    content = cluster_file(4)
    shots = content[0]["shots"]
    shots["shot1"]["capture_time"] += 0.004
    shots["twin"] = shot(true_pose(9), 1_600_000_003, "sequence-001")
    part = parse_reconstructions(json.dumps(content).encode(), "x")[0]
    matched = {image_id: found.name for image_id, found in match_shots(part, images).items()}
    assert matched == {
        "1000000000000000": "shot0",
        "1000000000000001": "shot1",
        "1000000000000002": "shot2",
        "1000000000000003": "shot3",
        "1000000000001000": "twin",
    }
    for entry in shots.values():
        entry["capture_time"] += 100
    part = parse_reconstructions(json.dumps(content).encode(), "x")[0]
    assert not match_shots(part, images)


# --- over HTTP ---


def cluster_rule(body: bytes | FakeReply) -> Any:
    def rule(request: FakeRequest) -> FakeReply | None:
        if request.query.get("fields") == "sfm_cluster":
            url = f"{request.headers['Host']}/cdn/cluster"
            return json_reply({"id": request.path, "sfm_cluster": {"id": "777", "url": f"http://{url}"}})
        if request.path == "cluster":
            return body if isinstance(body, FakeReply) else FakeReply(200, body)
        return None

    return rule


def test_cluster_is_fetched_once_and_read_back(site: SiteFactory, tmp_path: Path) -> None:
    here = site([street_image(index) for index in range(4)], rule=cluster_rule(packed(cluster_file())))
    here.harvest()
    assert not any("sfm_cluster" in r.query.get("fields", "") for r in here.script.to("graph"))
    with here.client() as client:
        report = harvest_clusters(client, here.sink.by_id.values(), tmp_path)
        assert (report.n_clusters, report.n_images, report.failures) == (1, 4, [])
        again = harvest_clusters(client, here.sink.by_id.values(), tmp_path)
        assert again.n_clusters == 0
    assert len(here.script.to("cdn", "cluster")) == 1
    (cluster,) = read_clusters(tmp_path)
    found = cluster.world_from_cam["1000000000000002"]
    assert np.allclose(found.matrix, true_pose(2).matrix)
    assert here.service.tokens_sent_to_cdn == 0


@pytest.mark.parametrize(
    "body",
    [
        FakeReply(500, b"Service temporarily unavailable"),
        packed(cluster_file())[:-9],
        b"[]",
        packed(cluster_file(shots={})),
        packed(cluster_file(shots={"a": shot(true_pose(0), 5.0)})),
        graph_error(500, 2, "Service temporarily unavailable"),
    ],
)
def test_cluster_that_cannot_be_had_leaves_the_images_usable(
    site: SiteFactory, tmp_path: Path, body: bytes | FakeReply
) -> None:
    here = site([street_image(index) for index in range(2)], rule=cluster_rule(body))
    here.harvest()
    before = dict(here.sink.by_id)
    with here.client(max_tries=2) as client:
        report = harvest_clusters(client, here.sink.by_id.values(), tmp_path)
    assert report.n_clusters == 0
    assert report.failures
    assert here.sink.by_id == before
    assert not list(tmp_path.glob("*.json"))


def test_cluster_without_reference_is_still_relative_geometry(site: SiteFactory, tmp_path: Path) -> None:
    content = packed(cluster_file(reference_lla=...))
    here = site([street_image(index) for index in range(3)], rule=cluster_rule(content))
    here.harvest()
    with here.client() as client:
        harvest_clusters(client, here.sink.by_id.values(), tmp_path)
    (cluster,) = read_clusters(tmp_path)
    assert cluster.reference is None
    assert len(cluster.world_from_cam) == 3


def test_foreign_cluster_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(InputError, match=r"x\.json"):
        read_clusters(tmp_path)

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support.vbr_world import MemoryCatalog, VbrWorld

from geocorrect.anchors.add import VbrSource, add_anchors, add_anchors_to
from geocorrect.anchors.alignment import Alignment, read_alignment
from geocorrect.anchors.readers.registry import anchor_files
from geocorrect.anchors.readers.vbr.sequence import read_vbr
from geocorrect.errors import InputError
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.similarity import Similarity


def test_the_first_anchors_fix_the_frame(vbr: VbrWorld) -> None:
    catalog = MemoryCatalog()
    added = add_anchors(catalog, VbrSource(vbr.folder, vbr.calibration, vbr.ground_truth, vbr.alignment))
    assert catalog.scene == vbr.alignment.frame
    said = added.as_json()
    assert (said.pop("n_returns"), said.pop("n_returns_left_out")) == (added.n_returns, 0)
    assert said == {"alignment_id": vbr.alignment.id, "dataset": "vbr", "frame": "Rome", "n_anchors": 15}
    assert [record.id for record in catalog.alignments] == [vbr.alignment.id]
    assert {anchor.alignment_id for anchor in catalog.anchors} == {vbr.alignment.id}


def test_later_anchors_are_brought_into_the_scene_frame(vbr: VbrWorld) -> None:
    """The same places on earth, whatever frame the catalog has."""
    catalog = MemoryCatalog(Frame("Milan", 9.19, 45.46, 120.0))
    add_anchors(catalog, VbrSource(vbr.folder, vbr.calibration, vbr.ground_truth, vbr.alignment))
    direct = read_vbr(vbr.folder, vbr.calibration, vbr.ground_truth, vbr.alignment)
    assert catalog.scene is not None
    for stored, anchor in zip(catalog.anchors, direct, strict=True):
        there = catalog.scene.wgs84_from_enu(stored.world_from_cam.translation_m)
        here = vbr.alignment.frame.wgs84_from_enu(anchor.world_from_cam.translation_m)
        assert np.array(there) == pytest.approx(np.array(here), abs=1e-8)
        assert catalog.scene.heading_deg(stored.world_from_cam) == pytest.approx(
            vbr.alignment.frame.heading_deg(anchor.world_from_cam), abs=0.05
        )


def test_damage_stores_nothing(vbr: VbrWorld) -> None:
    catalog = MemoryCatalog()
    (vbr.folder / "camera_left/data/0000000009.png").write_bytes(b"")
    with pytest.raises(InputError, match="0000000009.png"):
        add_anchors(catalog, VbrSource(vbr.folder, vbr.calibration, vbr.ground_truth, vbr.alignment))
    assert (catalog.scene, catalog.alignments, catalog.anchors) == (None, [], [])
    with pytest.raises(InputError, match="no anchors"):
        add_anchors_to(catalog, vbr.alignment, [])


@pytest.mark.data
def test_gnss_and_click_anchors_share_one_door(shared_data: Path, vbr: VbrWorld) -> None:
    catalog = MemoryCatalog()
    add_anchors(catalog, VbrSource(vbr.folder, vbr.calibration, vbr.ground_truth, vbr.alignment))
    add_anchors(catalog, anchor_files(shared_data / "kitti_raw"))
    assert [record.method for record in catalog.alignments] == ["known", "gnss"]
    assert catalog.scene is not None
    lon, lat, _ = catalog.scene.wgs84_from_enu(catalog.anchors[-1].world_from_cam.translation_m)
    assert (float(lon), float(lat)) == pytest.approx((8.4323, 49.0145), abs=2e-4)


@pytest.mark.long
@pytest.mark.data
def test_a_real_catalog_gives_the_anchors_back(shared_data: Path, vbr: VbrWorld, tmp_path: Path) -> None:
    from geocorrect.catalog.store import Catalog

    covariance = np.diag([0.04, 0.04, 1.0, 1e-4, 1e-4, 4e-6, 4e-6])
    vbr.alignment = Alignment(vbr.alignment.frame, vbr.alignment.world_from_local, covariance, "joint")
    source = VbrSource(vbr.folder, vbr.calibration, vbr.ground_truth, vbr.alignment)
    with Catalog.open(str(tmp_path / "scene.gpkg"), create=True) as catalog:
        add_anchors(catalog, source)
        add_anchors(catalog, anchor_files(shared_data / "kitti_raw"))
        add_anchors(catalog, source)
        assert {record.method for record in catalog.alignments()} == {"joint", "gnss"}
        stored = catalog.anchors()
    assert len(stored) == 15 + 20
    for anchor in source.read()[1]:
        again = stored[anchor.id]
        assert again.alignment_id == vbr.alignment.id
        assert np.linalg.norm(again.world_from_cam.translation_m - anchor.world_from_cam.translation_m) < 1e-6
        assert again.world_from_cam.covariance == pytest.approx(anchor.world_from_cam.covariance, rel=1e-6, abs=1e-12)
        assert again.lidar is not None


def test_an_alignment_survives_its_file(tmp_path: Path) -> None:
    transform = Similarity(1.002, Rotation.from_euler("z", 20, degrees=True), [1.0, 2.0, 3.0])
    alignment = Alignment(Frame("Rome", 12.5, 41.9, 80.0), transform, np.eye(7) * 0.01, "joint", residual_m=0.43)
    path = tmp_path / "alignment.json"
    path.write_text(json.dumps(alignment.as_json()))
    again = read_alignment(path)
    assert again.fingerprint() == alignment.fingerprint()
    assert (again.id, again.method, again.residual_m) == (alignment.id, "joint", 0.43)


def test_another_covariance_or_origin_is_another_alignment() -> None:
    frame, turn = Frame("Rome", 12.5, 41.9), Similarity.identity()
    ids = {
        Alignment(frame, turn).id,
        Alignment(frame, turn, np.eye(6)).id,
        Alignment(Frame("Rome", 12.6, 41.9), turn).id,
        Alignment(frame, Similarity(1.0, Rotation.identity(), [0, 0, 1e-6])).id,
    }
    assert len(ids) == 4


@pytest.mark.parametrize("size", [6, 7])
def test_covariance_of_an_anchor_against_monte_carlo(size: int) -> None:
    random = np.random.default_rng(3)
    root = random.normal(size=(size, size)) * np.array([0.2] * 3 + [0.002] * 3 + [0.001])[:size, None]
    frame = Frame("Rome", 12.5, 41.9)
    transform = Similarity(1.001, Rotation.from_euler("zyx", [40, 2, -1], degrees=True), [5.0, -8.0, 1.0])
    alignment = Alignment(frame, transform, root @ root.T)
    local_from_cam = Pose(Rotation.from_euler("x", 30, degrees=True), [300.0, -200.0, 2.0])
    moved = alignment.apply(local_from_cam)
    samples = []
    for draw in random.normal(size=(4000, size)) @ root.T:
        scale = transform.scale * np.exp(draw[6] if size == 7 else 0.0)
        rotation = Rotation.from_rotvec(draw[3:6]) * transform.rotation
        other = Similarity(scale, rotation, transform.translation_m + draw[:3]).apply_pose(local_from_cam)
        samples.append(other.minus(moved))
    found = np.cov(np.array(samples).T)
    assert moved.covariance is not None
    assert np.sqrt(np.diag(moved.covariance)) == pytest.approx(np.sqrt(np.diag(found)), rel=0.06)
    assert np.abs(moved.covariance - found).max() < 0.1 * np.abs(found).max()
    assert alignment.position_covariance(local_from_cam.translation_m) == pytest.approx(moved.covariance[:3, :3])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", "not a JSON file"),
        ("{}", "field 'origin' is missing"),
        ('{"origin": {"name": "x", "lon_deg": 412, "lat_deg": 1}, "world_from_local": []}', "longitude 412"),
        ('{"origin": {"name": "x", "lon_deg": 12, "lat_deg": 41}, "world_from_local": [[1]]}', "expected a finite 4×4"),
    ],
)
def test_a_bad_alignment_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "alignment.json"
    path.write_text(text)
    with pytest.raises(InputError, match=f"alignment.json: .*{message}"):
        read_alignment(path)
    with pytest.raises(InputError, match="no such alignment"):
        read_alignment(tmp_path / "none.json")

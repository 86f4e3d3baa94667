"""Depth of an anchor from a network whose errors are known: hints and baselines correct them, contradictions empty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support.mapanything_world import random_photo, seeded_engine, street_camera

from geocorrect.depth.base import DepthSource
from geocorrect.depth.mapanything import DenseNetwork, MapAnythingDepth, MapAnythingDepthOptions
from geocorrect.errors import InputError
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.networks.cards import APACHE, ModelCard, RemoteFile, Task
from geocorrect.networks.mapanything.masks import MaskRules
from geocorrect.networks.mapanything.photo_view import DensePrediction, PhotoView, ScenePoses
from geocorrect.networks.mapanything.preprocess import network_rays, place
from geocorrect.records import Anchor, AnchorView, DepthMap

CARD = ModelCard(
    name="mapanything_apache",
    title="MapAnything v1.1",
    task=Task.DEPTH,
    hub_id="facebook/map-anything-apache",
    files=(RemoteFile("config.json"), RemoteFile("model.safetensors")),
    size_mb=4914,
    memory_mb=7500,
    licence=APACHE,
    code="geocorrect (Apache-2.0)",
    valid_range_m=(0.3, 80.0),
    relative_depth_sigma=0.3,
)
SIZE = (42, 30)
TRUE_Z_M = 12.0


def anchor(number: int = 0, camera: Camera | None = None) -> Anchor:
    pose = Pose(Rotation.from_rotvec([0.0, 0.02 * number, 0.0]), np.array([100.0 + 2.0 * number, 50.0, 1.0]))
    return Anchor(f"a{number}", "street", Path(f"a{number}.png"), camera or street_camera(), pose, "fixed")


def view(number: int, camera: Camera | None = None) -> AnchorView:
    return AnchorView(anchor(number, camera), random_photo(seed=number))


class WallNetwork:
    """A wall at 12 m in front of every view, all lengths times a wrong scale, a corner of doubtful pixels."""

    fingerprint = "wall"

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale
        self.calls: list[list[PhotoView]] = []

    def dense(
        self, views: Sequence[PhotoView], wanted: Sequence[int] = (0,), rules: MaskRules | None = None
    ) -> tuple[ScenePoses, list[DensePrediction]]:
        self.calls.append(list(views))
        poses = [v.world_from_cam for v in views if v.world_from_cam is not None]
        relative = [poses[0].inverse() @ pose for pose in poses]
        scene = ScenePoses(tuple(Pose(p.rotation, self.scale * p.translation_m) for p in relative))
        found = []
        for index in wanted:
            camera = views[index].camera
            assert camera is not None
            placement = place((camera.width, camera.height), SIZE)
            rays = network_rays(camera, placement)
            distance_m = (self.scale * TRUE_Z_M / rays[..., 2]).astype(np.float32)
            confidence, believed = np.full(SIZE[::-1], 4.0, np.float32), np.ones(SIZE[::-1], bool)
            confidence[:10, :10] = 2.0
            believed[-8:, -8:] = False
            found.append(DensePrediction(distance_m, rays, confidence, believed, placement))
        return scene, found


def source(
    network: DenseNetwork, neighbours: int = 0, hints: DepthMap | None = None, **changes: object
) -> MapAnythingDepth:
    beside = [view(number) for number in range(1, neighbours + 1)]
    return MapAnythingDepth(
        network,
        CARD,
        MapAnythingDepthOptions(**changes),
        (lambda _: beside) if neighbours else None,
        None if hints is None else (lambda which, _: hints if which.id == "a0" else None),
    )


def wall_hints(count: int, z_m: float = TRUE_Z_M, is_oracle: bool = True) -> DepthMap:
    random = np.random.default_rng(0)
    px = np.column_stack([random.uniform(10, 50, count), random.uniform(10, 35, count)])
    return DepthMap("lidar", is_oracle, samples_px=px, samples_z_m=np.full(count, z_m))


def middle_m(depth: DepthMap) -> float:
    assert depth.z_m is not None
    return float(np.nanmedian(depth.z_m))


def test_the_map_lies_on_the_photos_raster_through_its_own_lens() -> None:
    found = source(WallNetwork()).depth(anchor(), random_photo())
    assert isinstance(source(WallNetwork()), DepthSource)
    assert found.z_m is not None
    assert found.z_m.shape == (50, 70)
    known = found.z_m[np.isfinite(found.z_m)]
    assert known.size > 0.5 * found.z_m.size
    np.testing.assert_allclose(known, TRUE_Z_M, rtol=1e-5)
    assert np.isnan(found.z_m[-8:, -8:]).all()  # not believed
    assert found.common_log_sigma == CARD.relative_depth_sigma
    assert not found.is_oracle


def test_less_confidence_is_a_larger_sigma() -> None:
    found = source(WallNetwork()).depth(anchor(), random_photo())
    assert isinstance(found.log_sigma, np.ndarray)
    assert found.log_sigma[25, 35] == pytest.approx(0.42 * 0.3, rel=1e-5)
    assert found.log_sigma[8, 8] == pytest.approx(2 * 0.42 * 0.3, rel=1e-5)


def test_distances_between_anchors_correct_the_scale() -> None:
    found = source(WallNetwork(1.4), neighbours=2).depth(anchor(), random_photo())
    assert middle_m(found) == pytest.approx(TRUE_Z_M, rel=1e-4)
    assert found.common_log_sigma == pytest.approx(0.05, rel=1e-3)
    assert found.from_anchors == {"a1", "a2"}
    alone = source(WallNetwork(1.4)).depth(anchor(), random_photo())
    assert middle_m(alone) == pytest.approx(1.4 * TRUE_Z_M, rel=1e-4)
    assert alone.from_anchors == frozenset()


def test_measured_depth_corrects_the_scale_and_makes_an_oracle() -> None:
    network = WallNetwork(1.4)
    found = source(network, neighbours=1, hints=wall_hints(40)).depth(anchor(), random_photo())
    assert middle_m(found) == pytest.approx(TRUE_Z_M, rel=1e-4)
    assert found.common_log_sigma == pytest.approx(0.02, rel=1e-2)
    assert found.is_oracle
    assert found.name == "mapanything+lidar"
    assert found.from_anchors == frozenset()  # the scan gives the scale, not the neighbour
    own, neighbour = network.calls[0]
    assert own.hints is not None
    assert neighbour.hints is None


def test_triangulated_hints_are_no_oracle() -> None:
    hints = replace(wall_hints(40, is_oracle=False), name="triangulated", from_anchors=frozenset({"a7"}))
    found = source(WallNetwork(), neighbours=1, hints=hints).depth(anchor(), random_photo())
    assert not found.is_oracle
    assert found.from_anchors == {"a7"}


def test_a_few_measured_depths_do_not_fix_the_scale() -> None:
    found = source(WallNetwork(1.4), hints=wall_hints(9)).depth(anchor(), random_photo())
    assert middle_m(found) == pytest.approx(1.4 * TRUE_Z_M, rel=1e-4)
    assert found.common_log_sigma == CARD.relative_depth_sigma


def test_a_prediction_that_contradicts_what_was_given_is_no_prediction() -> None:
    found = source(WallNetwork(4.0), neighbours=2).depth(anchor(), random_photo())
    assert found.z_m is not None
    assert np.isnan(found.z_m).all()


def test_points_that_other_views_contradict_are_dropped() -> None:
    """One neighbour's depth is right, the other's is not: half of the witnesses agree."""

    class Contradicted(WallNetwork):
        def dense(
            self, views: Sequence[PhotoView], wanted: Sequence[int] = (0,), rules: MaskRules | None = None
        ) -> tuple[ScenePoses, list[DensePrediction]]:
            scene, found = super().dense(views, wanted, rules)
            if len(found) > 2:
                slope = np.linspace(0.6, 1.6, SIZE[0], dtype=np.float32)  # right where the factor is near 1
                found[2] = replace(found[2], distance_m=slope * found[2].distance_m)
            return scene, found

    known = [
        np.isfinite(
            source(Contradicted(), neighbours=2, min_agreement=share).depth(anchor(), random_photo()).z_m
        ).mean()
        for share in (0.0, 0.4, 0.9)
    ]
    assert known[0] > 0.5
    assert known[1] > 0.5 * known[0]
    assert known[2] < 0.3 * known[1]


def test_maps_are_kept() -> None:
    network = WallNetwork()
    depth = source(network, cached_anchors=1)
    first = depth.depth(anchor(), random_photo())
    assert depth.depth(anchor(), random_photo()) is first
    depth.depth(anchor(1), random_photo())
    depth.depth(anchor(), random_photo())
    assert len(network.calls) == 3


def test_no_more_neighbours_than_allowed_and_no_panoramas() -> None:
    network = WallNetwork()
    source(network, neighbours=5, max_neighbours=2).depth(anchor(), random_photo())
    assert len(network.calls[0]) == 3
    panorama = AnchorView(anchor(9, Camera.spherical(70, 35)), random_photo(70, 35))
    depth = MapAnythingDepth(network, CARD, MapAnythingDepthOptions(), lambda _: [panorama])
    depth.depth(anchor(), random_photo())
    assert len(network.calls[1]) == 1


def test_photos_that_the_network_cannot_take_are_named() -> None:
    with pytest.raises(InputError, match=r"anchor a0: .*spherical"):
        source(WallNetwork()).depth(anchor(0, Camera.spherical(70, 35)), random_photo(70, 35))
    with pytest.raises(InputError, match=r"anchor a0: the photo is 70×50 pixels, its camera 60×50"):
        source(WallNetwork()).depth(anchor(0, street_camera(60, 50)), random_photo())
    thin = anchor(0, street_camera(1000, 20))
    with pytest.raises(InputError, match=r"anchor a0: .*too thin"):
        source(seeded_engine()).depth(thin, random_photo(1000, 20))


def test_the_fingerprint_names_what_shapes_a_map() -> None:
    network = WallNetwork()
    prints = {
        source(network).fingerprint,
        source(network, neighbours=1).fingerprint,
        source(network, hints=wall_hints(3)).fingerprint,
        source(network, dropped_share=0.3).fingerprint,
        source(network, edge_ratio=1.2).fingerprint,
        source(network, min_agreement=0.5).fingerprint,
        source(network, neighbours=1, max_neighbours=2).fingerprint,
    }
    assert len(prints) == 7
    assert source(network, cached_anchors=2).fingerprint == source(network).fingerprint


def test_the_real_engine_fills_the_same_record() -> None:
    """With random weights: nothing is right, all of it is well formed, and the second look comes from the cache."""
    engine = seeded_engine()
    found = source(engine, neighbours=2, hints=wall_hints(40), max_scale_error=1e6).depth(anchor(), random_photo())
    assert found.z_m is not None
    assert found.z_m.shape == (50, 70)
    again = source(engine, neighbours=2, hints=wall_hints(40), max_scale_error=1e6).depth(anchor(), random_photo())
    np.testing.assert_array_equal(found.z_m, again.z_m)


@pytest.mark.parametrize(
    "changes", [{"dropped_share": 1.0}, {"max_neighbours": -1}, {"max_scale_error": 1.0}, {"min_agreement": 1.1}]
)
def test_impossible_options_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        MapAnythingDepthOptions(**changes)

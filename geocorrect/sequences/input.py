"""From the catalog and the harvested clusters to what the sequence estimator takes: photos, motion, own results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geocorrect.catalog.sequences import SequenceMember
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Pose
from geocorrect.harvest.mapillary.clusters import read_clusters
from geocorrect.records import Image, MetadataQuality
from geocorrect.sequences.motion import MotionHints

Float = NDArray[np.float64]
ClusterPoses = Mapping[str, tuple[str, Pose]]
"""(cluster id, pose in the scene's frame by the cluster's own reference) by photo id."""


@dataclass(frozen=True, eq=False)
class SequencePhotos:
    """The N photos of one sequence in order of capture, as columns."""

    ids: tuple[str, ...]
    """N image ids."""
    hints: tuple[MotionHints, ...]
    """What the provider says about each."""
    reported_enu_m: Float
    """(N, 3) z nan, all nan where unknown."""
    reported_heading_deg: Float
    """(N,) nan where unknown."""
    time_s: Float
    """(N,) since the first photo, nan where unknown."""
    device_make: str | None
    device_model: str | None
    """The most common ones, None when no photo names any."""


def cluster_poses(folder: Path, frame: Frame) -> ClusterPoses:
    """Poses of all harvested clusters that say where they are; of clusters that share a photo the larger one counts.

    Raises:
        InputError: names a file that is not a cluster as harvested.
    """
    chosen: dict[str, tuple[str, Pose]] = {}
    for cluster in sorted(read_clusters(folder), key=lambda c: (len(c.world_from_cam), c.id)):
        if cluster.reference is not None:
            scene_from_cluster = frame.this_from(cluster.reference)
            for image_id, pose in cluster.world_from_cam.items():
                chosen[image_id] = (cluster.id, scene_from_cluster @ pose)
    return chosen


def input_hash(config_key: str, members: Sequence[SequenceMember], clusters: ClusterPoses) -> str:
    """Hash of everything that the results of a sequence depend on."""
    photos = [[m.image_id, m.content_hash, m.own_run_key] for m in members]
    posed = [
        [m.image_id, found[0], *found[1].quaternion_xyzw.tolist(), *found[1].translation_m.tolist()]
        for m in members
        if (found := clusters.get(m.image_id)) is not None
    ]
    return hashlib.sha256(json.dumps([config_key, photos, posed]).encode()).hexdigest()


def sequence_photos(images: Sequence[Image], clusters: ClusterPoses, frame: Frame) -> SequencePhotos:
    """The columns of some photos with capture times, in the order given."""
    reported = np.array([_reported_enu_m(image, frame) for image in images]).reshape(-1, 3)
    headings = np.array([image.heading_deg for image in images])
    hints = [
        MotionHints(place, float(heading), clusters.get(image.id), _computed(image, frame))
        for image, place, heading in zip(images, reported, headings, strict=True)
    ]
    moments = [image.captured_at.timestamp() if image.captured_at is not None else np.nan for image in images]
    makes, models = ([getattr(image, name) for image in images] for name in ("device_make", "device_model"))
    return SequencePhotos(
        tuple(image.id for image in images), tuple(hints), reported, headings,
        np.array(moments) - min(moments), _most_common(makes), _most_common(models),
    )  # fmt: skip


def _reported_enu_m(image: Image, frame: Frame) -> Float:
    """(3,) reported position; its height is not used (its reference is unknown), hence nan."""
    if image.reported is None:
        return np.full(3, np.nan)
    here = frame.enu_from_wgs84(image.reported.lon_deg, image.reported.lat_deg, frame.height_m)
    return np.array([here[0], here[1], np.nan])


def _computed(image: Image, frame: Frame) -> tuple[str, Pose] | None:
    """The provider's own pose where it is a reconstruction; heights are comparable inside one component only."""
    if image.quality is not MetadataQuality.SFM or image.computed is None or image.computed_enu_from_cam is None:
        return None
    height_m = frame.height_m + float(np.nan_to_num(image.computed.height_m))
    centre = frame.enu_from_wgs84(image.computed.lon_deg, image.computed.lat_deg, height_m)
    return str(image.provider.get("merge_cc") or ""), Pose(image.computed_enu_from_cam.rotation, centre)


def _most_common(values: Sequence[str | None]) -> str | None:
    """The most common text, the first in the alphabet of equally common ones; None when there is none."""
    given = sorted(value for value in values if value is not None)
    return max(given, key=given.count) if given else None

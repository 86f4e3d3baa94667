"""Relative geometry of neighbouring images from Mapillary's reconstructions (`sfm_cluster`), for sequence estimation.

The field is costly: one image per call, and only one image per suspected cluster (images of one cluster share
`merge_cc`; docs/mapillary_api.md, "Clusters"). A cluster that cannot be had is noted; its images stay usable.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from geocorrect.errors import InputError, RemoteError
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Pose
from geocorrect.harvest.local.opensfm import match_shots, parse_reconstructions
from geocorrect.harvest.mapillary import fields
from geocorrect.harvest.mapillary.client import MapillaryClient
from geocorrect.harvest.mapillary.download import write_file
from geocorrect.harvest.mapillary.responses import RequestError
from geocorrect.harvest.mapillary.tiles import IMAGE_ID
from geocorrect.io.text_file import read_json
from geocorrect.records import Image, MetadataQuality

_MOST_PER_COMPONENT = 12
"""Clusters asked for per `merge_cc`: recorded uploads of 418 images fell into 6 clusters."""


@dataclass(frozen=True)
class Cluster:
    """Poses of images relative to each other."""

    id: str
    """The provider's id."""
    world_from_cam: Mapping[str, Pose]
    """Poses by image id, ENU metres about `reference`."""
    reference: Frame | None
    """Where the cluster lies; None when unknown."""


@dataclass
class ClusterReport:
    """What was fetched."""

    n_clusters: int = 0
    """New clusters."""
    n_images: int = 0
    """Images with a relative pose in them."""
    failures: list[str] = field(default_factory=list)
    """A sentence per failure."""


def harvest_clusters(client: MapillaryClient, images: Iterable[Image], folder: Path) -> ClusterReport:
    """Fetch the clusters of reconstructed images into `folder`, one JSON file per cluster; known ones are skipped."""
    report = ClusterReport()
    have = {image_id for cluster in read_clusters(folder) for image_id in cluster.world_from_cam}
    components: dict[str, list[Image]] = defaultdict(list)
    for image in images:
        component = image.provider.get("merge_cc")
        if image.quality is MetadataQuality.SFM and component and image.id not in have:
            components[str(component)].append(image)
    try:
        for members in components.values():
            _harvest_component(client, members, folder, report)
    except RemoteError as failure:
        report.failures.append(str(failure))
    return report


def _harvest_component(client: MapillaryClient, members: list[Image], folder: Path, report: ClusterReport) -> None:
    left = {image.id: image for image in members}
    seen: set[str] = set()
    for _ in range(_MOST_PER_COMPONENT):
        if not left:
            return
        image = left.pop(next(iter(left)))
        try:
            cluster = _fetch(client, image, members, seen)
        except (RequestError, InputError) as failure:
            report.failures.append(f"image {image.id}: {failure}")
            continue
        if cluster is not None:
            write_file(folder / f"{cluster.id}.json", json.dumps(_content(cluster)).encode())
            report.n_clusters += 1
            report.n_images += len(cluster.world_from_cam)
            left = {image_id: image for image_id, image in left.items() if image_id not in cluster.world_from_cam}


def _fetch(client: MapillaryClient, image: Image, members: Collection[Image], seen: set[str]) -> Cluster | None:
    """The cluster of an image; None when it has none or its cluster is known already."""
    raw = client.entity(image.id, ("sfm_cluster",)).get("sfm_cluster")
    cluster_id, url = (str(raw.get(key, "")) for key in ("id", "url")) if isinstance(raw, dict) else ("", "")
    if not IMAGE_ID.fullmatch(cluster_id) or cluster_id in seen:
        return None
    seen.add(cluster_id)
    part = parse_reconstructions(client.picture(url), f"sfm_cluster {cluster_id}")[0]
    poses = {image_id: shot.world_from_cam for image_id, shot in match_shots(part, members).items()}
    if not poses:
        raise InputError(f"sfm_cluster {cluster_id}: none of its {len(part.shots)} shots matches an image")
    return Cluster(cluster_id, poses, part.reference)


def _content(cluster: Cluster) -> dict[str, Any]:
    reference = cluster.reference
    return {
        "cluster": cluster.id,
        "reference": None if reference is None else [reference.lon_deg, reference.lat_deg, reference.height_m],
        "world_from_cam": {
            image_id: [*map(float, pose.quaternion_xyzw), *map(float, pose.translation_m)]
            for image_id, pose in sorted(cluster.world_from_cam.items())
        },
    }


def read_clusters(folder: Path) -> list[Cluster]:
    """All clusters in a folder; InputError naming a file that is not one of ours."""
    return [_read_cluster(path) for path in sorted(folder.glob("*.json"))]


def _read_cluster(path: Path) -> Cluster:
    try:
        content = read_json(path)
        poses = {
            image_id: Pose.from_quaternion(values[:4], np.array(values[4:7]))
            for image_id, values in content["world_from_cam"].items()
            if fields.numbers(values) is not None
        }
        reference = content["reference"]
        return Cluster(content["cluster"], poses, None if reference is None else Frame("cluster", *reference))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a cluster file written by the harvest ({error}); delete it") from None

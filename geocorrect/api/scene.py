"""All anchors of a scene: where they stand, how their records are read, and what a photo's result takes from them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from geocorrect.anchors.add import AnchorFiles
from geocorrect.api.anchor_cache import Neighbours, read_anchor
from geocorrect.api.backends import build_appearance
from geocorrect.api.motion import with_motion
from geocorrect.catalog.image_positions import best_heading_deg
from geocorrect.catalog.store import Catalog
from geocorrect.config import Settings
from geocorrect.depth.pointcloud.store import CloudStore
from geocorrect.errors import InputError
from geocorrect.geometry.frame import Frame
from geocorrect.io.pixels import whole_image_sha256
from geocorrect.match.base import Matcher
from geocorrect.records import Anchor, AnchorIndex, Image
from geocorrect.retrieve.by_appearance import AppearanceRetriever
from geocorrect.retrieve.neighbours import NeighbourFinder
from geocorrect.retrieve.spatial import AnchorPositions, SpatialRetriever
from geocorrect.retrieve.vlad import TRAINING_ANCHORS

Float = NDArray[np.float64]
Rows = NDArray[np.intp]
ANCHORS_PER_READ = 200


@dataclass(frozen=True, eq=False)
class AnchorSource:
    """Where all anchors stand in the scene's frame, and how to get their records."""

    frame: Frame
    index: AnchorIndex
    read: Callable[[Sequence[str]], Mapping[str, Anchor]]
    """Records by id."""

    def chunks(self) -> Iterator[list[Anchor]]:
        """The records of all anchors, in the order of their ids, a few hundred at a time."""
        for start in range(0, len(self.index.ids), ANCHORS_PER_READ):
            records = self.read(chunk := self.index.ids[start : start + ANCHORS_PER_READ])
            yield [records[name] for name in chunk]

    @classmethod
    def of_catalog(cls, catalog: Catalog) -> AnchorSource:
        """The anchors of a catalog; InputError when it has none. The catalog must stay open."""
        frame, index = catalog.frame(), catalog.anchor_index()
        if frame is None or not index.ids:
            raise InputError(f"{catalog.address}: holds no anchors yet; add some with `geocorrect anchors add`")
        return cls(frame, index, catalog.anchors)

    @classmethod
    def of_files(cls, files: AnchorFiles) -> AnchorSource:
        """The anchors of a drive or table, in the frame of its own alignment; InputError naming file and row."""
        alignment, anchors = files.read()
        by_id = {anchor.id: anchor for anchor in anchors}
        if not by_id:
            raise InputError("the source holds no anchors")
        ids = tuple(sorted(by_id))
        poses = [by_id[name].world_from_cam for name in ids]
        index = AnchorIndex(
            ids,
            np.array([pose.translation_m for pose in poses], float).reshape(-1, 3),
            np.array([alignment.frame.heading_deg(pose) for pose in poses], float),
            tuple(by_id[name].alignment_id for name in ids),
            ("",) * len(ids),
        )

        @cache
        def as_stored(name: str) -> Anchor:
            """As a catalog would hold it: absolute path and checksum; a broken picture fails where it is used."""
            anchor = by_id[name]
            with suppress(InputError):
                anchor = replace(anchor, sha256=whole_image_sha256(anchor.path))
            return replace(anchor, path=anchor.path.resolve())

        def read(wanted: Sequence[str]) -> dict[str, Anchor]:
            return {name: as_stored(name) for name in wanted if name in by_id}

        return cls(alignment.frame, index, read)


class Scene:
    """The anchors of a source under some settings; the spatial index is built once."""

    def __init__(self, settings: Settings, source: AnchorSource) -> None:
        self._settings = settings
        self.frame, self.index, self.read = source.frame, source.index, with_motion(source.read, source.index)
        if settings.depth.source == "pointcloud":
            CloudStore(settings.depth.pointcloud.folder, 1).require_frame(source.frame)
        positions = AnchorPositions(self.index.ids, self.index.enu_m, self.index.heading_deg)
        self.retriever = SpatialRetriever(positions, settings.retrieve.by_place)
        self._finder = None
        if settings.depth.needs_neighbours:
            self._finder = NeighbourFinder(positions, self.index.alignment_ids, settings.depth.neighbours)
        self._own_content = dict(zip(self.index.ids, self.index.content_hashes, strict=True))
        self._content: dict[str, str] = {}
        self._appearance = ""

    def reported_enu_m(self, lon_deg: Float, lat_deg: Float) -> Float:
        """(N, 3) reported positions, nan when unknown. Heights are not used: their reference is unknown."""
        enu_m = self.frame.enu_from_wgs84(lon_deg, lat_deg, np.full(len(lon_deg), self.frame.height_m))
        enu_m[:, 2] = np.nan
        return enu_m

    def place_of(self, image: Image) -> tuple[Float, float]:
        """(3,) reported position of a photo, nan when unknown, and its best reported heading."""
        reported = image.reported
        lon_deg, lat_deg = (np.nan, np.nan) if reported is None else (reported.lon_deg, reported.lat_deg)
        heading_deg = best_heading_deg(image.quality.value, image.heading_deg, image.computed_heading_deg)
        return self.reported_enu_m(np.array([lon_deg]), np.array([lat_deg]))[0], heading_deg

    def neighbours_of(self, anchors: Iterable[Anchor]) -> Neighbours:
        """Anchor id → the anchors that its depth is found from; empty where the depth source asks for none."""
        if self._finder is None:
            return {}
        ids = {anchor.id: self._finder.of(anchor.id) for anchor in anchors}
        records = self.read(sorted({name for names in ids.values() for name in names}))
        return {anchor_id: tuple(records[name] for name in names) for anchor_id, names in ids.items()}

    # A photo is due when the hash of what its result depends on differs from that of its newest result under the same
    # configuration: a new anchor makes exactly the photos due whose list of candidates it enters.

    def input_hash(self, image_content: str, candidates: Rows, enu_m: Float) -> str:
        """Hex hash, 32 characters, of a photo's content and its candidates, in their order.

        Args:
            image_content: hash of all that a result takes from the photo.
            candidates: a row of `SpatialRetriever.candidate_rows`, -1 = none.
            enu_m: (3,) reported position, nan when unknown.
        """
        near = [self._content_of(self.index.ids[i]) for i in candidates if i >= 0]
        if near or (np.isfinite(enu_m[:2]).all() and not self.is_searched):
            return _digest([image_content, *near])
        return _digest([image_content, *([f"search {self.version}"] if self.is_searched else [])])

    def _content_of(self, anchor_id: str) -> str:
        """Hash of what a result takes from an anchor; with its neighbours where the depth source uses them."""
        if self._finder is None:
            return self._own_content[anchor_id]
        if anchor_id not in self._content:
            names = (anchor_id, *self._finder.of(anchor_id))
            self._content[anchor_id] = _digest(self._own_content[name] for name in names)
        return self._content[anchor_id]

    @cached_property
    def version(self) -> str:
        """Hex hash, 16 characters, of all anchors with their georeference."""
        pairs = zip(self.index.ids, self.index.content_hashes, strict=True)
        return _digest(f"{name} {content}" for name, content in pairs)[:16]

    # Photos without a position, or without an anchor near it, are compared with the whole scene, where that is
    # configured and the scene small enough.

    @property
    def is_searched(self) -> bool:
        """Whether photos without a position, or without an anchor near it, are compared with all anchors."""
        return self._settings.retrieve.searches_scene(len(self.index.ids))

    @cached_property
    def all_anchors(self) -> tuple[Anchor, ...]:
        """The records of all anchors, in the order of the index."""
        records = self.read(self.index.ids)
        return tuple(records[name] for name in self.index.ids)

    @cached_property
    def all_neighbours(self) -> Neighbours:
        """The neighbours of all anchors."""
        return self.neighbours_of(self.all_anchors)

    def train_appearance(self, retriever: AppearanceRetriever | None) -> None:
        """Learn once, from anchors all over the scene, what comparing photos needs; what was learned is stored.

        Here and not in a worker, which sees the anchors of a few photos only.
        """
        if retriever is None or retriever.is_trained:
            return
        count = min(TRAINING_ANCHORS, len(self.index.ids))
        rows = np.linspace(0, len(self.index.ids) - 1, count).round().astype(int)
        records = self.read(ids := [self.index.ids[row] for row in rows])
        retriever.train([records[name] for name in ids])

    def prepare_appearance(self, matcher: Matcher, *, all_anchors: bool) -> None:
        """Learn what comparing photos needs, and on request describe all anchors, once.

        Here and not in the worker that happens to meet the first photo without a position: it may take long, and no
        photo should run out of its time for it.
        """
        done = "described" if all_anchors else "trained"
        if self._appearance in (done, "described") or self._settings.retrieve.appearance.mode == "off":
            return
        retriever = build_appearance(self._settings, matcher, read_anchor)
        assert retriever is not None
        self.train_appearance(retriever)
        if all_anchors:
            retriever.prepare(self.all_anchors)
        self._appearance = done


def _digest(parts: Iterable[str]) -> str:
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()

"""Anchors to look up, from a catalog or straight from the files of a drive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from geocorrect.anchors.add import AnchorFiles
from geocorrect.catalog.store import Catalog
from geocorrect.errors import InputError
from geocorrect.geometry.frame import Frame
from geocorrect.io.pixels import whole_image_sha256
from geocorrect.jobs.anchors.neighbour_table import ReadAnchors
from geocorrect.records import Anchor, AnchorIndex


@dataclass(frozen=True, eq=False)
class AnchorSource:
    """Where all anchors stand in the scene's frame, and how to get their records."""

    frame: Frame
    index: AnchorIndex
    read: ReadAnchors

    @classmethod
    def of_catalog(cls, catalog: Catalog) -> AnchorSource:
        """The anchors of a catalog; InputError when it has none. The catalog must stay open."""
        frame, index = catalog.frame(), catalog.anchor_index()
        if frame is None or not index.ids:
            raise InputError(f"{catalog.address}: holds no anchors yet; add some with `geocorrect anchors add`")
        return cls(frame, index, catalog.anchors)

    @classmethod
    def of_source(cls, source: AnchorFiles) -> AnchorSource:
        """The anchors of a drive or table, in the frame of its own alignment; InputError naming file and row."""
        alignment, anchors = source.read()
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
        return cls(alignment.frame, index, _Reader(by_id))


@dataclass(frozen=True, eq=False)
class _Reader:
    """Records as a catalog would hold them: absolute path and checksum of the picture, read when asked for."""

    by_id: Mapping[str, Anchor]

    def __call__(self, ids: Sequence[str]) -> dict[str, Anchor]:
        return {name: self._complete(self.by_id[name]) for name in ids if name in self.by_id}

    def _complete(self, anchor: Anchor) -> Anchor:
        return replace(anchor, path=anchor.path.resolve(), sha256=whole_image_sha256(anchor.path))

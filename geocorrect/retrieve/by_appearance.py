"""Choosing among anchors by what they show: re-ranking those that are near, or searching all of them.

Descriptors of anchors are stored on disk under the content of the picture and what describes it, so that each anchor is
described once, even when the run is killed.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np

from geocorrect.errors import InputError
from geocorrect.geometry.camera import Projection
from geocorrect.geometry.remap import panorama_faces, pixel_map
from geocorrect.io.bounded_cache import BoundedCache
from geocorrect.io.file_cache import FileCache
from geocorrect.io.pixels import whole_image_sha256
from geocorrect.records import Anchor, Float32, ImageArray, Pair, Query
from geocorrect.retrieve.appearance import AppearanceIndex, Describer
from geocorrect.retrieve.options import RetrieveOptions

log = logging.getLogger(__name__)
AT_ONCE = 8
"""Anchors whose pixels are in memory together while they are described."""
ALIKE_COSINE = float(np.cos(np.radians(10.0)))
SUFFIX = ".descriptor"
DESCRIPTOR_VERSION = 1
"""Raised whenever the same picture gives another descriptor by the same features or tokens, words and whitening."""
DISK_BYTES = 20 << 30
"""A million descriptors of 4096 numbers."""
MEMORY_BYTES = 256 << 20


@dataclass(frozen=True, eq=False)
class Choice:
    """Candidates of one photo, best first."""

    pairs: tuple[Pair, ...]
    anchors: tuple[Anchor, ...]
    """The record of each pair's anchor."""
    unusable: tuple[str, ...] = ()
    """A message per anchor whose picture cannot be used."""
    likeness: Mapping[str, float] = field(default_factory=dict)
    """How alike the photo and every anchor that was considered are, matched or not: cosine by anchor id."""


class AppearanceRetriever:
    """Ranks anchors for photos, by what the matcher computes of them anyway."""

    def __init__(
        self, describer: Describer, options: RetrieveOptions, read_pixels: Callable[[Anchor], ImageArray]
    ) -> None:
        """read_pixels: of an anchor; InputError naming the file."""
        self.options, self._describer, self._read = options, describer, read_pixels
        self._disk = FileCache(options.appearance.folder, DISK_BYTES, SUFFIX)
        self._memory: BoundedCache[str, Float32] = BoundedCache(MEMORY_BYTES, lambda kept: kept.nbytes)
        self._scene: tuple[tuple[tuple[str, str | None], ...], AppearanceIndex, tuple[str, ...]] | None = None

    @property
    def is_trained(self) -> bool:
        """Whether it can be used; else `train` comes first."""
        return self._describer.is_trained

    def train(self, anchors: Sequence[Anchor]) -> None:
        """Learn from some anchors of the scene what describing needs; those that cannot be read are left out."""

        def pictures() -> Iterator[ImageArray]:
            for anchor in anchors:
                with suppress(InputError):
                    yield self._read(anchor)

        self._describer.train(pictures())

    def rerank(self, query: Query, pairs: Sequence[Pair], anchors: Sequence[Anchor]) -> Choice:
        """The most similar of the candidates, or the first in mode `check`, at most `max_candidates`.

        anchors: records of the pairs' anchors.
        """
        index, unusable = self._index(anchors)
        by_id = {anchor.id: anchor for anchor in anchors}
        described = self._described(query)
        by_place = self.options.appearance.mode == "check" or not len(described)
        ordered = pairs if by_place else index.reranked(described, pairs)
        choice = self._choice([(pair, by_id[pair.anchor_id]) for pair in ordered], unusable)
        return replace(choice, likeness=dict(index.similar(described, len(anchors)))) if len(described) else choice

    def search(self, query: Query, scene: Sequence[Anchor]) -> Choice:
        """The most similar of all anchors of a scene, for a photo whose place is unknown."""
        index, unusable = self._scene_index(scene)
        by_id = {anchor.id: anchor for anchor in scene}
        described = self._described(query)
        found = index.similar(described, self.options.appearance.candidates) if len(described) else []
        ranked = [(Pair(query.image_id, name, 0), by_id[name]) for name, _ in found]
        return replace(self._choice(ranked, unusable), likeness=dict(found))

    def prepare(self, scene: Sequence[Anchor]) -> None:
        """Describe the anchors that are not described yet; unreadable pictures are reported when they are needed."""
        self._index(scene)

    def _choice(self, ranked: Sequence[tuple[Pair, Anchor]], unusable: tuple[str, ...]) -> Choice:
        """Cut to size; near-duplicates of better ones come last, so that k anchors span a baseline."""
        kept: list[tuple[Pair, Anchor]] = []
        spare: list[tuple[Pair, Anchor]] = []
        for entry in ranked:
            twin = any(_alike(entry[1], other, self.options.min_separation_m) for _, other in kept)
            (spare if twin else kept).append(entry)
        chosen = (kept + spare)[: self.options.max_candidates]
        pairs = tuple(replace(pair, rank=rank) for rank, (pair, _) in enumerate(chosen))
        return Choice(pairs, tuple(anchor for _, anchor in chosen), unusable)

    def _described(self, query: Query) -> Float32:
        """(F, D) descriptors: one, or one per face of a panorama, the very pictures that are matched later.

        No row for a photo that cannot be described.
        """
        pictures = [query.pixels]
        if query.camera.projection is Projection.SPHERICAL:
            pictures = [
                pixel_map(query.camera, face, face_from_cam).apply(query.pixels)
                for face_from_cam, face in panorama_faces(query.camera)
            ]
        usable = [picture for picture in pictures if not self._describer.refusal(picture)]
        return self._describer.describe(usable) if usable else np.zeros((0, 0), np.float32)

    def _scene_index(self, scene: Sequence[Anchor]) -> tuple[AppearanceIndex, tuple[str, ...]]:
        """The index of a whole scene, built once while the scene stays the same."""
        contents = tuple((anchor.id, anchor.sha256) for anchor in scene)
        if self._scene is None or self._scene[0] != contents:
            self._scene = contents, *self._index(scene)
        return self._scene[1:]

    def _index(self, anchors: Sequence[Anchor]) -> tuple[AppearanceIndex, tuple[str, ...]]:
        """The anchors that can be described, and a message for each of the others."""
        found, unusable, missing = dict[str, Float32](), list[str](), list[tuple[Anchor, str]]()
        described_by = self._describer.identity  # what is wrong with that is no anchor's fault
        for anchor in anchors:
            try:
                key = _key(anchor, described_by)
            except InputError as error:
                unusable.append(f"anchor {anchor.id}: {error}")
                continue
            known = self._known(key)
            if known is None:
                missing.append((anchor, key))
            else:
                found[anchor.id] = known
        if len(missing) > AT_ONCE:
            log.info("describing %d anchors by appearance, once", len(missing))
        for start in range(0, len(missing), AT_ONCE):
            readable: list[tuple[str, str, ImageArray]] = []
            for anchor, key in missing[start : start + AT_ONCE]:
                try:
                    readable.append((anchor.id, key, self._pixels(anchor)))
                except InputError as error:
                    unusable.append(f"anchor {anchor.id}: {error}")
            if readable:
                described = self._describer.describe([pixels for _, _, pixels in readable])
                for (name, key, _), descriptor in zip(readable, described, strict=True):
                    found[name] = descriptor
                    self._memory.put(key, descriptor)
                    self._disk.put(key, descriptor.tobytes())
        ids = [anchor.id for anchor in anchors if anchor.id in found]
        return AppearanceIndex(ids, np.array([found[name] for name in ids])), tuple(unusable)

    def _known(self, key: str) -> Float32 | None:
        kept = self._memory.get(key)
        if kept is None and (content := self._disk.get(key)) is not None:
            kept = np.frombuffer(content, np.float32)
            self._memory.put(key, kept)
        return kept

    def _pixels(self, anchor: Anchor) -> ImageArray:
        pixels = self._read(anchor)
        if refusal := self._describer.refusal(pixels):
            raise InputError(refusal)
        return pixels


def _key(anchor: Anchor, described_by: str) -> str:
    content = anchor.sha256 or whole_image_sha256(anchor.path)
    return hashlib.sha256(f"{DESCRIPTOR_VERSION}/{described_by}/{content}".encode()).hexdigest()


def _alike(first: Anchor, second: Anchor, min_separation_m: float) -> bool:
    """Whether two anchors are in one place and look in one direction."""
    one, other = first.world_from_cam, second.world_from_cam
    apart_m = float(np.linalg.norm(one.translation_m - other.translation_m))
    if apart_m >= min_separation_m:
        return False
    return float(one.rotation.as_matrix()[:, 2] @ other.rotation.as_matrix()[:, 2]) >= ALIKE_COSINE

"""Choosing among anchors by what they show: re-ranking those that are near, or searching all of them.

Descriptors of anchors are stored on disk under the content of the picture, the network and the whitening, so that each
anchor is encoded for retrieval once, even when the run is killed.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geocorrect.errors import InputError
from geocorrect.geometry.camera import Projection
from geocorrect.geometry.remap import panorama_faces, pixel_map
from geocorrect.io.checksum import sha256_of
from geocorrect.io.pixels import whole_image_sha256
from geocorrect.records import Anchor, ImageArray, Pair, Query
from geocorrect.retrieve.appearance import AppearanceIndex, describe, read_whitening
from geocorrect.retrieve.options import RetrieveOptions

if TYPE_CHECKING:
    from geocorrect.networks.mast3r.engine import Mast3rEngine
    from geocorrect.networks.store import TensorStore

Float = NDArray[np.float64]
log = logging.getLogger(__name__)
AT_ONCE = 8
"""Anchors whose pixels are in memory together while they are described."""
ALIKE_COSINE = float(np.cos(np.radians(10.0)))
DESCRIPTOR = "descriptor"
DISK_BYTES = 4 << 30
"""A million descriptors of 1024 numbers."""


@dataclass(frozen=True, eq=False)
class Choice:
    """Candidates of one photo, best first."""

    pairs: tuple[Pair, ...]
    anchors: tuple[Anchor, ...]
    """The record of each pair's anchor."""
    unusable: tuple[str, ...] = ()
    """A message per anchor whose picture cannot be used."""


class AppearanceRetriever:
    """Ranks anchors for photos, by the matcher's own network: what it encodes here the matcher finds in its cache."""

    def __init__(
        self, engine: Mast3rEngine, options: RetrieveOptions, read_pixels: Callable[[Anchor], ImageArray]
    ) -> None:
        """read_pixels: of an anchor; InputError naming the file. ModelError when the whitening cannot be read."""
        from geocorrect.networks.store import StoreLimits, TensorStore

        self.options, self._engine, self._read = options, engine, read_pixels
        whitening = options.appearance.whitening
        self._whitening = None if whitening is None else read_whitening(whitening)
        self._maker = f"{engine.fingerprint}/{'plain' if whitening is None else sha256_of(whitening)}"
        self._store: TensorStore = TensorStore(options.appearance.folder, StoreLimits(disk_bytes=DISK_BYTES))
        self._scene: tuple[tuple[tuple[str, str | None], ...], AppearanceIndex] | None = None

    def rerank(self, query: Query, pairs: Sequence[Pair], anchors: Sequence[Anchor]) -> Choice:
        """The most similar of the candidates, at most `max_candidates`; anchors: records of the pairs' anchors."""
        index, unusable = self._index(anchors)
        by_id = {anchor.id: anchor for anchor in anchors}
        described = self._described(query)
        ordered = index.reranked(described, pairs) if len(described) else pairs
        return self._choice([(pair, by_id[pair.anchor_id]) for pair in ordered], unusable)

    def search(self, query: Query, scene: Sequence[Anchor]) -> Choice:
        """The most similar of all anchors of a scene, for a photo whose place is unknown."""
        index, unusable = self._scene_index(scene)
        by_id = {anchor.id: anchor for anchor in scene}
        described = self._described(query)
        found = index.similar(described, self.options.appearance.candidates) if len(described) else []
        ranked = [(Pair(query.image_id, name, 0), by_id[name]) for name, _ in found]
        return self._choice(ranked, unusable)

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

    def _described(self, query: Query) -> Float:
        """(F, D) descriptors: one, or one per face of a panorama, the very pictures that are matched later.

        No row for a photo that is too thin for the network.
        """
        pictures = [query.pixels]
        if query.camera.projection is Projection.SPHERICAL:
            pictures = [
                pixel_map(query.camera, face, face_from_cam).apply(query.pixels)
                for face_from_cam, face in panorama_faces(query.camera)
            ]
        elif self._too_thin(query.pixels):
            return np.zeros((0, 0))
        return describe(self._engine, pictures, self._whitening)

    def _too_thin(self, pixels: ImageArray) -> bool:
        from geocorrect.networks.mast3r.engine import is_too_thin

        return is_too_thin(pixels, self._engine.long_side_px)

    def _scene_index(self, scene: Sequence[Anchor]) -> tuple[AppearanceIndex, tuple[str, ...]]:
        """The index of a whole scene, built once while the scene stays the same and all of it is readable."""
        contents = tuple((anchor.id, anchor.sha256) for anchor in scene)
        if self._scene is not None and self._scene[0] == contents:
            return self._scene[1], ()
        index, unusable = self._index(scene)
        if not unusable:
            self._scene = contents, index
        return index, unusable

    def _index(self, anchors: Sequence[Anchor]) -> tuple[AppearanceIndex, tuple[str, ...]]:
        """The anchors that can be described, and a message for each of the others."""
        found, unusable, missing = dict[str, Float](), list[str](), list[tuple[Anchor, str]]()
        for anchor in anchors:
            try:
                key = self._key(anchor)
            except InputError as error:
                unusable.append(f"anchor {anchor.id}: {error}")
                continue
            cached = self._store.get(key)
            if cached is None:
                missing.append((anchor, key))
            else:
                found[anchor.id] = cached[DESCRIPTOR].numpy().astype(np.float64)
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
                described = describe(self._engine, [pixels for _, _, pixels in readable], self._whitening)
                for (name, key, _), descriptor in zip(readable, described, strict=True):
                    found[name] = self._remember(key, descriptor)
        ids = [anchor.id for anchor in anchors if anchor.id in found]
        return AppearanceIndex(ids, np.array([found[name] for name in ids])), tuple(unusable)

    def _pixels(self, anchor: Anchor) -> ImageArray:
        pixels = self._read(anchor)
        if self._too_thin(pixels):
            raise InputError(f"{pixels.shape[1]}×{pixels.shape[0]} pixels are too thin for the network")
        return pixels

    def _remember(self, key: str, descriptor: Float) -> Float:
        """Store a descriptor in single precision, and use it as it will be read again."""
        import torch

        single = torch.from_numpy(descriptor.astype(np.float32))
        self._store.put(key, {DESCRIPTOR: single})
        return single.numpy().astype(np.float64)

    def _key(self, anchor: Anchor) -> str:
        content = anchor.sha256 or whole_image_sha256(anchor.path)
        return hashlib.sha256(f"{self._maker}/{content}".encode()).hexdigest()


def build_appearance(
    options: RetrieveOptions,
    matcher: str,
    engine: Mast3rEngine | None,
    read_pixels: Callable[[Anchor], ImageArray],
) -> AppearanceRetriever | None:
    """Retrieval by appearance with the matcher's own encoder; None when it is off.

    Args:
        options: How candidates are found.
        matcher: Name of the configured matcher.
        engine: Its network, None when it has no tokens.
        read_pixels: Reads an anchor's pixels; raises InputError naming the file.

    Raises:
        ConfigError: the matcher has no tokens to compare.
    """
    if options.appearance.mode == "off":
        return None
    options.appearance.require_tokens(matcher, engine is not None)
    assert engine is not None
    return AppearanceRetriever(engine, options, read_pixels)


def _alike(first: Anchor, second: Anchor, min_separation_m: float) -> bool:
    """Whether two anchors are in one place and look in one direction."""
    one, other = first.world_from_cam, second.world_from_cam
    apart_m = float(np.linalg.norm(one.translation_m - other.translation_m))
    if apart_m >= min_separation_m:
        return False
    return float(one.rotation.as_matrix()[:, 2] @ other.rotation.as_matrix()[:, 2]) >= ALIKE_COSINE

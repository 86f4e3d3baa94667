"""RootSIFT matching: the weight-free default (Lowe 2004; Arandjelović & Zisserman 2012 for the root)."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from geocorrect.io.bounded_cache import BoundedCache
from geocorrect.io.file_cache import FileCache
from geocorrect.match.descriptors.nearest import Cells, distinct_pairs
from geocorrect.networks.runtime import MIB, Runtime
from geocorrect.records import Float32, ImageArray, Matches

Bytes = NDArray[np.uint8]

MAX_BYTES = 2_950_000_000
"""Of a photo and the work on it together, so that a program stays below 3 GiB: photos above 12.4 megapixels
are detected on a copy, which is the smaller, the more the photo itself takes (of 134 megapixels: 10.8)."""
DETECTOR_BYTES_PER_PIXEL = 235
"""OpenCV's pyramids; the photo itself takes 3."""
ALGORITHM_VERSION = 3
"""Raised whenever the same image and options give other matches. Not OpenCV's version: rebuilding an image with another
one must not make a city due; results that a release of OpenCV changes are found by the tests, and raise this."""


@dataclass(frozen=True)
class SiftOptions:
    """Parameters of the detector and of the matching."""

    runtime: Runtime = field(default_factory=Runtime)
    """Of it the cache folder counts: features of anchors lie there for all processes."""
    max_features: int = 8000
    """Measured on KITTI raw, as is the threshold."""
    contrast_threshold: float = 0.01
    strongest: int = 0
    """Of the features found, so many with the strongest response are matched; 0: all. Those of anchors are kept on disk
    without this limit."""
    ratio: float = 0.8
    """Lowe's test: best over second best distance."""
    cached_images: int = 64
    """Features of that many images stay in memory (about 4 MB each)."""

    def __post_init__(self) -> None:
        if self.max_features < 1 or not 0 < self.ratio <= 1 or self.contrast_threshold < 0 or self.cached_images < 1:
            raise ValueError(
                "sift: max_features and cached_images must be ≥ 1, ratio in (0, 1], contrast_threshold ≥ 0"
            )
        if self.strongest < 0:
            raise ValueError(f"sift: strongest must be ≥ 0, got {self.strongest}")


@dataclass(frozen=True, eq=False)
class SiftFeatures:
    """Features of one image."""

    keypoints_px: NDArray[np.float32]
    """(N, 2)."""
    descriptors: NDArray[np.float32]
    """(N, 128) unit RootSIFT vectors."""

    @cached_property
    def cells(self) -> Cells:
        """Where a query's descriptors look for their counterparts, the same in all anchors."""
        return Cells(self.descriptors)


class SiftMatcher:
    """Mutual nearest neighbours in RootSIFT space that pass the ratio test in both directions."""

    def __init__(self, options: SiftOptions | None = None) -> None:
        self.options = o = options or SiftOptions()
        self._kept_identity = f"sift-{ALGORITHM_VERSION}/{o.max_features}/{o.contrast_threshold:g}"
        chosen = f"/strongest-{o.strongest}" if o.strongest else ""
        self.feature_identity = f"{self._kept_identity}{chosen}"
        self.fingerprint = f"{self._kept_identity}/{o.ratio:g}{chosen}"
        folder = o.runtime.cache_folder
        self._disk = None if folder is None else FileCache(folder, o.runtime.cache_disk_mib * MIB, ".sift")
        # What is kept on disk is for others, too, who may want all.
        count = min(o.max_features, o.strongest) if o.strongest and self._disk is None else o.max_features
        # Without precise upscaling every keypoint lies a quarter of a pixel too far right and down.
        self._detector = cv2.SIFT.create(
            nfeatures=count, contrastThreshold=o.contrast_threshold, enable_precise_upscale=True
        )
        self._features: BoundedCache[str, SiftFeatures] = BoundedCache(o.cached_images)

    def match(self, query: ImageArray, anchors: Sequence[ImageArray]) -> list[Matches]:
        """See `match.base.Matcher.match`; score is 1 − distance ratio."""
        query_features = self.features(query)
        return [self._match_pair(query_features, self.features(anchor, keep=True)) for anchor in anchors]

    def features(self, image: ImageArray, *, keep: bool = False) -> SiftFeatures:
        """Features of an (H, W, 3) RGB image, from memory or disk when its content was seen before.

        Args:
            image: its pixels.
            keep: on disk, for other processes and runs: an anchor is met again, a photo is not.
        """
        digest = hashlib.blake2b(f"{self._kept_identity}/{image.shape}".encode(), digest_size=20)
        digest.update(np.ascontiguousarray(image).data)
        key = digest.hexdigest()
        return self._features.get_or_make(key, lambda: self._root(*self._chosen(*self._found(image, key, keep=keep))))

    def descriptors(self, photo: ImageArray) -> Float32:
        """(N, 128) unit descriptors of a photo's keypoints, for comparing whole photos."""
        return self.features(photo).descriptors

    def _chosen(self, keypoints_px: Float32, descriptors: Bytes, response: Float32) -> tuple[Float32, Bytes]:
        """The strongest of them, in the same order."""
        strongest = self.options.strongest
        if not strongest or len(response) <= strongest:
            return keypoints_px, descriptors
        rows = np.sort(np.argsort(-response, kind="stable")[:strongest])
        return keypoints_px[rows], descriptors[rows]

    def _found(self, image: ImageArray, key: str, *, keep: bool) -> tuple[Float32, Bytes, Float32]:
        """As `_detect`."""
        if self._disk is not None and (content := self._disk.get(key)) is not None:
            stored = np.load(io.BytesIO(content), allow_pickle=False)
            if "response" in stored:
                return stored["keypoints_px"], stored["descriptors"], stored["response"]
            if not self.options.strongest:  # kept by a release that did not ask for responses
                return stored["keypoints_px"], stored["descriptors"], np.zeros(len(stored["keypoints_px"]), np.float32)
        keypoints_px, descriptors, response = self._detect(image)
        if self._disk is not None and keep:
            file = io.BytesIO()
            np.savez(file, keypoints_px=keypoints_px, descriptors=descriptors, response=response)
            self._disk.put(key, file.getvalue())
        return keypoints_px, descriptors, response

    def _detect(self, image: ImageArray) -> tuple[Float32, Bytes, Float32]:
        """Positions (N, 2), descriptors (N, 128), which OpenCV gives as whole numbers, and responses (N,)."""
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        height, width = grey.shape
        room = (MAX_BYTES - image.nbytes) / DETECTOR_BYTES_PER_PIXEL
        factor = math.sqrt(room / (height * width))
        if factor < 1:
            grey = cv2.resize(grey, (int(width * factor), int(height * factor)), interpolation=cv2.INTER_AREA)
        keypoints, descriptors = self._detector.detectAndCompute(grey, None)
        if descriptors is None or len(keypoints) == 0:
            return np.zeros((0, 2), np.float32), np.zeros((0, 128), np.uint8), np.zeros(0, np.float32)
        positions = np.array([k.pt for k in keypoints], np.float32)
        if factor < 1:
            scale = np.array([width / grey.shape[1], height / grey.shape[0]], np.float32)
            positions = (positions + 0.5) * scale - 0.5
        # One keypoint per position and orientation: SIFT lists a corner once per dominant orientation, and both copies
        # matching would count one observation twice. Sorting makes the order independent of thread scheduling.
        order = np.lexsort((np.array([k.angle for k in keypoints]), positions[:, 1], positions[:, 0]))
        response = np.array([k.response for k in keypoints], np.float32)
        return positions[order], descriptors[order].astype(np.uint8), response[order]

    @staticmethod
    def _root(keypoints_px: Float32, descriptors: Bytes) -> SiftFeatures:
        values = descriptors.astype(np.float32)
        return SiftFeatures(keypoints_px, np.sqrt(values / np.maximum(values.sum(axis=1, keepdims=True), 1e-9)))

    def _match_pair(self, query: SiftFeatures, anchor: SiftFeatures) -> Matches:
        rows, columns, ratio = distinct_pairs(query.cells, anchor.descriptors, self.options.ratio)
        found = Matches(query.keypoints_px[rows], anchor.keypoints_px[columns], 1.0 - ratio)
        # One corner, several orientations: of the matches that join the same two pixels the best is kept.
        return found.best_of_each(np.hstack([found.query_px, found.anchor_px]))

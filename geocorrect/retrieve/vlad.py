"""Photos described without a network: VLAD of the matcher's own local features, which matching needs anyway.

The differences between a photo's descriptors and the nearest of a few visual words, summed per word (Jégou et al. 2010,
"Aggregating local descriptors into a compact image representation") and normalised per word (Arandjelović & Zisserman
2013, "All about VLAD"). The words are found by k-means in some of the user's own anchors.
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from geocorrect.errors import InputError
from geocorrect.io.atomic_file import write_atomically
from geocorrect.records import Float32, ImageArray

log = logging.getLogger(__name__)
WORDS = 32
TRAINING_ANCHORS = 64
DESCRIPTORS_PER_ANCHOR = 500
KMEANS_ITERATIONS = 20
SEED = 0


@dataclass(frozen=True)
class LocalFeatures:
    """What a matcher's detector finds in a photo."""

    descriptors: Callable[[ImageArray], Float32]
    """Photo → (N, D) unit descriptors."""
    identity: str
    """Everything that they depend on, in one line."""


class VladDescriber:
    """See `retrieve.appearance.Describer`; its words are in a file, which `train` writes once."""

    def __init__(self, features: LocalFeatures, folder: Path) -> None:
        """folder: where the words are stored, beside the anchors' descriptors."""
        self._features = features
        name = hashlib.sha256(f"{features.identity}/{WORDS}/{SEED}".encode()).hexdigest()[:16]
        self.file = folder / f"words-{name}.npy"

    @cached_property
    def identity(self) -> str:
        """The features and the very words."""
        return f"{self._features.identity}/vlad-{hashlib.sha256(self._words.tobytes()).hexdigest()[:16]}"

    @property
    def is_trained(self) -> bool:
        """Whether the words are there; InputError if they are damaged, before a photo is described by them."""
        return self.file.is_file() and len(self._words) == WORDS

    def train(self, photos: Iterable[ImageArray]) -> None:
        """Find the words in photos, the same ones for the same photos, and store them; InputError if nothing is seen.

        Processes that train at once on the same photos write the same file.
        """
        from scipy.cluster.vq import kmeans2

        random = np.random.default_rng(SEED)
        drawn = []
        for photo in photos:
            found = self._features.descriptors(photo)
            drawn.append(found[random.permutation(len(found))[:DESCRIPTORS_PER_ANCHOR]])
        sample = np.concatenate(drawn) if drawn else np.zeros((0, 0), np.float32)
        if len(sample) < WORDS:
            raise InputError(
                f"[retrieve.appearance]: {len(drawn)} anchors show {len(sample)} features, too few to learn {WORDS} "
                'visual words from; add anchors, or set mode = "off"'
            )
        words, _ = kmeans2(sample, WORDS, KMEANS_ITERATIONS, minit="++", missing="warn", seed=SEED)
        buffer = io.BytesIO()
        np.save(buffer, words.astype(np.float32))
        write_atomically(self.file, buffer.getvalue())
        log.info("visual words from %d features of %d anchors: %s", len(sample), len(drawn), self.file)

    def refusal(self, photo: ImageArray) -> str:
        """See `retrieve.appearance.Describer`."""
        return "" if len(self._features.descriptors(photo)) else "shows no features to compare"

    def describe(self, photos: Sequence[ImageArray]) -> Float32:
        """See `retrieve.appearance.Describer`."""
        return np.stack([vlad(self._features.descriptors(photo), self._words) for photo in photos])

    @cached_property
    def _words(self) -> Float32:
        try:
            words: Float32 = np.load(self.file)
            if words.dtype != np.float32 or words.ndim != 2 or len(words) != WORDS or not np.isfinite(words).all():
                raise ValueError(f"{words.dtype} {words.shape}, not {WORDS} words of numbers")
        except (OSError, ValueError, EOFError) as error:
            raise InputError(
                f"{self.file}: the visual words of [retrieve.appearance] cannot be read ({error}); remove the file, "
                "and the next run makes it anew"
            ) from None
        return words


def vlad(descriptors: Float32, words: Float32) -> Float32:
    """Descriptors (N, D) and words (K, D) → unit descriptor (K·D,); zero for a photo without features."""
    total = np.zeros_like(words)
    if len(descriptors):
        # Nearest word: the largest of 2 d·w − |w|².
        nearest = (2.0 * descriptors @ words.T - (words**2).sum(axis=1)).argmax(axis=1)
        np.add.at(total, nearest, descriptors - words[nearest])
        total /= np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)
    flat = total.ravel()
    return (flat / max(float(np.linalg.norm(flat)), 1e-12)).astype(np.float32)

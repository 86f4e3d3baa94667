"""How often the most alike anchor stands where the photo was taken: VLAD of local features beside a grey thumbnail.

Anchors are the frames of camera 02 of KITTI raw drive 0002 (0.9 m apart), the photos of opensfm_berlin (one place),
cuttings of photos of other places (--elsewhere), and all of them mirrored, which is another place. Queries are the
frames of camera 03, of which an anchor of the drive within 2.5 m is right, and each photo of Berlin, of which another
one is right: as they are, at dusk, tiny, and parts of them, which is what a grey thumbnail cannot know. Few places: it
tells where descriptors break, not how a city is searched.

    python benchmarks/appearance.py data/kitti_raw --elsewhere data [--features sift,xfeat,aliked_lightglue]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from matchers import cuttings, worse
from scipy.stats import binomtest

from geocorrect.anchors.readers.kitti.raw import read_kitti_raw
from geocorrect.config import Settings
from geocorrect.io.pixels import read_image
from geocorrect.match.options import MatchSection
from geocorrect.match.registry import build_matcher, local_features
from geocorrect.records import Float32, ImageArray
from geocorrect.retrieve.appearance import AppearanceIndex
from geocorrect.retrieve.vlad import LocalFeatures, VladDescriber

REACH_M = 2.5
BERLIN = "opensfm_berlin"
SPOILED = ("dusk", "quarter size")
THUMBNAIL_PX = (32, 16)


@dataclass(frozen=True, eq=False)
class Shot:
    """A photo, under what it counts, and where it was taken: metres of the drive, nan elsewhere."""

    id: str
    kind: str
    pixels: ImageArray
    enu_m: np.ndarray

    def shows_the_place_of(self, other: Shot) -> bool:
        """Whether the right answer to one is the other."""
        if BERLIN in self.id or BERLIN in other.id:
            return BERLIN in self.id and BERLIN in other.id
        return bool(np.linalg.norm(self.enu_m - other.enu_m) <= REACH_M)


def shots(folder: Path, elsewhere: Path) -> tuple[list[Shot], list[Shot]]:
    """Anchors and queries."""
    nowhere = np.full(3, np.nan)
    anchors, queries = [], []
    for number, image in enumerate(read_kitti_raw(folder).images):
        pixels, place = read_image(image.path), image.world_from_cam.translation_m
        if image.camera_name == "02":
            anchors.append(Shot(image.id, "KITTI", pixels, place))
        else:
            queries += spoiled(Shot(image.id, "KITTI", pixels, place), number)
    for number, path in enumerate(sorted((elsewhere / BERLIN / "images").glob("*.jpg"))):
        half = cv2.resize(read_image(path), None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
        anchors.append(Shot(f"{BERLIN}/{path.stem}", "Berlin", half, nowhere))
        queries += spoiled(anchors[-1], number)
    others = (cut for cut in cuttings(elsewhere) if not cut[0].startswith(("01/", "02/", "03/")))
    anchors += [Shot(name, "elsewhere", pixels, nowhere) for name, pixels in others]
    mirrored = [Shot(f"mirrored {n}", a.kind, a.pixels[:, ::-1].copy(), nowhere) for n, a in enumerate(anchors)]
    return anchors + mirrored, queries


def spoiled(shot: Shot, seed: int) -> list[Shot]:
    """The photo as it is, made worse, and parts of it; all under its id."""
    made, (height, width) = worse(shot.pixels, seed), shot.pixels.shape[:2]
    views = {"as it is": shot.pixels} | {name: made[name]()[0] for name in SPOILED}
    views |= {
        "left half": shot.pixels[:, : width // 2].copy(),
        "middle": shot.pixels[height // 4 : -height // 4, width // 4 : -width // 4].copy(),
    }
    return [replace(shot, kind=f"{shot.kind}, {name}", pixels=pixels) for name, pixels in views.items()]


def thumbnail(photo: ImageArray) -> Float32:
    """Grey values of a small copy, as a unit vector."""
    grey = cv2.resize(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), THUMBNAIL_PX, interpolation=cv2.INTER_AREA)
    values = (grey - grey.mean()).ravel().astype(np.float32)
    return values / max(float(np.linalg.norm(values)), 1e-9)


def recall(
    anchors: list[Shot], queries: list[Shot], describe: Callable[[ImageArray], Float32]
) -> dict[str, list[bool]]:
    """Per kind of query whether each one's most alike anchor, itself left out, is right."""
    described = [describe(anchor.pixels) for anchor in anchors]
    index = AppearanceIndex([anchor.id for anchor in anchors], np.array(described))
    by_id = {anchor.id: anchor for anchor in anchors}
    found: dict[str, list[bool]] = {}
    for query in queries:
        names = [name for name, _ in index.similar(describe(query.pixels), 2) if name != query.id]
        found.setdefault(query.kind, []).append(query.shows_the_place_of(by_id[names[0]]))
    return found


def describers(names: list[str], anchors: list[Shot]) -> Iterator[tuple[str, Callable[[ImageArray], Float32]]]:
    """The thumbnail, and VLAD of each matcher's features with words from the anchors."""
    yield "grey thumbnail 32×16", thumbnail
    for name in names:
        features = local_features(build_matcher(MatchSection(matcher=name), Settings().models))
        assert features is not None
        with tempfile.TemporaryDirectory() as folder:
            vlad = VladDescriber(LocalFeatures(*features), Path(folder))
            vlad.train(anchor.pixels for anchor in anchors)
            yield f"VLAD of {name}", lambda photo, vlad=vlad: vlad.describe([photo])[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("data/kitti_raw"))
    parser.add_argument("--elsewhere", type=Path, default=Path("data"))
    parser.add_argument("--features", default="sift", help="of these matchers")
    parser.add_argument("--quick", action="store_true", help="the thumbnail alone")
    arguments = parser.parse_args()
    if not arguments.folder.is_dir():
        print(f"no KITTI raw drive at {arguments.folder}: nothing to measure (see data/README.md)")
        return
    cv2.setNumThreads(1)
    anchors, queries = shots(arguments.folder, arguments.elsewhere)
    kinds = list(dict.fromkeys(query.kind for query in queries))
    print(f"{len(anchors)} anchors, {len(queries)} queries")
    print(f"| descriptor | {' | '.join(kinds)} | recall@1, all [95 %] | CPU of a photo |")
    print("|---" * (len(kinds) + 3) + "|")
    names = [] if arguments.quick else arguments.features.split(",")
    for name, describe in describers(names, anchors):
        started_s = time.process_time()
        found = recall(anchors, queries, describe)
        cost_s = (time.process_time() - started_s) / (len(anchors) + len(queries))
        n, right = len(queries), sum(map(sum, found.values()))
        low, high = binomtest(right, n).proportion_ci()
        cells = " | ".join(f"{sum(found[kind])} of {len(found[kind])}" for kind in kinds)
        print(f"| {name} | {cells} | {right / n:.0%} [{low:.0%}–{high:.0%}] | {cost_s:.2f} s |", flush=True)


if __name__ == "__main__":
    main()

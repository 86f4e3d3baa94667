"""The thesis' figures 9 and 10: photos where they were reported, and where each of several runs puts them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from geocorrect.catalog.run import StoredResult
from geocorrect.catalog.store import Catalog
from geocorrect.errors import InputError
from geocorrect.evaluate.render import Picture
from geocorrect.geometry.frame import Frame
from geocorrect.records import Float

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARGIN = 1.6
"""Half a side of figure 9, in displacements of its photo."""


@dataclass(frozen=True, eq=False)
class Scene:
    """All plans in the frame of the first catalog, east and north in metres."""

    anchors_m: Float
    """(A, 2)."""
    reported_m: Mapping[str, Float]
    """(2,) by photo: of every photo that some run has corrected and that had a position."""
    corrected_m: Mapping[str, Mapping[str, Float]]
    """(2,) by run and photo; accepted and for review."""

    @property
    def farthest(self) -> str:
        """Of the photos that most runs have corrected, the one that the first of them moved most."""

        def rank(photo: str) -> tuple[int, float]:
            runs = [places for places in self.corrected_m.values() if photo in places]
            return len(runs), float(np.linalg.norm(runs[0][photo] - self.reported_m[photo]))

        return max(sorted(self.reported_m), key=rank)


def read_scene(texts: list[str]) -> Scene:
    """Catalogs from `NAME=CATALOG`; InputError when one is named wrongly, has no anchors or no corrected photo."""
    frame: Frame | None = None
    anchors: list[Float] = []
    reported: dict[str, Float] = {}
    corrected: dict[str, dict[str, Float]] = {}
    for text in texts:
        name, _, url = text.partition("=")
        if not name or not url or name in corrected:
            raise InputError(f"--corrected {text!r}: give NAME=CATALOG, each name once")
        with Catalog.open(url) as catalog:
            own = catalog.frame()
            if own is None:
                raise InputError(f"--corrected {text!r}: the catalog has no anchors")
            frame = frame or own
            anchors.append(frame.this_from(own).apply(catalog.anchor_index().enu_m)[:, :2])
            placed = [result for result in catalog.current() if np.isfinite(result.displacement_east_m)]
        if not placed:
            raise InputError(f"--corrected {text!r}: no photo with a reported position was corrected")
        corrected[name] = {result.image_id: _plan_m(frame, result) for result in placed}
        for result in placed:
            moved_m = np.array([result.displacement_east_m, result.displacement_north_m])
            reported.setdefault(result.image_id, corrected[name][result.image_id] - moved_m)
    return Scene(np.concatenate(anchors), reported, corrected)


def _plan_m(frame: Frame, result: StoredResult) -> Float:
    return frame.enu_from_wgs84(result.lon_deg, result.lat_deg, result.height_m)[:2]


def corrected_pictures(scene: Scene) -> list[Picture]:
    """Figure 10, all photos; figure 9, the one that was moved farthest."""
    photo, runs = scene.farthest, ", ".join(scene.corrected_m)
    counts = ", ".join(f"{name} {len(places)}" for name, places in scene.corrected_m.items())
    return [
        Picture("figure_10", f"Figure 10: photos as reported and as placed ({counts})", (7, 6), _all_photos(scene)),
        Picture("figure_9", f"Figure 9: {photo}, reported and placed by {runs}", (6, 5), _one_photo(scene, photo)),
    ]  # fmt: skip


def _all_photos(scene: Scene) -> Callable[[Figure], None]:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        _background(axes, scene, set(scene.reported_m))

    return draw


def _one_photo(scene: Scene, photo: str) -> Callable[[Figure], None]:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        _background(axes, scene, {photo})
        places = [places[photo] for places in scene.corrected_m.values() if photo in places]
        half_m = MARGIN * max(1.0, *(float(np.linalg.norm(place - scene.reported_m[photo])) for place in places))
        centre = scene.reported_m[photo]
        axes.set(xlim=(centre[0] - half_m, centre[0] + half_m), ylim=(centre[1] - half_m, centre[1] + half_m))

    return draw


def _background(axes: Axes, scene: Scene, photos: set[str]) -> None:
    axes.plot(*scene.anchors_m.T, "^", color="goldenrod", markersize=3, label="anchors")
    chosen = sorted(photos)
    reported = np.array([scene.reported_m[photo] for photo in chosen])
    axes.plot(*reported.T, "o", color="tab:green", markersize=4, label="reported")
    for (name, places), colour in zip(
        scene.corrected_m.items(), ("tab:blue", "tab:red", "tab:purple") * 9, strict=False
    ):
        found = [photo for photo in chosen if photo in places]
        for photo in found:
            axes.plot(*np.array([scene.reported_m[photo], places[photo]]).T, color=colour, linewidth=0.5, alpha=0.6)
        if found:
            axes.plot(*np.array([places[p] for p in found]).T, "s", color=colour, markersize=4, label=name)
    axes.set(xlabel="east, m", ylabel="north, m")
    axes.set_aspect("equal", adjustable="datalim")
    axes.legend(fontsize=7)

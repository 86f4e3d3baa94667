"""`Localizer`: one photo from its file or pixels to an explained result. Nothing is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from geocorrect.anchors.choice import AUTO, AnchorOptions
from geocorrect.anchors.readers.registry import anchor_files
from geocorrect.api.candidates import find_candidates, nothing_near
from geocorrect.api.describe_photo import PhotoError, PhotoOptions, describe_photo, stated_camera, with_stated
from geocorrect.api.motion import photo_motions
from geocorrect.api.photo import Localization, PhotoLocalizer
from geocorrect.api.result import LocalizationResult
from geocorrect.api.scene import AnchorSource, Scene
from geocorrect.catalog.store import Catalog
from geocorrect.config import Settings, load_settings, with_depth, with_matcher
from geocorrect.depth.base import PairDepthSource
from geocorrect.errors import InputError, Reason, UsageError
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.frame import Frame
from geocorrect.localize.correct import TracedResult
from geocorrect.match.options import MatcherName
from geocorrect.records import NAN, Anchor, AnchorView, DepthMap, Image, ImageArray, Position, Query, Rejection

WITHOUT_SCANNER = '--depth triangulated (in Python depth="triangulated") needs neither scanner nor network'
Photo = str | Path | ImageArray
"""A file, or (H, W, 3) RGB pixels as the sensor recorded them."""


def read_anchors(
    path: str | Path,
    layout: str = AUTO,
    *,
    crs: str | None = None,
    height_reference: str = "unknown",
    geoid_undulation_m: float = NAN,
    calibration: str | Path | None = None,
    ground_truth: str | Path | None = None,
    alignment: str | Path | None = None,
    spacing_m: float = 1.0,
    images: str | Path | None = None,
    options: AnchorOptions | None = None,
) -> AnchorSource:
    """Anchors from files, for a `Localizer`.

    Args:
        path: A table (.csv, .geojson; pictures are named relative to it), or the folder of a drive.
        layout: What the path is: a name of `geocorrect anchors formats`, or "auto".
        crs: Of a table's coordinates, such as "EPSG:4326".
        height_reference: Of a table's heights: "ellipsoid", "orthometric" or a vertical CRS.
        geoid_undulation_m: Geoid above the ellipsoid, where heights are orthometric and no grid is installed.
        calibration: vbr: `vbr_calib.yaml`.
        ground_truth: vbr: `SEQ_gt.txt`.
        alignment: vbr, reconstructions: JSON that places the local frame.
        spacing_m: vbr: metres between anchors; 0 takes all.
        images: Of a reconstruction: folder of the pictures.
        options: Instead of all these, every option that `geocorrect anchors add` has.

    Raises:
        InputError: naming file, row and column.
        UsageError: an option that the format does not take.
    """
    unasked = ("scans", "uncovered") if options is None else ()
    options = options or AnchorOptions(
        None if calibration is None else Path(calibration),
        None if ground_truth is None else Path(ground_truth),
        None if alignment is None else Path(alignment),
        spacing_m,
        scans="if_present",
        uncovered="skip",
        crs=crs,
        height_reference=height_reference,
        geoid_undulation_m=None if np.isnan(geoid_undulation_m) else geoid_undulation_m,
        images=None if images is None else Path(images),
    )
    return AnchorSource.of_files(anchor_files(Path(path), layout, options, unasked))


class Localizer:
    """Localises photos against anchors. Models are loaded and anchors indexed once."""

    def __init__(
        self,
        anchors: str | Path | AnchorSource | Catalog,
        *,
        matcher: MatcherName | None = None,
        depth: str | None = None,
        settings: Settings | None = None,
    ) -> None:
        """Use these anchors.

        Args:
            anchors: A catalog (`corrections.gpkg`, `postgresql://…`, or an open one), or what `read_anchors` returns.
            matcher: Finds correspondences; by default that of the settings ("sift").
            depth: Gives anchors depth: "triangulated" (from their neighbours, no scanner, no network), "lidar", …; by
                default that of the settings, or "triangulated" when there are none.
            settings: All the rest.

        Raises:
            InputError: there are no anchors, or their files are wrong.
            ModelError: weights are missing.
        """
        chosen = settings or with_depth(Settings(), "triangulated")
        chosen = chosen if matcher is None else with_matcher(chosen, matcher)
        self.settings = chosen if depth is None else with_depth(chosen, depth)
        self._opened = _open_catalog(anchors) if isinstance(anchors, str | Path) else None
        self._catalog = self._opened or (anchors if isinstance(anchors, Catalog) else None)
        try:
            source = anchors if isinstance(anchors, AnchorSource) else None
            if self._catalog is not None:
                source = AnchorSource.of_catalog(self._catalog)
            if source is None:
                raise UsageError(f"anchors: expected a catalog or what read_anchors returns, got {type(anchors)}")
            self._scene = Scene(self.settings, source)
            self._photos = PhotoLocalizer(self.settings)
        except BaseException:
            self.close()
            raise

    @classmethod
    def from_settings(cls, settings: str | Path | Settings = "geocorrect.toml", **changes: Any) -> Self:
        """With the anchors of the configured catalog.

        Args:
            settings: `geocorrect.toml` or what was read from one.
            **changes: matcher and depth, as for the class itself.
        """
        if not isinstance(settings, Settings):
            settings = load_settings(Path(settings)).settings
        return cls(settings.catalog.url, settings=settings, **changes)

    @property
    def frame(self) -> Frame:
        """Local east-north-up frame of all poses."""
        return self._scene.frame

    def localize(
        self,
        photo: Photo,
        *,
        reported: Position | tuple[float, float] | None = None,
        heading_deg: float | None = None,
        camera: Camera | float | str | Path | None = None,
    ) -> LocalizationResult:
        """Localise one photo against the anchors near its reported position; without one, against those that match.

        Args:
            photo: A file or its pixels.
            reported: Roughly where it was taken: (longitude, latitude) in degrees. By default that of its record in the
                catalog or of its EXIF.
            heading_deg: Roughly which way, clockwise from true north.
            camera: Its camera, its focal length in pixels, or an OpenSfM camera file. By default that of its record or
                its EXIF; pixels need one.

        Raises:
            InputError: the photo cannot be read, its camera is unknown, no anchor is usable, or there are too many
                anchors to search without a position.
        """
        stated = PhotoOptions(camera, _position(reported), heading_deg)
        if isinstance(photo, np.ndarray):
            return self._localize(self._image_of(photo, stated), photo)
        return self._localize(describe_photo(Path(photo), stated, self._catalog))

    def localize_many(
        self,
        photos: Iterable[str | Path],
        *,
        progress: bool = False,
        camera: Camera | float | str | Path | None = None,
    ) -> Iterator[LocalizationResult]:
        """Localise photos one after the other; one that cannot be read is a rejected result.

        Args:
            photos: Files.
            progress: Show a bar on stderr.
            camera: Of all of them; by default each one's own.
        """
        if progress:
            from rich.console import Console
            from rich.progress import track

            photos = track(list(photos), "photos", console=Console(stderr=True))
        for photo in photos:
            try:
                yield self.localize(photo, camera=camera)
            except PhotoError as error:
                yield self._result(
                    Localization(TracedResult(Rejection(Path(photo).stem, error.reason, str(error))), ()), error
                )

    def depth_of(self, anchor: Anchor, photo: Callable[[], ImageArray]) -> DepthMap:
        """The depth of an anchor as `localize` takes it.

        Args:
            anchor: One of the scene.
            photo: Reads the photo's pixels, for sources whose depth depends on them; not called for others.

        Raises:
            InputError: anchor or photo cannot be read.
        """
        anchors = self._photos.anchors
        views, unusable = anchors.usable((anchor,), self._scene.neighbours_of([anchor]))
        if not views:
            raise InputError(unusable[0])
        source = anchors.depth_source
        if isinstance(source, PairDepthSource):
            return source.pair_depth(anchor, views[0].pixels, photo())
        return source.depth(anchor, views[0].pixels)

    def _localize(self, image: Image, pixels: ImageArray | None = None) -> LocalizationResult:
        """The result for a described photo, whose pixels are read from its file or given."""
        enu_m, heading_deg = self._scene.place_of(image)
        motion = None
        if self._catalog is not None:
            motion = photo_motions([image], self._catalog, self.frame, self.settings.camera.lenses).get(image.id)

        def read() -> Query:
            """The photo; PhotoError naming it."""
            if pixels is not None and image.camera is not None:
                return Query(image.id, pixels, image.camera, enu_m, heading_deg)
            found = self._photos.read(image, enu_m, heading_deg, motion)
            if isinstance(found, Query):
                return found
            names_it = found.detail.startswith(str(image.path))
            raise PhotoError(found.reason, found.detail if names_it else f"{image.path}: {found.detail}")

        query = read()
        pairs, anchors = find_candidates(self.settings, self._scene, self._photos, query)
        if not anchors:
            nothing = TracedResult(nothing_near(self.settings, self._scene, query))
            return self._result(Localization(nothing, ()), read)
        found = self._photos.localize(query, pairs, anchors, self._scene.neighbours_of(anchors))
        if not found.views:
            hint = "" if self.settings.depth.needs_neighbours else f"\n{WITHOUT_SCANNER}"
            named = "\n".join(found.unusable_anchors[:3])
            raise PhotoError(Reason.ANCHORS_UNUSABLE, f"no anchor is usable:\n{named}{hint}")
        return self._result(found, read)

    def _result(self, found: Localization, photo: Callable[[], Query] | PhotoError) -> LocalizationResult:
        """The result, which reads photo and anchors again when it is drawn; PhotoError then where there is no photo."""
        anchors = tuple(view.anchor for view in found.views)

        def pictures() -> tuple[Query, tuple[AnchorView, ...]]:
            if isinstance(photo, PhotoError):
                raise photo
            return photo(), tuple(self._photos.anchors.view(anchor) for anchor in anchors)

        return LocalizationResult(self.frame, replace(found, views=()), pictures)

    def _image_of(self, pixels: ImageArray, stated: PhotoOptions) -> Image:
        """A record of pixels in memory."""
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
            raise InputError(f"photo: expected (H, W, 3) uint8 RGB, got {pixels.shape} {pixels.dtype}")
        height, width = pixels.shape[:2]
        if stated.camera is None:
            raise InputError("photo: pixels carry no EXIF; give camera= (a Camera or its focal length in pixels)")
        camera = stated_camera(stated.camera, width, height)
        if (camera.width, camera.height) != (width, height):
            raise InputError(f"photo: {width}×{height} pixels, but its camera is for {camera.width}×{camera.height}")
        return with_stated(Image("photo", None, camera, None), stated)

    def close(self) -> None:
        """Release the catalog, where the localizer opened it."""
        if self._opened is not None:
            self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _open_catalog(address: str | Path) -> Catalog:
    text = str(address)
    if "://" not in text and not text.endswith(".gpkg"):
        raise InputError(
            f"{text}: no catalog (.gpkg, postgresql://…); for a table or a drive give "
            "read_anchors(path, layout, crs=…, height_reference=…)"
        )
    return Catalog.open(text)


def _position(reported: Position | tuple[float, float] | None) -> Position | None:
    if reported is None or isinstance(reported, Position):
        return reported
    try:
        return Position(*reported)
    except (TypeError, ValueError) as error:
        raise InputError(f"reported={reported!r}: give (longitude, latitude) in degrees; {error}") from None

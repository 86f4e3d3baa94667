"""One click, in pixels and on the WGS84 ellipsoid, whatever file it came from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from geocorrect.anchors.readers.place import height_on_ellipsoid_m, stated_crs, stated_height_reference, wgs84_place
from geocorrect.errors import InputError
from geocorrect.geometry.crs import ELLIPSOID

NAN = float("nan")


@dataclass(frozen=True)
class Click:
    """A pixel of an image that shows a place on the map."""

    image: str
    """Name or frame number, as the file gives it."""
    u_px: float
    """Column, 0 at the centre of the top-left pixel."""
    v_px: float
    """Row, likewise."""
    lon_deg: float
    lat_deg: float
    height_m: float
    """Ellipsoidal; nan when unknown."""
    landmark: str
    """Equal for the same mark in several images."""
    where: str
    """File and row, for messages."""
    index: int = 0
    """Counts the clicks of one image."""
    sigma_px: float = NAN
    """Standard deviation in the image; nan, like the next two, for the default."""
    sigma_map_m: float = NAN
    sigma_height_m: float = NAN
    normalised: bool = False
    """u_px, v_px are OpenSfM image coordinates until the image's size is known."""

    def in_pixels(self, width: int, height: int) -> Click:
        """The click in pixels of an image of that size; InputError when it lies outside."""
        click = self
        if self.normalised:
            longer = max(width, height)
            u, v = self.u_px * longer + (width - 1) / 2, self.v_px * longer + (height - 1) / 2
            click = replace(self, u_px=u, v_px=v, normalised=False)
        if not (-0.5 <= click.u_px < width - 0.5 and -0.5 <= click.v_px < height - 0.5):
            raise InputError(
                f"{self.where}: pixel ({click.u_px:g}, {click.v_px:g}) is outside the image {self.image} of "
                f"{width}×{height} pixels; were the clicks made on a resized copy?"
            )
        return click


@dataclass(frozen=True)
class LandmarkOptions:
    """How a file of clicks is meant."""

    crs: str | None = None
    """Of its map coordinates; None where the format states it."""
    image: str | None = None
    """Image of a .points file; None takes its file name."""
    height_reference: str = "unknown"
    """What heights are measured from, as in `geometry.crs`."""
    undulation_m: float = NAN
    """Of the geoid above the ellipsoid."""


def placed(click: Click, own_crs: str | None, options: LandmarkOptions) -> Click:
    """The click brought to WGS84 and its height to the ellipsoid.

    Args:
        click: lon_deg, lat_deg are x, y in its CRS so far.
        own_crs: that which the file states, None where it states none.
        options: how the file is meant.
    """
    crs = stated_crs(click.where, own_crs, options.crs)
    lon, lat = wgs84_place(click.where, crs, click.lon_deg, click.lat_deg)
    height = click.height_m
    if np.isfinite(height):
        reference = stated_height_reference(click.where, crs, options.height_reference)
        if reference == "unknown":
            raise InputError(
                f"{click.where}: height {height:g} m, but what it is measured from is not declared; add "
                f"--height-reference {ELLIPSOID}, orthometric (with --geoid-undulation) or a vertical CRS"
            )
        height = height_on_ellipsoid_m(click.where, lon, lat, height, reference, options.undulation_m)
    return replace(click, lon_deg=lon, lat_deg=lat, height_m=height)

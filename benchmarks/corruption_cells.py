"""The ways in which `corruptions.py` makes inputs wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from moving_vehicles import LAYOUTS

from geocorrect.geometry.camera import Camera, Projection

FRAMES = {1: (4,), 2: (2, 6), 3: (0, 4, 8), 5: (0, 2, 4, 6, 8)}
"""Anchor frames by number of anchors."""


@dataclass(frozen=True)
class Cell:
    """One way to be wrong."""

    name: str
    anchors: int = 3
    wrong: int = 0
    """How many of the anchors are wrong, each in a way of its own, and by how much."""
    shift_m: float = 0.0
    turn_deg: float = 0.0
    late_s: float = 0.0
    """The wrong anchors' clock against the trajectory's."""
    camera: Callable[[Camera, float], Camera] | None = None
    """The photo's camera as stated, from the true one and a sign."""
    spoil: str = ""
    """A condition of `matchers.worse`, "patch" or "elsewhere": the photo itself is wrong."""
    bare: bool = False
    """Whether no depth is known, the bearings of the anchors alone."""
    traffic: float = 0.0
    """Share of the photo that shows what moved along with the cameras, as the only anchor has it. Several anchors would
    see a static scene there, taken from another place: not traffic."""
    vehicles: str = ""
    """A layout of `moving_vehicles`: traffic that every anchor and the photo see where it is at their time."""
    speed: float = 0.0
    """Of these, over that of the cameras."""
    masked: bool = False
    """Whether the photo comes with a mask of them."""


def _focal(share: float, sigma: float = 3e-4) -> Callable[[Camera, float], Camera]:
    return lambda c, sign: replace(c.with_focal_scaled(1 + sign * share), focal_sigma=sigma)


def _principal(px: float) -> Callable[[Camera, float], Camera]:
    return lambda c, sign: replace(
        c, principal_x_px=c.principal_x_px + sign * px, principal_y_px=c.principal_y_px + sign * px / 2
    )


def _distorted(k1: float) -> Callable[[Camera, float], Camera]:
    """The true lens bends nothing: stated as if it did, which is the same error the other way round."""
    return lambda c, sign: replace(c, projection=Projection.PERSPECTIVE, distortion=(sign * k1, 0.0))


EQUAL_BAYS = "equal bays", "equal bays on one side"
"""Layouts of what stands along the street."""
CELLS = (
    *(Cell(f"clean, {k} anchors", anchors=k) for k in FRAMES),
    *(
        Cell(f"{wrong} of {k} displaced by {m:g} m", k, wrong, shift_m=m)
        for k, wrong in ((2, 1), (3, 1), (5, 2))
        for m in (0.2, 0.5, 1.0, 2.0)
    ),
    *(
        Cell(f"{wrong} of {k} turned by {deg:g}°", k, wrong, turn_deg=deg)
        for k, wrong in ((2, 1), (3, 1), (5, 2))
        for deg in (0.2, 0.5, 2.0)
    ),
    Cell("the only anchor displaced by 1 m", 1, 1, shift_m=1.0),
    *(Cell(f"1 of 3 late by {1000 * s:g} ms", 3, 1, late_s=s) for s in (0.02, 0.05, 0.1)),
    *(Cell(f"focal {share:.0%} wrong", 3, camera=_focal(share)) for share in (0.01, 0.02, 0.05, 0.1)),
    Cell("focal 5% wrong, 1 anchor", 1, camera=_focal(0.05)),
    Cell("focal 3% wrong, not stated", 3, camera=_focal(0.03, float("nan"))),
    *(Cell(f"principal point {px} px off", 3, camera=_principal(px)) for px in (5, 20)),
    *(Cell(f"distortion k1 = {k1:g} missing", 3, camera=_distorted(k1)) for k1 in (0.02, 0.1)),
    *(Cell(f"photo: {name}", 3, spoil=name) for name in ("rolled 30°", "dusk", "patch", "elsewhere")),
    *(Cell(f"clean, {k} anchors, bearings alone", k, bare=True) for k in (3, 5)),
    *(Cell(f"an object moved by 6 cm, {k} anchors, bearings alone", k, spoil="moved", bare=True) for k in (3, 5)),
    *(Cell(f"{s:.0%} traffic, 1 anchor", 1, traffic=s) for s in (0.3, 0.5, 0.7)),
    *(
        Cell(f"{layout} at {speed:g} of the speed, {k} anchors", k, vehicles=layout, speed=speed)
        for layout in ("a lorry ahead", "a queue")
        for k in (2, 3, 5)
        for speed in (0.1, 0.25, 0.5, 0.9, 1.0)
    ),
    *(
        Cell(f"{layout} at {speed:g} of the speed, masked", 3, vehicles=layout, speed=speed, masked=True)
        for layout in ("a lorry ahead", "a queue")
        for speed in (0.1, 0.25, 0.5)
    ),
    *(Cell(f"{facade}, {k} anchors", k, vehicles=facade) for facade in EQUAL_BAYS for k in (1, 2, 3, 5)),
    *(Cell(f"{layout}, 1 anchor", 1, vehicles=layout) for layout in LAYOUTS if "bays of" in layout),
)

"""Which photos the uploaders take: sequences along the street, and photos that no anchor can localise."""

from __future__ import annotations

import string
from dataclasses import dataclass, replace

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import Polygon

from geocorrect.demo.render.render import Exposure
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.frame import rotation_from_heading
from geocorrect.geometry.pose import Pose
from geocorrect.records import NAN, Float

ALONG_STREET_HEADING_DEG = 90.0
"""Heading of the street's x axis in street axes, where y plays the part of north."""
FIRST_CAPTURE_MS = 1_718_006_400_000  # 2024-06-10 08:00 UTC
BLOCKING_M = 3.0
"""Nothing that is farther away than this can block a view (`_blocks`)."""
CLEARANCE_M = 0.45
"""Nobody stands closer to a car or a piece of furniture."""


@dataclass(frozen=True)
class Device:
    """One make and model."""

    name: str
    make: str
    model: str
    camera_type: str
    raw_size_px: tuple[int, int]
    """Width and height of the sensor's raster."""
    parameters: tuple[float, float, float]
    """True focal length (of the longer side), k1, k2 in OpenSfM's model."""
    exif_orientation: int
    """The turn that the provider applies to the raw raster before serving it."""
    camera_height_m: float
    """Above the road."""
    side_m: float
    """Distance to the right of the middle of the road, seen along the travel."""
    calibrated: bool
    """Whether the provider reconstructed the sequence and so knows the lens; otherwise it serves its default."""
    sharpness_px: float = 0.55
    """Gaussian sigma of a sharp picture."""
    noise: float = 2.2
    """Standard deviation in grey levels."""

    def camera(self, scale: float = 1.0) -> Camera:
        """The true camera of the raw raster, on a raster `scale` times as large."""
        width, height = (round(side * scale) for side in self.raw_size_px)
        return Camera.from_opensfm_vector(self.camera_type, self.parameters, width, height)


DASH_CAM = Device(
    "dash cam", "Viofo", "A119 V3", "perspective", (1280, 720), (0.662, -0.086, 0.011), 1, 1.32, 1.6, True
)
PHONE_UPRIGHT = Device(
    "phone held upright", "samsung", "SM-G991B", "perspective", (1280, 960), (0.781, 0.042, -0.021), 6, 1.62, 5.9, True
)
ACTION_CAM = Device(
    "action camera on a bicycle", "GoPro", "HERO8 Black", "fisheye", (1280, 720), (0.4686, -0.0562, 0.0045),
    1, 1.85, 2.2, True, 0.6, 2.8,
)  # fmt: skip
VAN_PHONE = Device(
    "phone on a van's roof", "Xiaomi", "Redmi Note 9", "perspective", (1152, 864), (0.846, -0.012, 0.0),
    1, 2.45, 1.5, True, 0.75, 3.2,
)  # fmt: skip
UNKNOWN_PHONE = Device(
    "phone of a walker, lens unknown", "Apple", "iPhone 12", "perspective", (1152, 864), (0.862, -0.008, 0.0),
    1, 1.58, 6.1, False,
)  # fmt: skip
PROVIDER_DEFAULT = (0.85, 0.0, 0.0)
"""What the provider serves when it could not reconstruct the images (OpenSfM's default focal prior)."""


@dataclass(frozen=True)
class SequencePlan:
    """One upload."""

    name: str
    device: Device
    direction: int
    """+1 along the street's x, −1 back."""
    start: float
    """Where it begins, as a share of the street's length in the direction of travel."""
    end: float
    """Where it ends."""
    n_photos: int
    look_deg: tuple[float, float]
    """Range of the turn of the optical axis from the direction of travel, positive to the right."""
    exposure: Exposure
    """On the day, varied from photo to photo."""
    sky_seed: int
    """The weather that day."""
    traffic: float = 0.0
    """Share of photos with a moving car ahead."""
    shake_deg: float = 1.0
    """Standard deviation of pitch and roll."""


@dataclass(frozen=True)
class Shot:
    """One photo to be taken."""

    id: str
    sequence_key: str
    plan: SequencePlan
    street_from_upright: Pose
    """Of the camera that the delivered picture shows, in street axes."""
    exposure: Exposure
    captured_at_ms: int
    kind: str = "street"
    """Street (localisable) or why it is not: sky, ground, wall, covered lens, other street."""
    car_ahead_m: float = NAN
    """Distance of a moving car, nan for none."""

    @property
    def localisable(self) -> bool:
        """Whether anchors see what the photo shows."""
        return self.kind == "street"


BRIGHT = Exposure(stops=0.15, warmth=0.02, contrast=1.05, noise=2.0)
DULL = Exposure(stops=-0.55, warmth=-0.04, contrast=0.85, vignette=0.25, noise=3.0)
WARM = Exposure(stops=0.3, warmth=0.07, contrast=1.1, vignette=0.2, noise=2.2)
FULL = (
    SequencePlan("dash cam, morning", DASH_CAM, +1, 0.04, 0.80, 14, (-4, 4), BRIGHT, 31),
    SequencePlan("dash cam, dull day", DASH_CAM, -1, 0.06, 0.78, 10, (-4, 4), DULL, 32, traffic=0.6),
    SequencePlan("walker, phone upright", PHONE_UPRIGHT, +1, 0.06, 0.78, 10, (-30, 5), BRIGHT, 33, shake_deg=2.5),
    SequencePlan("walker back, phone upright", PHONE_UPRIGHT, -1, 0.08, 0.75, 6, (-28, 4), WARM, 34, shake_deg=2.5),
    SequencePlan(
        "cyclist, action camera", ACTION_CAM, -1, 0.05, 0.80, 12, (-20, 20), WARM, 35, traffic=0.3, shake_deg=2.0
    ),
    SequencePlan("delivery van", VAN_PHONE, +1, 0.05, 0.75, 8, (-6, 10), DULL, 36, shake_deg=1.5),
    SequencePlan("tourist, lens unknown", UNKNOWN_PHONE, +1, 0.1, 0.75, 8, (-25, 5), BRIGHT, 37, shake_deg=2.0),
)
FULL_NEGATIVES = ("sky", "sky", "ground", "ground", "wall", "wall", "covered lens", *("other street",) * 5)
SMALL = (
    SequencePlan("dash cam, morning", DASH_CAM, +1, 0.1, 0.5, 2, (-3, 3), BRIGHT, 31),
    SequencePlan("walker, phone upright", PHONE_UPRIGHT, -1, 0.17, 0.17, 1, (-15, 0), WARM, 33),
)
SMALL_NEGATIVES = ("other street",)


def plan_shots(
    plans: tuple[SequencePlan, ...], negatives: tuple[str, ...], length_m: float, obstacles_m: list[Float], seed: int
) -> list[Shot]:
    """All photos. obstacles_m: footprints (N, 2) in street metres that nobody stands in or right behind."""
    rng = np.random.default_rng([seed, 51])
    obstacles = np.array([Polygon(outline) for outline in obstacles_m], object)
    shots: list[Shot] = []
    for number, plan in enumerate(plans):
        key = _random_key(rng)
        start_ms = FIRST_CAPTURE_MS + number * 86_400_000 + int(rng.integers(36_000_000))
        for index in range(plan.n_photos):
            share = (index + 0.5 + float(rng.uniform(-0.2, 0.2))) / plan.n_photos
            pose = _standing(rng, plan, share, length_m, obstacles)
            shots.append(_shot(rng, key, plan, pose, start_ms + index * 2500))
    pedestrians = [plan for plan in plans if plan.device.side_m > 4] or [plans[-1]]
    keys = {shot.plan.name: (shot.sequence_key, shot.captured_at_ms) for shot in shots}
    drivers_key = _random_key(rng)
    for index, kind in enumerate(negatives):
        if kind == "other street":
            plan, key, last_ms = replace(plans[0], name="dash cam, elsewhere"), drivers_key, FIRST_CAPTURE_MS
        else:
            plan = pedestrians[index % len(pedestrians)]
            key, last_ms = keys[plan.name]
        pose = _standing(rng, plan, (index + 0.5) / len(negatives), length_m, obstacles)
        shot = _shot(rng, key, plan, _turned_away(rng, pose, kind, length_m), last_ms + 3000 * (index + 1))
        dark = replace(shot.exposure, stops=-9.0) if kind == "covered lens" else shot.exposure
        shots.append(replace(shot, kind=kind, exposure=dark, car_ahead_m=NAN))
    return shots


def _random_key(rng: np.random.Generator) -> str:
    return "".join(rng.choice(list(string.ascii_letters + string.digits), 22))


def _standing(
    rng: np.random.Generator, plan: SequencePlan, share: float, length_m: float, obstacles: NDArray[np.object_]
) -> Pose:
    """A pose on the sequence's track: the first in steps of 0.6 m with a free view, else with room to stand."""
    x = length_m * (plan.start + share * (plan.end - plan.start))
    if plan.direction < 0:
        x = length_m - x
    turn = float(rng.uniform(*plan.look_deg))
    pitch, roll = (float(v) for v in rng.normal(0, plan.shake_deg, 2))
    height = plan.device.camera_height_m + float(rng.normal(0, 0.04))
    y = -plan.direction * (plan.device.side_m + float(rng.normal(0, 0.2)))
    heading = ALONG_STREET_HEADING_DEG + (0 if plan.direction > 0 else 180) + turn
    ahead = np.array([np.sin(np.radians(heading)), np.cos(np.radians(heading))])
    places = np.array([[x + plan.direction * 0.6 * step, y] for step in range(20)])
    distance_m = shapely.distance(shapely.points(places)[:, None], obstacles)
    apart = np.flatnonzero((distance_m >= CLEARANCE_M).all(axis=1))
    near = (obstacles[distance_m[place] < BLOCKING_M] for place in apart)
    free = (
        place
        for place, around in zip(apart, near, strict=True)
        if not any(_blocks(places[place], ahead, shapely.get_coordinates(outline)[:-1]) for outline in around)
    )
    here = places[next(free, apart[0])]
    return Pose(rotation_from_heading(heading, pitch, roll), np.array([*here, height]))


def _blocks(here: Float, ahead: Float, outline_m: Float) -> bool:
    """Whether a footprint blocks the middle of the view within 2.5 m."""
    offsets = np.concatenate([outline_m, outline_m.mean(axis=0, keepdims=True)]) - here
    depth, across = offsets @ ahead, offsets @ np.array([ahead[1], -ahead[0]])
    return bool(((depth > 0) & (depth < 2.5) & (np.abs(across) < 0.5 * depth + 0.2)).any())


def _turned_away(rng: np.random.Generator, pose: Pose, kind: str, length_m: float) -> Pose:
    """The pose of a photo that shows nothing an anchor sees."""
    heading = float(rng.uniform(0, 360))
    if kind == "sky":
        return Pose(rotation_from_heading(heading, float(rng.uniform(80, 88))), pose.translation_m)
    if kind == "ground":
        return Pose(rotation_from_heading(heading, float(rng.uniform(-86, -78))), pose.translation_m)
    if kind == "wall":  # deep in the side street, at arm's length from a wall that faces away from the main street
        x = 0.56 * length_m + float(rng.uniform(1.2, 2.0))
        place = np.array([x, float(rng.uniform(32, 46)), pose.translation_m[2]])
        return Pose(rotation_from_heading(270 + float(rng.uniform(-10, 30))), place)
    return pose


def _shot(rng: np.random.Generator, key: str, plan: SequencePlan, pose: Pose, captured_at_ms: int) -> Shot:
    base = plan.exposure
    shaky = rng.random() < 0.2
    exposure = replace(
        base,
        stops=base.stops + float(rng.normal(0, 0.12)),
        warmth=base.warmth + float(rng.normal(0, 0.012)),
        noise=base.noise + plan.device.noise - 2.0,
        defocus_px=plan.device.sharpness_px * float(rng.uniform(0.85, 1.3)),
        motion_px=float(rng.uniform(2, 5)) if shaky else 0.0,
        motion_deg=float(rng.uniform(0, 180)),
    )
    car = float(rng.uniform(11, 22)) if rng.random() < plan.traffic else NAN
    image_id = str(int(rng.integers(10**14, 9 * 10**15)))
    return Shot(image_id, key, plan, pose, exposure, captured_at_ms, car_ahead_m=car)

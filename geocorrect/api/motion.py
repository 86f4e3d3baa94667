"""How cameras with a rolling shutter moved while they took their pictures: an anchor from its drive, a photo from its
sequence.

Nothing is read or computed where no readout time is stated. A motion that cannot be found is None, never assumed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy.spatial import cKDTree

from geocorrect.anchors.drive_errors import camera_of
from geocorrect.catalog.sequences import SequenceStore
from geocorrect.catalog.store import Catalog
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Pose
from geocorrect.localize.joint.device_lens import DeviceLens, stated_camera
from geocorrect.localize.options import ANCHOR_POSITION_M, ANCHOR_ROTATION_DEG
from geocorrect.records import Anchor, AnchorIndex, CameraMotion, Image
from geocorrect.sequences.input import sequence_photos
from geocorrect.sequences.options import SequenceOptions

ReadAnchors = Callable[[Sequence[str]], Mapping[str, Anchor]]

MAX_STEP_S = 3.0
"""To the picture before and after."""
REACH_M, NEAREST = 50.0, 64
"""Where those of an anchor are looked for: among so many around it."""
ACCELERATION_M_S2, TURN_ACCELERATION_RAD_S2 = 1.5, 0.2
"""Standard deviation, of vehicles in streets: a velocity between two pictures is that of the time halfway."""
UNKNOWN_TURN_RAD_S = 0.1
"""Standard deviation of the rotation rate where positions alone are known (6°/s): straight streets and corners."""
WHOLE_SECONDS_S = 0.4
"""Error of the time between two pictures whose times are rounded to seconds."""
NOISE = SequenceOptions()
"""As it is by default: the configuration of the sequence step moves no result of a photo."""


def motion_between(
    before: tuple[float, Pose], after: tuple[float, Pose], sigma_m: float, sigma_rad: float
) -> CameraMotion:
    """The motion of a picture taken at the time 0 from those before and after (time s, pose; one may be its own).

    Args:
        before: the earlier one.
        after: the later one.
        sigma_m: error of the way from the one to the other, per axis.
        sigma_rad: of the rotation; inf where the poses know none.
    """
    (start_s, first), (end_s, last) = before, after
    span_s = end_s - start_s
    rates = last.minus(first) / span_s
    # Off by what it accelerates until halfway, and by what the acceleration itself changes.
    change_s = abs(start_s + end_s) / 2 + span_s / 12
    is_turn_known = np.isfinite(sigma_rad)
    turn_sigma = float(np.hypot(sigma_rad / span_s, TURN_ACCELERATION_RAD_S2 * change_s))
    return CameraMotion(
        rates[:3],
        rates[3:] if is_turn_known else np.zeros(3),
        float(np.hypot(sigma_m / span_s, ACCELERATION_M_S2 * change_s)),
        turn_sigma if is_turn_known else UNKNOWN_TURN_RAD_S,
    )


def with_motion(read: ReadAnchors, index: AnchorIndex) -> ReadAnchors:
    """Reads anchors as `read` does, those with a rolling shutter with their motion."""
    trees: list[cKDTree] = []

    def reading(ids: Sequence[str]) -> Mapping[str, Anchor]:
        found = read(ids)
        rolling = [anchor for anchor in found.values() if anchor.camera.is_rolling and anchor.captured_at is not None]
        if not rolling:
            return found
        if not trees:
            trees.append(cKDTree(index.enu_m[:, :2]))
        here = np.array([anchor.world_from_cam.translation_m[:2] for anchor in rolling])
        count = min(NEAREST, len(index.ids))
        rows = trees[0].query(here, k=[*range(1, count + 1)], distance_upper_bound=REACH_M)[1]
        around = read(sorted({index.ids[row] for row in np.unique(rows) if row < len(index.ids)}))
        return dict(found) | {
            anchor.id: replace(anchor, motion=anchor_motion(anchor, list(around.values()))) for anchor in rolling
        }

    return reading


def anchor_motion(anchor: Anchor, others: Sequence[Anchor]) -> CameraMotion | None:
    """From the pictures before and after that the same camera took on the same drive; None where there are none.

    None, too, where others are of the very moment: faces of a panorama, or times that are rounded.
    """
    timed = []
    for other in others:
        if other.id == anchor.id or other.captured_at is None or anchor.captured_at is None:
            continue
        late_s = (other.captured_at - anchor.captured_at).total_seconds()
        same = (other.dataset, other.drive_id, camera_of(other)) == (
            anchor.dataset,
            anchor.drive_id,
            camera_of(anchor),
        )
        if same and abs(late_s) <= MAX_STEP_S:
            timed.append((late_s, other.world_from_cam))
    if not timed or any(late_s == 0.0 for late_s, _ in timed):
        return None
    own = (0.0, anchor.world_from_cam)
    before = max((pair for pair in timed if pair[0] < 0), key=lambda pair: pair[0], default=own)
    after = min((pair for pair in timed if pair[0] > 0), key=lambda pair: pair[0], default=own)
    of_two = float(np.sqrt(2.0))  # the way from one noisy pose to another
    return motion_between(before, after, of_two * ANCHOR_POSITION_M, of_two * float(np.radians(ANCHOR_ROTATION_DEG)))


def photo_motions(
    images: Sequence[Image], catalog: Catalog, frame: Frame, lenses: Sequence[DeviceLens]
) -> dict[str, CameraMotion]:
    """By image id, the motion of the photos whose camera has a rolling shutter and whose sequence tells it."""
    rolling = {}
    for image in images:
        camera = stated_camera(image, lenses)
        if camera is not None and camera.is_rolling and image.sequence_id:
            rolling[image.id] = image.sequence_id
    if not rolling:
        return {}
    order = {
        sequence: [member.image_id for member in members]
        for sequence, members in SequenceStore(catalog).members(sorted(set(rolling.values())))
    }
    around: dict[str, list[str]] = {}
    for name, sequence in rolling.items():
        if name in (ids := order.get(sequence, [])):
            at = ids.index(name)
            around[name] = ids[max(at - 1, 0) : at + 2]
    records = catalog.images(sorted({name for names in around.values() for name in names}))
    found = {
        name: photo_motion(records[name], [records[other] for other in names if other in records], frame)
        for name, names in around.items()
        if name in records
    }
    return {name: motion for name, motion in found.items() if motion is not None}


def photo_motion(image: Image, around: Sequence[Image], frame: Frame) -> CameraMotion | None:
    """From the first to the last of a photo and those around it in its sequence, in order of capture.

    By the provider's reconstruction where both belong to one, else by their reported positions.
    """
    if image.captured_at is None:
        return None
    late_s = {
        other.id: (other.captured_at - image.captured_at).total_seconds()
        for other in around
        if other.captured_at is not None
    }
    near = [other for other in around if abs(late_s.get(other.id, np.inf)) <= MAX_STEP_S]
    if not near or late_s[near[-1].id] <= late_s[near[0].id]:
        return None
    start_s, end_s = late_s[near[0].id], late_s[near[-1].id]
    first, last = sequence_photos([near[0], near[-1]], {}, frame).hints
    if first.computed is not None and last.computed is not None and first.computed[0] == last.computed[0]:
        poses = first.computed[1], last.computed[1]
        floor_m, share, turn_deg = NOISE.computed_floor_m, NOISE.computed_share, NOISE.computed_rotation_deg
    else:
        places = np.nan_to_num(first.reported_enu_m), np.nan_to_num(last.reported_enu_m)
        if not np.isfinite([first.reported_enu_m[:2], last.reported_enu_m[:2]]).all():
            return None
        level = Pose.identity().rotation
        poses = Pose(level, places[0]), Pose(level, places[1])
        floor_m, share, turn_deg = NOISE.gps_floor_m, NOISE.gps_share, np.inf
    way_m = float(np.linalg.norm(poses[1].translation_m - poses[0].translation_m))
    sigma_m = floor_m + share * way_m
    if all(other.captured_at is not None and other.captured_at.microsecond == 0 for other in (near[0], near[-1])):
        sigma_m += way_m / (end_s - start_s) * WHOLE_SECONDS_S
    return motion_between((start_s, poses[0]), (end_s, poses[1]), sigma_m, float(np.radians(turn_deg)))

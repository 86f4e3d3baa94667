"""Ways in which poses are commonly meant otherwise than they were read, and what the anchors' poses would then be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations, product
from typing import NamedTuple

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation, RotationSpline

from geocorrect.geometry.frame import rotation_from_heading
from geocorrect.jobs.anchors.inspect.views import Placed, rig_groups
from geocorrect.records import Anchor, Float

MAX_CAMERAS = 4
MAX_SPACING_S = 1.0
"""Poses further apart in time say nothing of the motion between them."""
OFFSETS_S = (0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3)
OFFSETS_DEG = tuple(0.1 * step for step in range(1, 61))


class Reading(NamedTuple):
    """Another way to read the same numbers."""

    kind: str
    """Of mistake; of one kind the best is the one meant."""
    what: str
    """In words: what seems to be so."""
    poses: Placed


def readings(anchors: Sequence[Anchor]) -> Iterator[Reading]:
    """All other readings, the plainest mistakes first."""
    declared = Placed.of(anchors)
    yield from _camera_orders(anchors, declared)
    yield from _angles(declared)
    yield from _axes(declared)
    yield from _positions(declared)
    yield from _heading_offsets(declared)
    yield from _time_offsets(anchors, declared)


def _camera_orders(anchors: Sequence[Anchor], declared: Placed) -> Iterator[Reading]:
    groups = [group for group in rig_groups(anchors) if len(group) > 1]
    size = max((len(group) for group in groups), default=0)
    if not 2 <= size <= MAX_CAMERAS:
        return
    for order in list(permutations(range(size)))[1:]:
        rows = np.arange(len(anchors))
        for group in groups:
            if len(group) == size:
                rows[group] = np.array(group)[list(order)]
        numbers = ", ".join(str(place + 1) for place in order)
        yield Reading(
            "order",
            f"the pictures of the rig's cameras are exchanged: those of camera 1…{size} (by id) belong to {numbers}",
            Placed(declared.turns[rows], declared.places_m[rows]),
        )


def heading_pitch_roll_deg(turns: Rotation) -> Float:
    """(N, 3) heading from the frame's north, pitch and roll, degrees: inverse of `rotation_from_heading`."""
    m = turns.as_matrix()
    heading = np.degrees(np.arctan2(m[:, 0, 2], m[:, 1, 2])) % 360
    pitch = np.degrees(np.arcsin(np.clip(m[:, 2, 2], -1, 1)))
    return np.stack([heading, pitch, np.degrees(np.arctan2(m[:, 2, 0], -m[:, 2, 1]))], axis=1)


def _angles(declared: Placed) -> Iterator[Reading]:
    heading, pitch, roll = heading_pitch_roll_deg(declared.turns).T
    radians = np.degrees([heading, pitch, roll]) if heading.max() <= 2 * np.pi + 1e-6 else None
    headings = {
        f"{text}{f' and {offset}° more' if offset else ''}": sign * heading + offset
        for (text, sign), offset in product((("clockwise", 1), ("counter-clockwise", -1)), (0, 90, 180, 270))
    }
    tilts = {
        "": (pitch, roll), "pitch down positive": (-pitch, roll), "roll counter-clockwise positive": (pitch, -roll),
        "pitch and roll of the other sign": (-pitch, -roll), "pitch and roll exchanged": (roll, pitch),
        "pitch and roll exchanged, pitch negative": (-roll, pitch),
        "pitch and roll exchanged, roll negative": (roll, -pitch),
    }  # fmt: skip
    if radians is not None:
        for sign, text in ((1, "clockwise from north"), (-1, "counter-clockwise from east")):
            turned = radians[0] if sign > 0 else 90 - radians[0]
            yield Reading("angles", f"the angles are radians, read as degrees; headings {text}", _turned(
                declared, turned, radians[1], radians[2]))  # fmt: skip
    for (h_text, h), (t_text, (p, r)) in product(headings.items(), tilts.items()):
        if h_text == "clockwise" and not t_text:
            continue
        parts = [f"headings count {h_text}"] * (h_text != "clockwise") + [t_text] * bool(t_text)
        yield Reading("angles", f"the angles are meant otherwise: {'; '.join(parts)}", _turned(declared, h, p, r))


def _turned(declared: Placed, heading_deg: Float, pitch_deg: Float, roll_deg: Float) -> Placed:
    return Placed(rotation_from_heading(heading_deg, pitch_deg, roll_deg), declared.places_m)


DIRECTIONS = {(0, 1): "right", (0, -1): "left", (1, 1): "down", (1, -1): "up", (2, 1): "forward", (2, -1): "back"}


def _axes(declared: Placed) -> Iterator[Reading]:
    """The 24 ways to lay axes into a camera, of the rotation or of its inverse."""
    for inverse in (False, True):
        turns = declared.turns.inv() if inverse else declared.turns
        for axes in Rotation.create_group("O").as_matrix().round():
            if not inverse and np.array_equal(axes, np.eye(3)):
                continue
            named = [DIRECTIONS[int(np.argmax(np.abs(row))), int(row[np.argmax(np.abs(row))])] for row in axes]
            text = f"the axes of the poses are x {named[0]}, y {named[1]}, z {named[2]} in the picture"
            text += " and the rotation is cam_from_world" if inverse else ""
            yield Reading("axes", f"{text}, not x right, y down, z forward", Placed(
                turns * Rotation.from_matrix(axes), declared.places_m))  # fmt: skip


def _positions(declared: Placed) -> Iterator[Reading]:
    east, north, up = declared.places_m.T
    yield Reading("positions", "east and north of the positions are exchanged", Placed(
        declared.turns, np.stack([north, east, up], axis=1)))  # fmt: skip
    yield Reading("positions", "heights count downwards", Placed(declared.turns, np.stack([east, north, -up], axis=1)))


def _heading_offsets(declared: Placed) -> Iterator[Reading]:
    for offset, sign in product(OFFSETS_DEG, (1, -1)):
        turn = Rotation.from_euler("z", -sign * offset, degrees=True)
        yield Reading(
            "headings",
            f"headings are {-sign * offset:+.1f}° off (grid north, or magnetic north, instead of true north?)",
            Placed(turn * declared.turns, declared.places_m),
        )


def _time_offsets(anchors: Sequence[Anchor], declared: Placed) -> Iterator[Reading]:
    """Poses taken from the drive a little earlier or later; the rig moves as one, with its first camera."""
    drives: dict[str, list[list[int]]] = {}
    for group in rig_groups(anchors):
        drives.setdefault(anchors[group[0]].drive_id or "", []).append(group)
    motions = []
    for groups in drives.values():
        lead = [group[0] for group in groups]
        times = np.array([anchors[row].captured_at.timestamp() for row in lead])  # type: ignore[union-attr]
        if len(lead) >= 5 and (np.diff(times) > 0).all() and np.median(np.diff(times)) <= MAX_SPACING_S:
            position = CubicSpline(times, declared.places_m[lead])
            motions.append((groups, times, position, RotationSpline(times, declared.turns[lead])))
    if not motions:
        return
    for offset, sign in product(OFFSETS_S, (1, -1)):
        matrices, places_m = declared.turns.as_matrix(), declared.places_m.copy()
        for groups, times, position, rotation in motions:
            moved_to, turned_to = position(times + sign * offset), rotation(times + sign * offset).as_matrix()
            for group, to, turn in zip(groups, moved_to, turned_to, strict=True):
                change = turn @ matrices[group[0]].T
                places_m[group] = to + (places_m[group] - places_m[group[0]]) @ change.T
                matrices[group] = change @ matrices[group]
        yield Reading(
            "clock",
            f"the clock of the pictures is {1000 * offset:.0f} ms {'behind' if sign > 0 else 'ahead of'} that of the "
            "poses",
            Placed(Rotation.from_matrix(matrices), places_m),
        )

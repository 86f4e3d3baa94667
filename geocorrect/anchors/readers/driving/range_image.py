"""Range images of a spinning laser: rows are beams, columns directions, and every pixel has a pose of its moment."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from geocorrect.geometry.pose import Float, Pose


def returns_in_world(ranges_m: Float, inclinations_rad: Float, vehicle_from_lidar: Pose, moments: Float) -> Float:
    """(N, 3) points in the world of the pixels that have a return, free of the vehicle's motion.

    Waymo's conventions: the first row is the highest beam, the middle column looks along the vehicle's x axis, columns
    run clockwise, seen from above.

    Args:
        ranges_m: (H, W), negative or zero without a return.
        inclinations_rad: (H,) of the beams, increasing.
        vehicle_from_lidar: The scanner on the vehicle.
        moments: (H, W, 6) roll, pitch, yaw, x, y, z of the vehicle in the world at each pixel.
    """
    width = ranges_m.shape[1]
    mount = vehicle_from_lidar.rotation.as_matrix()
    columns = (width - np.arange(width) - 0.5) / width
    azimuth = (2 * columns - 1) * np.pi - np.arctan2(mount[1, 0], mount[0, 0])
    up = inclinations_rad[::-1]
    has_return = ranges_m > 0
    row, column = np.nonzero(has_return)
    r = ranges_m[has_return]
    level = np.cos(up[row])
    points = np.stack([np.cos(azimuth[column]) * level, np.sin(azimuth[column]) * level, np.sin(up[row])], axis=1)
    poses = moments[has_return]
    turn = Rotation.from_euler("xyz", poses[:, :3])
    world: Float = turn.apply(vehicle_from_lidar.apply(points * r[:, None])) + poses[:, 3:]
    return world

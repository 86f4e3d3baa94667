"""Where on earth the synthetic street lies, and how its frames hang together."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Pose

FRAME = Frame("demo street, Rome", lon_deg=12.50960, lat_deg=41.90310, height_m=96.0)
"""East-north-up frame of the demo's truth; z = 0 is 96 m above the ellipsoid."""

STREET_YAW_DEG = 28.0
"""Turn of the street's x axis from east, counter-clockwise: it runs towards heading 62°."""
ROAD_HEIGHT_M = 1.7
"""Height of the road in the frame, so that no code can take the ground for z = 0."""

ENU_FROM_STREET = Pose(Rotation.from_euler("z", STREET_YAW_DEG, degrees=True), np.array([-66.0, -31.0, ROAD_HEIGHT_M]))

OTHER_STREET_OFFSET_M = np.array([420.0, -260.0, 0.0])
"""Where the second street lies, whose photos claim to come from the first."""

LOCAL_YAW_DEG = -117.3
ENU_FROM_LOCAL = Pose(Rotation.from_euler("z", LOCAL_YAW_DEG, degrees=True), np.array([37.42, 8.15, 3.9]))
"""The drives' own frame, as a SLAM system would leave it: arbitrary turn and origin, upright."""

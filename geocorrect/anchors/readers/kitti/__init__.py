"""KITTI: raw drives and the odometry benchmark."""

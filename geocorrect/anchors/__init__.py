"""Georeferenced reference imagery: readers of data sets, trajectories, LiDAR, landmarks, georeferencing."""

"""Descriptors of keypoints: which are each other's nearest."""

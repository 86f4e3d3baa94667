"""Descriptors of keypoints: which are each other's nearest, and those of an image kept for the next process."""

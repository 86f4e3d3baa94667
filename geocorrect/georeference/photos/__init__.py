"""Poses of photos whose positions were measured, from what neighbours see of each other."""

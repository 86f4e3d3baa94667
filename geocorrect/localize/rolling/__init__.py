"""Cameras that expose their rows one after the other while they move."""

"""Clicked landmarks: which pixel of which image is which place on the map."""

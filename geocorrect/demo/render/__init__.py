"""A small renderer and LiDAR: rays, visibility, shading, sky."""

"""The joint georeference: all clicks of all images, the trajectory's own relative poses, one world_from_local."""

"""STAC items of corrected photos: an item collection, and the same as GeoParquet."""

"""Vector tiles of corrected photos in one PMTiles file."""

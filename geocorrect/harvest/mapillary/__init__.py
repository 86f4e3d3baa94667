"""Photos from the Mapillary API."""

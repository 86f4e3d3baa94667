"""A synthetic street with known truth, served by a fake Mapillary server."""

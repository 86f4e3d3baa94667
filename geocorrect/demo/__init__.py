"""A synthetic street with known truth, served by a look-alike of the Mapillary API."""

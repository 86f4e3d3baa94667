"""From the catalog to files that other tools open."""

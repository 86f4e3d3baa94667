"""From an area to photos on disk and records in the catalog: Mapillary, OpenSfM, folders of images."""

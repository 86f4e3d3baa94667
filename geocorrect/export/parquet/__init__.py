"""Parquet files in spatial order: GeoParquet of results, and STAC items as GeoParquet."""

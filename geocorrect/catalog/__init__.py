"""The spatial catalog: the only room that speaks SQL. PostGIS or GeoPackage, one model."""

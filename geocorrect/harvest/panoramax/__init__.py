"""Panoramax: a federation of open instances with one STAC API; no token."""

"""Estimators of the query pose, one back-end per file."""

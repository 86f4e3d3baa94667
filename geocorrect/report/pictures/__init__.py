"""Pictures: maps, matches, plots."""

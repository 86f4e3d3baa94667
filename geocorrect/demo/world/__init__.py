"""The demo world: drives, photos, metadata and truth on disk."""

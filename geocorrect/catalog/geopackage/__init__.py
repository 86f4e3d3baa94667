"""What only SQLite can do, or needs."""

"""What only PostgreSQL can do, or needs."""

"""Human-readable views: tables, map layers and their styles."""

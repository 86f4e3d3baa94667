"""A fake Mapillary server on a real socket."""

"""Files: written atomically, locked, cached, hashed; pixels and masks read from them."""

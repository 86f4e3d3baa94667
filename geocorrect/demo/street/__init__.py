"""The synthetic street: buildings and what stands about."""

"""A small demo world, rendered once."""

from support.world_cache import small_world  # noqa: F401

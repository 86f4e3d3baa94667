"""Fixtures of the anchors room."""

from vbr_world import vbr

__all__ = ["vbr"]

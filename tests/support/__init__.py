"""Worlds, fixtures and child programs that several tests share."""

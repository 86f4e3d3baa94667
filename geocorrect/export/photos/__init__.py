"""Corrected poses for tools that read photos: GPS tags in copies of the pictures, and ODM's list of places."""

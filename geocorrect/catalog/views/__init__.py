"""Views for people: tables, map layers and their styles."""

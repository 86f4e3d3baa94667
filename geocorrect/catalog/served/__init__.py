"""What a server shows of a catalog: map tiles, features page by page, and what the map's filters offer."""

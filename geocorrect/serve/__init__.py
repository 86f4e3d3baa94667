"""A page to work in: landmarks, review and the city map, served to a browser on this machine (extra `serve`)."""

"""Pick landmarks: click marks in photos and on the map, and see what the solver makes of them."""

from geocorrect.serve.landmarks.pages import routes

__all__ = ["routes"]

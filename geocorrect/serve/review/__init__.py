"""Review poses in doubt."""

from geocorrect.serve.review.pages import routes

__all__ = ["routes"]

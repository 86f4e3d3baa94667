"""Review poses in doubt: a queue, a photo with its evidence, a decision by keyboard."""

from geocorrect.serve.review.pages import routes

__all__ = ["routes"]

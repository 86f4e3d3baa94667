"""One photo from its file to an explained result."""

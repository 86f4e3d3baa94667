"""A job: what is due, who computes it, what is stored, and how it ends."""

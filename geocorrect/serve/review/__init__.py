"""Review poses in doubt: a queue, a photo with its evidence, a decision by keyboard."""
